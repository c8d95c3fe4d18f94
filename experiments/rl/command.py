"""The command ``python -m experiments.rl``: its options, and what it writes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.lab.command.guard import guarded
from experiments.lab.command.parsing import parse
from experiments.lab.options.validation import LARGEST_SEED, MOST_SEEDS
from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.folders import check_folders
from experiments.lab.system.packages import check_package
from experiments.rl.settings import Agent, Settings, Task, settings_of

if TYPE_CHECKING:
    from experiments.rl.kept import Store
    from experiments.rl.study import Plan, Studied

GIVEN = ("phases", "steps", "looks", "hidden", "buffer", "beakers", "gamma", "epsilon", "only")
MOST = {
    "budget": 1000,
    "n_tuning_seeds": MOST_SEEDS,
    "n_seeds": MOST_SEEDS,
    "together": 1000,
    "phases": 1000,
    "steps": 10**9,
    "hidden": 10**5,
    "buffer": 10**8,
    "beakers": 50,
}
USUAL = tyro.conf.arg(help_behavior_hint="(default: of the --size)")


@dataclass(frozen=True)
class RlOptions:
    """Deep reinforcement learning with two tasks that take turns, unannounced: the cart-pole and catch.

    Chooses the numbers of every method on some seeds, compares them on others, and prints the claims of
    Kaplanis, Shanahan & Clopath (2018) beside what was measured. Whatever is finished is found again.

    Attributes:
        agent: DQN (replay, target network) or PQN (neither; Q(λ), layer normalization).
        size: How much is trained: "small" for two cores, "paper" for a GPU.
        methods: What is compared (all that the agent can have).
        budget: Configurations of each method; 1 takes the usual numbers.
        n_tuning_seeds: Seeds that choose between them.
        n_seeds: Seeds of the comparison.
        seed: The first of these.
        together: Configurations of a method that train in one program; for a GPU.
        methods_only: Compare the methods, and train nothing else for the claims.
        phases: Times that one of the two tasks is trained, in turn.
        steps: Environment steps in each.
        looks: Greedy evaluations in each.
        hidden: Units of each hidden layer.
        buffer: Transitions in the replay buffer of DQN.
        beakers: Number of beakers of the complex synapses.
        gamma: Discount of future rewards.
        epsilon: Share of random actions.
        only: Train one task alone, in all phases.
        no_cue: Do not let the observation say which task it is.
        no_gpus: Compute on the CPU even where there is a GPU.
        accept_other_code: Take groups that were trained before cs_optax/ or experiments/rl/ changed; the
            tables then say so.
        results_dir: Folder for what is found (rl/AGENT.json and .md) and all runs (rl/runs).
        plot_dir: Folder for the figures (rl-AGENT-….pdf and .png).
    """

    agent: Agent = "dqn"
    size: Literal["small", "paper"] = "small"
    methods: tuple[str, ...] = ()
    budget: int = 12
    n_tuning_seeds: int = 4
    n_seeds: int = 20
    seed: int = 0
    together: int = 1
    methods_only: bool = False
    phases: Annotated[int | None, USUAL] = None
    steps: Annotated[int | None, USUAL] = None
    looks: Annotated[int | None, USUAL] = None
    hidden: Annotated[tuple[int, ...] | None, USUAL] = None
    buffer: Annotated[int | None, USUAL] = None
    beakers: Annotated[int | None, USUAL] = None
    gamma: Annotated[float | None, USUAL] = None
    epsilon: Annotated[float | None, USUAL] = None
    only: Annotated[Task | None, tyro.conf.arg(help_behavior_hint="(default: both take turns)")] = None
    no_cue: bool = False
    no_gpus: bool = False
    accept_other_code: bool = False
    results_dir: Path = Path("results")
    plot_dir: Path = Path("plots")

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        yield "results_dir", self.results_dir / "rl"
        yield "results_dir", self.results_dir / "rl" / "runs"
        yield "plot_dir", self.plot_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(RlOptions, "experiments.rl", arguments)
    interrupted = "interrupted: finished groups of runs are kept, and found again next time"
    return guarded(lambda: rl(options, command), interrupted)


def rl(options: RlOptions, command: str) -> "Studied":
    """Train what is not there yet, and write and print what all of it says.

    Raises:
        SettingsError: if the options cannot be meant.
    """
    _check(options)
    settings = settings_of(
        options.agent, options.size, **{n: getattr(options, n) for n in GIVEN}, cue=not options.no_cue
    )
    check_package("gymnax", "experiments.rl", "rl")
    plan = _plan(options, settings)
    check_folders(options.folders())
    import jax

    from experiments.lab.system.cache import keep_compiled_programs
    from experiments.rl.kept import Store
    from experiments.rl.output import Output
    from experiments.rl.study import study
    from experiments.rl.tabular import tabular_result

    if options.no_gpus:
        jax.config.update("jax_platforms", "cpu")
    keep_compiled_programs()
    began, folder = time.perf_counter(), options.results_dir / "rl"
    store = Store(folder, options.accept_other_code)
    studied = study_with_a_bar(study, plan, store)
    tabular = tabular_result(folder, options.seed) if plan.claims else None
    output = Output(studied, plan, store, tabular, command, round(time.perf_counter() - began, 1))
    output.write(folder, options.plot_dir)
    output.show()
    print(f"\nnumbers and tables: {folder}\nfigures: {options.plot_dir}")
    return studied


def _check(options: RlOptions) -> None:
    """What `settings_of` does not know of, or has no limit for."""
    if options.buffer is not None and options.agent == "pqn":
        given = f"--buffer {options.buffer}"
        raise SettingsError(f"{given}: must not be given with --agent pqn, which has no replay")
    if options.hidden == ():
        raise SettingsError("--hidden: must be given the units of at least one layer")
    for name, most in MOST.items():
        given = getattr(options, name)
        if given is not None and not 1 <= max(given if isinstance(given, tuple) else (given,)) <= most:
            shown = " ".join(map(str, given)) if isinstance(given, tuple) else given
            raise SettingsError(f"{flag(name)} {shown}: must be from 1 to {most}")


def _plan(options: RlOptions, settings: Settings) -> "Plan":
    from experiments.rl.study import FIRST_TUNING_SEED, Plan, names_of

    known = names_of(options.agent)
    for name in options.methods:
        if name not in known:
            known_here = f"one of {', '.join(known)} for --agent {options.agent}"
            raise SettingsError(f"--methods {name}: must be {known_here}")
    if len(set(options.methods)) != len(options.methods):
        raise SettingsError(f"--methods {' '.join(options.methods)}: each must be named once")
    if not 0 <= options.seed <= LARGEST_SEED - options.n_seeds:
        raise SettingsError(f"--seed: must be from 0 to {LARGEST_SEED - options.n_seeds}, not {options.seed}")
    seeds = tuple(range(options.seed, options.seed + options.n_seeds))
    tuning = tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + options.n_tuning_seeds))
    if options.budget > 1 and not set(seeds).isdisjoint(tuning):
        raise SettingsError(f"--seed {options.seed}: seeds from {FIRST_TUNING_SEED} on choose the numbers")
    return Plan(
        settings,
        options.methods or known,
        options.budget,
        tuning,
        seeds,
        options.together,
        claims=not options.methods_only and settings.only is None,
    )


def study_with_a_bar(study: Any, plan: "Plan", store: "Store") -> "Studied":
    """Study, and show how far it is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from experiments.lab.system.terminal import plain_console
    from experiments.rl.study import phases_to_train

    console = plain_console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=phases_to_train(plan))
        before = 0.0

        def report(name: str, phase: int) -> None:
            """Phase 0 begins a group, and the last one ends it."""
            nonlocal before
            if phase == 0:
                before = progress.tasks[0].completed
            progress.update(bar, description=name, completed=before + phase)

        found: Studied = study(plan, store, report)
    return found
