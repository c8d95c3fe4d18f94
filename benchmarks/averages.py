"""Averages of past weights from a chain that listens: ``python -m benchmarks.averages --misfits``.

How near the chain that ``suggest_timescales(…, purpose="averages")`` suggests comes to twenty profiles, for
trainings of any length. Nothing is trained: `BeakerChain.averaging` knows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report import options, publish
from cs_optax import BeakerChain, profiles, suggest_timescales
from experiments.lab.tables import Table

LISTENING = {"backflow": "never", "leak": "none", "resolution": 1 / 32, "visible_resolution": 1 / 16}
LENGTHS = (2_500, 50_000, 1_000_000, 100_000_000)


def wanted(n: int) -> dict[str, profiles.Profile]:
    """Twenty profiles over a training of n updates: the smooth ones, and eight with edges."""
    means = {
        f"mean of the last {fraction:.0%}": profiles.Mean(fraction) for fraction in (0.75, 0.5, 0.25, 0.1)
    }
    powers = {f"power function, sigma_rel {s}": profiles.Power(s) for s in (0.25, 0.2, 0.15, 0.1, 0.05)}
    exponentials = {
        f"exponential, {part:g} n": profiles.Exponential(part * n) for part in (1, 0.5, 0.2, 0.1, 0.02, 0.005)
    }
    moments = {
        f"the moment {part:g} n ago": profiles.Moment(round(part * n)) for part in (0.5, 0.2, 0.05, 0.01)
    }
    return {"mean of all": profiles.Mean(), **powers, **exponentials, **means, **moments}


def misfits() -> Table:
    """The table: misfit, and amplification for the shortest training."""
    columns, amplifications = [], []
    for n in LENGTHS:
        chain = BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))
        averages = [chain.averaging(profile, n, **LISTENING) for profile in wanted(n).values()]
        columns.append([f"{100 * average.misfit:.2f}" for average in averages])
        amplifications.append([average.amplification for average in averages])
    largest = [f"{max(of_profile):.1f}" for of_profile in zip(*amplifications, strict=True)]
    rows = [list(row) for row in zip(wanted(LENGTHS[0]), *columns, largest, strict=True)]
    header = ["profile", *(f"n = {n:,}".replace(",", " ") for n in LENGTHS), "amplification"]
    title = "Misfit, %, of averages over n updates, 8 beakers, and the largest amplification of rounding"
    return Table(title, header, rows, [0] * len(header))


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--misfits", action="store_true", help="the table of misfits, in seconds")
    given = parser.parse_args(arguments)
    if not given.misfits:
        parser.error("nothing to do: ask for --misfits")
    publish("averages", given.out, [misfits()])


if __name__ == "__main__":
    main()
