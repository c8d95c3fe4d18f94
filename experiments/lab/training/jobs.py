"""The runs that are asked for: found again where they are finished, else divided, trained and kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from experiments.lab.options.description import counted, listed
from experiments.lab.options.settings import Settings
from experiments.lab.results import stamps, store
from experiments.lab.results.runs import FinishedRun, Run, Seconds
from experiments.lab.system import processes
from experiments.lab.training.checkpoints import Checkpoints, interrupted_groups
from experiments.lab.training.devices import Spread, local_devices
from experiments.lab.training.groups import Group, Pair, parts_of, products
from experiments.lab.training.progress import Observe, Progress, ProgressDisplay

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.lab.data.dataset import Dataset


class OutputOptions(Protocol):
    """What has to be known of the options: see `experiments.lab.command.options.Output`."""

    @property
    def results_dir(self) -> Path: ...  # noqa: D102
    @property
    def resume(self) -> bool: ...  # noqa: D102
    @property
    def checkpoint_every(self) -> float: ...  # noqa: D102
    @property
    def probes(self) -> bool: ...  # noqa: D102
    @property
    def accept_other_code(self) -> bool: ...  # noqa: D102


class Watching(Protocol):
    """Shows the trainings of one command while they run: see `experiments.lab.live.Live`."""

    def found(self, method: str, runs: Sequence[Run]) -> None: ...  # noqa: D102
    def observers(  # noqa: D102
        self, method: str, stamps: Mapping[int, str]
    ) -> Sequence[AbstractContextManager[Observe]]: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method with some configurations and seeds.

    Attributes:
        configurations: settings that can train together, or share a training
            (`experiments.lab.training.train.train`).
        method: the method's name.
        seeds: those to train each configuration with.
        dataset: the data set.
        output: where runs are found and kept.
        devices: how many devices of each process the runs are divided among.
        live: where to draw while training; with a single configuration only.
        title: what the progress is called; the method's name by default.
        arguments: see `experiments.lab.training.train.train`.
        one_of_many: see `experiments.lab.training.progress.ProgressDisplay`.
    """

    configurations: Sequence[Settings]
    method: str
    seeds: Sequence[int]
    dataset: Dataset
    output: OutputOptions
    devices: int = 1
    live: Watching | None = None
    title: str | None = None
    arguments: Collection[str] = ()
    one_of_many: bool = False

    def finish(self) -> tuple[list[list[FinishedRun]], Seconds]:
        """Find again the runs that are finished, and train the others.

        Returns:
            For each configuration the runs in the order of the seeds, and the seconds spent on those that
            were trained.

        Raises:
            SettingsError: if the settings do not fit the data.
            OSError: if a run cannot be kept.
            KeyboardInterrupt: if the user stops the training; what is finished has been kept.
        """
        finished, plan = processes.exchange(self._prepare() if processes.is_first() else None)[0]
        title = self.title or self.method
        if finished and (plan or not self.one_of_many):
            found = f"{len(finished)} of {len(self._pairs)} runs found again"
            print(f"{title}: {found} in {self.output.results_dir}")
        if self.live is not None:
            self.live.found(self.method, [one.run for one in finished.values()])
        seconds = Seconds(0.0, 0.0, 0.0)
        n = processes.count()
        for first in range(0, len(plan), n):  # each process one group at a time
            trained, spent = self._train(processes.share(plan[first : first + n]))
            finished.update(trained)
            seconds += spent
        groups = [[finished[place, seed] for seed in self.seeds] for place in range(len(self.configurations))]
        for group in groups:
            _warn_if_diverged(title, [one.run for one in group])
        return groups, seconds

    @property
    def _pairs(self) -> list[Pair]:
        return [(place, seed) for place in range(len(self.configurations)) for seed in self.seeds]

    @property
    def _probed(self) -> bool:
        return self.output.probes and self.configurations[0].methods[self.method].has_beakers

    def _identity(self, pair: Pair) -> dict[str, Any]:
        place, seed = pair
        return stamps.identity(self.configurations[place], self.method, seed, self.dataset.sha256)

    def _prepare(self) -> tuple[dict[Pair, FinishedRun], list[Group]]:
        """What is finished, and what is to be trained in which groups."""
        identities = {pair: self._identity(pair) for pair in self._pairs}
        found = {
            pair: store.find_run(self.output.results_dir, identity) for pair, identity in identities.items()
        }
        finished = self._usable(found)
        missing = [pair for pair in self._pairs if pair not in finished]
        of_other_code = self._usable(
            {pair: store.find_other_code(self.output.results_dir, identities[pair]) for pair in missing}
        )
        self._note_other_code(list(of_other_code.values()))
        if self.output.accept_other_code:
            finished |= of_other_code
            missing = [pair for pair in missing if pair not in finished]
        plan: list[Group] = []
        if missing and self.output.resume:
            by_stamp = {stamps.run_stamp(identity): pair for pair, identity in identities.items()}
            wanted = {stamps.run_stamp(identities[pair]) for pair in missing}
            # Where some runs of a group were kept already, all of it are made again, to the same bits.
            for group in interrupted_groups(self.output.results_dir, wanted, by_stamp):
                again = [by_stamp[stamp] for stamp in group]
                plan += products(again)
                missing = [pair for pair in missing if pair not in again]
        trainings = [one.as_trained(self.method) for one in self.configurations]
        fresh = [
            part for group in products(missing) for part in parts_of(group, processes.count(), trainings)
        ]
        return finished, plan + fresh

    def _usable(self, found: Mapping[Pair, FinishedRun | None]) -> dict[Pair, FinishedRun]:
        """Those that were found; a run without its probes is as good as none where they are asked for."""
        return {pair: one for pair, one in found.items() if one and (one.run.probes or not self._probed)}

    def _note_other_code(self, others: Sequence[FinishedRun]) -> None:
        if not others:
            return
        title, runs = self.title or self.method, counted(len(others), "run")
        changed = listed(stamps.files_of_other_code(others))
        folder = self.output.results_dir
        made = f"made by other code (changed since: {changed})"
        if self.output.accept_other_code:
            processes.note(f"warning: {title}: --accept-other-code accepts {runs} in {folder}, {made}")
        else:
            processes.note(
                f"note: {title}: training {runs} again, {made}; --accept-other-code would accept those in "
                f"{folder}"
            )

    def _train(self, group: Group | None) -> tuple[dict[Pair, FinishedRun], Seconds]:
        """Train one group of each process, and keep the runs of all."""
        if group is None:
            return self._keep({}, Seconds(0.0, 0.0, 0.0), None)
        from experiments.lab.training import train

        places, seeds = group
        n_trainings = len({self.configurations[place].as_trained(self.method) for place in places})
        spread = Spread(n_trainings, len(seeds), local_devices(self.devices))
        title = f"{self.title or self.method}, {counted(len(seeds), 'seed')}"
        if self.devices > 1:
            title += f" on {counted(spread.n_devices, 'device')}"
        checkpoints = self._checkpoints(group, title)
        with self._observed(group, title) as observe:
            trained, seconds = train.train(
                [self.configurations[place] for place in places],
                self.method,
                seeds,
                self.dataset,
                observe,
                checkpoints,
                self.arguments,
                probed=self._probed,
                devices=self.devices,
            )
            # How many share a program changes the rounding of their results, so it is part of the record.
            environment = {
                **store.current_environment(),
                "seeds_together": len(seeds),
                "seeds_at_a_time": spread.at_a_time,
                "configurations_together": n_trainings,
                "evaluated_together": len(places),
                "devices_used": spread.n_devices,
                "processes": processes.count(),
                "seconds": asdict(checkpoints.seconds_before + seconds),
                "resumed_at": checkpoints.resumed_at,
            }
            runs = {
                (place, run.seed): (run, environment)
                for place, of_one in zip(places, trained, strict=True)
                for run in of_one
            }
            return self._keep(runs, seconds, checkpoints)

    def _checkpoints(self, group: Group, title: str) -> Checkpoints:
        """Where the state of a group's training is kept."""
        places, seeds = group
        identities = [self._identity((place, seed)) for place in places for seed in seeds]
        return Checkpoints(
            self.output.results_dir,
            f"{self.method}-{stamps.comparison_stamp(identities)}{'-probed' if self._probed else ''}",
            self.output.checkpoint_every,
            self.output.resume,
            identities,
            at_the_end=processes.joined(),
            title=title,
        )

    @contextmanager
    def _observed(self, group: Group, title: str) -> Iterator[Observe]:
        """Show a group's training for as long as the context lasts; gives what takes its reports."""
        places, seeds = group
        of_seeds = {seed: stamps.run_stamp(self._identity((places[-1], seed))) for seed in seeds}
        console = None
        if processes.joined():
            title += f" (process 0 of {processes.count()})"
            if not processes.is_first():
                console = Console(file=open(os.devnull, "w"))  # noqa: SIM115
        total = self.configurations[places[0]].total_iterations
        shown = ProgressDisplay(title, total, console, one_of_many=self.one_of_many)
        with shown as display, ExitStack() as stack:
            live = self.live.observers(self.method, of_seeds) if self.live else []
            observers = [stack.enter_context(one) for one in live]

            def observe(progress: Progress) -> None:
                for observer in observers:
                    observer(progress)
                display(progress)  # the last one, for it raises what Ctrl-C asks for

            yield observe

    def _keep(
        self,
        trained: Mapping[Pair, tuple[Run, dict[str, Any]]],
        seconds: Seconds,
        checkpoints: Checkpoints | None,
    ) -> tuple[dict[Pair, FinishedRun], Seconds]:
        """Write the runs of all processes, and only then forget the checkpoints.

        Raises:
            OSError: the first of the failures, if some could not be written.
        """
        finished = {}
        failures = []  # after which the others are kept all the same
        everyone = processes.exchange((trained, seconds))
        for runs, _ in everyone:
            for pair, (run, environment) in runs.items():
                identity = self._identity(pair)
                finished[pair] = FinishedRun(stamps.run_stamp(identity), run, environment, False)
                if processes.is_first():
                    try:
                        store.save_run(self.output.results_dir, identity, run, environment)
                    except OSError as error:
                        failures.append(error)
        if failures:
            raise failures[0]
        processes.exchange("kept")
        if checkpoints is not None:
            checkpoints.discard()
        return finished, max((spent for _, spent in everyone), key=lambda spent: sum(asdict(spent).values()))


def _warn_if_diverged(title: str, runs: Sequence[Run]) -> None:
    """One line for all seeds of a method; the user would take the accuracies for normal ones."""
    diverged = {run.seed: run.diverged_at for run in runs if run.diverged_at is not None}
    if not diverged:
        return
    seeds = f"seed{'s' if len(diverged) > 1 else ''} {', '.join(map(str, diverged))}"
    first = f"{min(diverged.values())} on"
    if len(set(diverged.values())) > 1:
        first += " at the earliest"
    processes.note(
        f"warning: {title}, {seeds}: the loss is not finite from iteration {first}: the training diverged"
    )
