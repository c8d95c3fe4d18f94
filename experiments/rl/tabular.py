"""The tabular result beside the agents' own: `experiments.claims.q_learning`, kept and found again."""

import json
from pathlib import Path
from typing import Any

from experiments.rl.kept import digest_beside_library

FILE = "tabular.json"


def tabular_result(folder: Path, seed: int) -> dict[str, Any]:
    """Measure the claim, or find it again where the same code has measured it.

    Returns:
        The command that measures it alone, the digest of its code, and its ratios.
    """
    import experiments.claims
    from experiments.lab.options.pinned import pinned
    from experiments.lab.system.files import write_json

    place = Path(str(experiments.claims.__file__))
    identity: dict[str, Any] = {
        "command": f"python -m experiments.claims q-learning --seed {seed}",
        "code": digest_beside_library(place.with_name(f"{name}.py") for name in ("grid", "q_learning")),
    }
    path = folder / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if all(record[name] == value for name, value in identity.items()):
            return identity | {"ratios": dict(record["ratios"])}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not whole
    with pinned():
        numbers = experiments.claims.measure("q-learning", seed).numbers
    write_json(path, {**identity, **numbers})
    return identity | {"ratios": numbers["ratios"]}
