"""What the scores of a training say: how soon a task is relearned, what is forgotten, and the area."""

from typing import NamedTuple

import numpy as np

from experiments.rl.settings import Settings

# Greedy scores at which a task counts as learned: 200 of 500 steps (the whole of CartPole-v0), nine of ten
# balls.
GOOD = (0.4, 0.9)
FIRST_COUNTED = 2  # phases before it are the first with each task


class Measured(NamedTuple):
    """Of each seed ``[seeds]``, over all phases but the first with each task.

    Attributes:
        area: mean greedy score of the task that is trained, over all looks: the area under its curve.
        relearned: environment steps from a switch until the task is good; all of a phase where it never is.
        at_once: share of phases in which it is so at the first look, sooner than which nothing is seen.
        missed: share of phases in which it never is.
        kept: mean greedy score of the task that is not trained, at the ends of phases; NaN with one task.
        forgotten: how far a task's score falls in the phase of the other one, from end to end; likewise.
        trained: mean score of the episodes of the training itself that ended.
        diverged: whether a loss was not finite, in any phase.
    """

    area: np.ndarray
    relearned: np.ndarray
    at_once: np.ndarray
    missed: np.ndarray
    kept: np.ndarray
    forgotten: np.ndarray
    trained: np.ndarray
    diverged: np.ndarray


def by_phase(scores: np.ndarray, settings: Settings) -> np.ndarray:
    """Scores ``[seeds, phases × looks, …]`` as ``[seeds, phases, looks, …]``."""
    return scores.reshape(len(scores), settings.phases, settings.looks, *scores.shape[2:])


def tasks_of(settings: Settings) -> np.ndarray:
    """The task of each phase, ``[phases]``."""
    if settings.only is None:
        return np.arange(settings.phases) % 2
    return np.full(settings.phases, ("cart-pole", "catch").index(settings.only))


def relearning(scores: np.ndarray, settings: Settings) -> np.ndarray:
    """Steps from the beginning of each phase until its task is good, ``[seeds, phases]``; inf where never."""
    task = tasks_of(settings)
    own = np.take_along_axis(by_phase(scores, settings), task[None, :, None, None], axis=-1)[..., 0]
    good = own >= np.array(GOOD)[task][:, None]
    first = (good.argmax(axis=-1) + 1) * (settings.steps // settings.looks)
    return np.where(good.any(axis=-1), first, np.inf)


def measured(scores: np.ndarray, trained: np.ndarray, losses: np.ndarray, settings: Settings) -> Measured:
    """Sum a record up.

    Args:
        scores: ``[seeds, looks, tasks]``, as in `alternation.Record`.
        trained: ``[seeds, looks]``, likewise.
        losses: ``[seeds, looks]``, likewise.
        settings: what the training was made with.
    """
    of, task = by_phase(scores, settings), tasks_of(settings)
    own = np.take_along_axis(of, task[None, :, None, None], axis=-1)[..., 0]
    other = np.take_along_axis(of, 1 - task[None, :, None, None], axis=-1)[..., 0]
    counted = slice(FIRST_COUNTED, None)
    times = relearning(scores, settings)[:, counted]
    # The other task was the one of the phase before, at whose end its score was that of the own.
    fallen = own[:, :-1, -1] - other[:, 1:, -1]
    both = 1.0 if settings.only is None else np.nan
    ended = np.ma.masked_invalid(by_phase(trained, settings)[:, counted])
    return Measured(
        area=own[:, counted].mean(axis=(1, 2)),
        relearned=np.minimum(times, settings.steps).mean(axis=1),
        at_once=(times <= settings.steps // settings.looks).mean(axis=1),
        missed=np.isinf(times).mean(axis=1),
        kept=both * other[:, counted, -1].mean(axis=1),
        forgotten=both * fallen[:, FIRST_COUNTED - 1 :].mean(axis=1),
        trained=ended.mean(axis=(1, 2)).filled(np.nan),
        diverged=~np.isfinite(losses).all(axis=1),
    )
