"""What decides the result of a run, and the stamp that names it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from experiments.lab.options.model import BUILT_IN
from experiments.lab.options.settings import FromTheData, Settings
from experiments.lab.results.runs import FinishedRun
from experiments.lab.system.digests import digest_of_arrays
from experiments.lab.system.names import file_part
from experiments.lab.tasks.stream_files import read_stream

if TYPE_CHECKING:
    from experiments.lab.results.sources import Code

# Part of every stamp: to be raised when the experiments come to compute or record something else, so
# that runs made before are not taken for runs made now.
FORMAT = 5

OF_THE_CODE = ("code", "cs_optax", "own_code")

CODE_DIGITS = 6  # of the code's digest, in a stamp


def identity(settings: Settings, method: str, seed: int, data_sha256: str) -> dict[str, Any]:
    """Everything that decides the result of one run.

    Left out, because they do not: settings the method makes no use of (`Settings.unused_by`), the
    configuration of JAX, which is the same for all (`experiments.lab.options.pinned`), and what changes
    rounding alone: the device, the versions of the libraries, and the seeds it trained together with. Those
    are kept with the run.

    Args:
        settings: the settings.
        method: the method's name.
        seed: the seed.
        data_sha256: checksum of the data set.
    """
    import cs_optax
    from experiments.lab.options import pinned
    from experiments.lab.results import own_code, sources

    of_the_data = {field.name for field in fields(FromTheData)}  # told apart by their checksum
    settings = settings.as_read(method)
    without_effect = settings.unused_by(method) | of_the_data | {"stream_file", "experiment"}
    if settings.stream != "gradual":
        without_effect |= {"overlap"}
    without_effect |= {"readout" if settings.profile else "profile"}
    usual, declared = type(settings)(), settings.methods[method]
    model = settings.model
    asked = settings.asked
    own = own_code.of_own(declared, model, asked)
    return {
        "format": FORMAT,
        "cs_optax": cs_optax.__version__,
        "code": sources.current().beside(own).digest,
        "compiler_flags": pinned.compiler_flags(),
        "data_sha256": data_sha256,
        "method": method,
        **({"own_method": declared.origin} if declared.origin else {}),
        **({"own_model": model.origin} if model.origin else {}),
        **({"own_scenario": asked.origin} if asked.origin else {}),
        **({"own_code": own} if own else {}),
        "seed": int(seed),
        "stream_sha256": stream_digest(settings),
        # Through the field's own type, so that 500 and 500.0 name the same run.
        "settings": {
            "experiment": settings.name,
            **({"model": model.name} if model is not BUILT_IN else {}),
            **{
                field.name: type(getattr(usual, field.name))(getattr(settings, field.name))
                for field in fields(settings)
                if field.name not in without_effect
            },
        },
    }


def stream_digest(settings: Settings) -> str | None:
    """Checksum of the sequence of tasks that comes from a file; None where none does."""
    if settings.stream_file is None:
        return None
    planned = read_stream(settings)
    arrays = [array for array in (planned.tasks, planned.rows) if array is not None]
    return digest_of_arrays((f"{array.shape}", array) for array in arrays)


def run_stamp(run_identity: Mapping[str, Any]) -> str:
    """Name a run: its main settings to read, a digest of all of them to tell runs apart, and the code's."""
    return f"{stamp_of_any_code(run_identity)}-{run_identity['code'][:CODE_DIGITS]}"


def stamp_of_any_code(run_identity: Mapping[str, Any]) -> str:
    """The stamp without the digest of the code."""
    method = f"{run_identity['method']}{_synapse([run_identity])}"
    seed = f"s{run_identity['seed']}"
    digest = _digest(without_code(run_identity))
    return f"{_protocol(run_identity['settings'])}-{method}-{seed}-{digest}"


def without_code(run_identity: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the result of a run but for the code."""
    return {name: value for name, value in run_identity.items() if name not in OF_THE_CODE}


def code_of(run_identity: Mapping[str, Any]) -> "Code":
    """The code of this process that makes such a run."""
    from experiments.lab.results import sources

    return sources.current().beside(run_identity.get("own_code", {}))


def comparison_stamp(identities: Sequence[Mapping[str, Any]]) -> str:
    """Name a comparison after the runs it is made of, and their order: differences are to the first method.

    Args:
        identities: those of all its runs, method by method, each with the same consecutive seeds.
    """
    seeds = sorted({run_identity["seed"] for run_identity in identities})
    span = f"s{seeds[0]}" if len(seeds) == 1 else f"s{seeds[0]}to{seeds[-1]}"
    stamps = [run_stamp(run_identity) for run_identity in identities]
    return f"{_protocol(identities[0]['settings'])}{_synapse(identities)}-{span}-{_digest(stamps)}"


def sweep_stamp(identities: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """Name a sweep after all it tries, method by method in their order, and its seeds.

    Args:
        identities: those of every configuration of every method.
        seeds: what decides which seeds choose and which compare.
    """
    stamps = [run_stamp(run_identity) for run_identity in identities]
    return f"{_protocol(identities[0]['settings'])}-{_digest([stamps, list(seeds)])}"


def files_of_other_code(finished: Iterable[FinishedRun]) -> list[str]:
    """The files that were others when some of these runs were made."""
    return sorted({file for one in finished for file in one.other_code})


def name_of_summary(name: str, finished: Iterable[FinishedRun]) -> str:
    """The name of a command's folder and figures: another one where it took runs that other code made."""
    return f"{name}-other-code" if files_of_other_code(finished) else name


def _protocol(settings: Mapping[str, Any]) -> str:
    parts = [
        f"{file_part(settings['experiment'])}{settings['tasks']}",
        settings["scenario"],
        settings["stream"],
    ]
    return "-".join([*parts, settings["model"]] if "model" in settings else parts)


def _synapse(identities: Sequence[Mapping[str, Any]]) -> str:
    """The complex synapse that these runs have, as part of a stamp; empty where none has one."""
    for settings in (run_identity["settings"] for run_identity in identities):
        if "beakers" in settings:
            published = "-published" if settings.get("time_step") == "learning-rate" else ""
            alpha, beta = (f"{settings[name]:g}".replace("+", "") for name in ("alpha", "beta"))
            return f"-K{settings['beakers']}-a{alpha}-b{beta}{published}"
    return ""


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
