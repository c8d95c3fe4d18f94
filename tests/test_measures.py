import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from experiments.lab.options.settings import Settings
from experiments.lab.results import measures as lab
from experiments.lab.results.measured import measures
from experiments.lab.results.measures import Measured

quick = effort(deadline=None, derandomize=True)

STREAMS = ["task-based", "gradual", "random", "file"]
OF_PREVIOUS_TASKS = {"backward_transfer", "forgetting", "min_accuracy", "worst_case_accuracy"}
OF_TASK_ENDS = OF_PREVIOUS_TASKS | {"forward_transfer", "learning_accuracy"}
NAMES = [
    "final_accuracy",
    "backward_transfer",
    "forward_transfer",
    "forgetting",
    "learning_accuracy",
    "average_anytime_accuracy",
    "min_accuracy",
    "worst_case_accuracy",
]


@dataclass(frozen=True)
class RecordedRun:
    """What measures use of a finished run."""

    method: str
    evaluated_at: np.ndarray
    accuracy: np.ndarray
    seen: np.ndarray
    accuracy_matrix: np.ndarray
    matrix_at: np.ndarray
    initial_accuracy: np.ndarray
    final_accuracy: float
    diverged_at: int | None = None


def make_run(stream="task-based", tasks=3, iters=6, eval_log=2, method="standard", seed=0):
    """A run of random accuracies, and its settings."""
    settings = Settings(stream=stream, tasks=tasks, iters=iters, eval_log=eval_log)
    ordered = stream in ("task-based", "gradual")
    total = tasks * iters if ordered else iters
    ends = np.arange(iters, total + 1, iters)
    evaluated_at = np.union1d(np.arange(0, total + 1, eval_log), ends)
    random = np.random.default_rng(seed)
    if stream == "random" or method == "joint":
        first_shown = np.ones(tasks, dtype=int)
    elif stream == "file":
        first_shown = random.integers(1, total + 1, tasks)
        first_shown[random.integers(tasks)] = 1
    else:  # a gradual stream shows each task a little early
        first_shown = np.maximum(1, np.arange(tasks) * iters + (1 if stream == "task-based" else -iters // 3))
    matrix = random.integers(0, 101, (len(ends), tasks)) / 100
    run = RecordedRun(
        method=method,
        evaluated_at=evaluated_at,
        accuracy=random.integers(0, 65, (len(evaluated_at), tasks)) / 64,
        seen=evaluated_at[:, None] >= first_shown,
        accuracy_matrix=matrix,
        matrix_at=ends,
        initial_accuracy=random.integers(0, 101, tasks) / 100,
        final_accuracy=float(matrix[-1].mean()),
    )
    return run, settings


def some_runs(streams=STREAMS, fewest_tasks=1, methods=("standard", "joint")):
    return st.builds(
        make_run,
        stream=st.sampled_from(streams),
        tasks=st.integers(fewest_tasks, 6),
        iters=st.integers(1, 9),
        eval_log=st.integers(1, 20),
        method=st.sampled_from(methods),
        seed=st.integers(0, 2**32 - 1),
    )


def ordered_runs(streams=("task-based", "gradual")):
    return some_runs(streams, fewest_tasks=2, methods=("standard",))


def values(run, settings):
    return {name: measure.value for name, measure in measures(run, settings).items()}


def slow_twin(run, settings):
    """Every measure from its equation, one number after the other; tasks count from 1."""
    T = settings.tasks
    R = {
        (i, j): float(run.accuracy_matrix[i - 1][j - 1])
        for i in range(1, len(run.accuracy_matrix) + 1)
        for j in range(1, T + 1)
    }
    evaluations = [
        (
            int(n),
            {j: float(row[j - 1]) for j in range(1, T + 1)},
            [j for j in range(1, T + 1) if shown[j - 1]],
        )
        for n, row, shown in zip(run.evaluated_at, run.accuracy, run.seen, strict=True)
    ]

    anytime = []
    for n, a, seen_so_far in evaluations:
        if n > 0:
            anytime.append(sum(a[j] for j in seen_so_far) / len(seen_so_far))
    found = {
        "final_accuracy": sum(R[len(run.accuracy_matrix), j] for j in range(1, T + 1)) / T,
        "average_anytime_accuracy": sum(anytime) / len(anytime),
    }

    if run.method == "joint" or settings.stream not in ("task-based", "gradual"):
        return found
    found["learning_accuracy"] = sum(R[i, i] for i in range(1, T + 1)) / T
    if T == 1:
        return found

    transferred, forgotten, lowest = 0.0, 0.0, 0.0
    for j in range(1, T):
        transferred += R[T, j] - R[j, j]
        best = -1.0
        for k in range(1, T):
            best = max(best, R[k, j])
        forgotten += best - R[T, j]
        lowest += min(a[j] for n, a, _ in evaluations if n > j * settings.iters)
    found["backward_transfer"] = transferred / (T - 1)
    found["forgetting"] = forgotten / (T - 1)
    found["min_accuracy"] = lowest / (T - 1)
    found["worst_case_accuracy"] = evaluations[-1][1][T] / T + (1 - 1 / T) * lowest / (T - 1)

    if settings.stream == "task-based":
        gained = 0.0
        for i in range(2, T + 1):
            gained += R[i - 1, i] - float(run.initial_accuracy[i - 1])
        found["forward_transfer"] = gained / (T - 1)
    return found


@quick
@given(some_runs())
def test_every_measure_is_its_equation_or_undefined_with_a_reason(made):
    run, settings = made
    found, expected = measures(run, settings), slow_twin(run, settings)
    assert list(found) == NAMES
    for name, measure in found.items():
        if name in expected:
            assert measure.value == pytest.approx(expected[name], abs=1e-12), name
            assert measure.reason is None, name
        else:
            assert math.isnan(measure.value), name
            assert measure.reason, name


@pytest.mark.parametrize("method", ["standard", "joint"])
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("stream", STREAMS)
def test_what_is_undefined(stream, tasks, method):
    undefined = set()
    if tasks == 1:
        undefined |= OF_PREVIOUS_TASKS | {"forward_transfer"}
    if stream in ("random", "file") or method == "joint":
        undefined |= OF_TASK_ENDS
    if stream == "gradual":
        undefined |= {"forward_transfer"}
    run, settings = make_run(stream, tasks, method=method)
    found = measures(run, settings)
    assert {name for name, measure in found.items() if math.isnan(measure.value)} == undefined
    assert {name for name, measure in found.items() if measure.reason is not None} == undefined


@pytest.mark.parametrize(
    ("changed", "name", "reason"),
    [
        ({"tasks": 1}, "backward_transfer", "a single task"),
        ({"tasks": 1, "stream": "random"}, "learning_accuracy", "random stream has no task ends"),
        ({"stream": "random"}, "forgetting", "random stream has no task ends"),
        ({"stream": "file"}, "min_accuracy", "stream from a file"),
        ({"stream": "gradual"}, "forward_transfer", "gradual stream shows a task before"),
        ({"method": "joint"}, "worst_case_accuracy", "joint mixes all tasks"),
    ],
)
def test_the_reason_names_what_is_missing(changed, name, reason):
    assert reason in measures(*make_run(**changed))[name].reason


def test_zero_is_a_value_and_never_stands_for_undefined():
    for stream in STREAMS:
        for tasks in (1, 3):
            run, settings = make_run(stream, tasks)
            zeros = {
                field: np.zeros_like(getattr(run, field))
                for field in ("accuracy", "accuracy_matrix", "initial_accuracy")
            }
            blank = replace(run, **zeros, final_accuracy=0.0)
            for name, measure in measures(blank, settings).items():
                assert (measure.value == 0) == (measure.reason is None), (stream, tasks, name)


def test_the_method_alone_decides_whether_joint_mixes_the_tasks():
    run, settings = make_run("task-based")
    single_row = replace(run, method="joint", accuracy_matrix=run.accuracy_matrix[-1:], matrix_at=[18])
    found = measures(single_row, settings)
    assert found["final_accuracy"].value == run.final_accuracy
    assert found["learning_accuracy"].reason == "joint mixes all tasks"


def test_a_task_that_was_never_evaluated_after_its_end_leaves_the_worst_case_undefined():
    run, settings = make_run(tasks=3, iters=6, eval_log=2)
    early = run.evaluated_at <= 12
    stopped = replace(
        run,
        evaluated_at=run.evaluated_at[early],
        accuracy=run.accuracy[early],
        seen=run.seen[early],
    )
    found = measures(stopped, settings)
    for name in ("min_accuracy", "worst_case_accuracy"):
        assert found[name].reason == "there is no evaluation after the end of task 2"
        assert math.isnan(found[name].value)


def test_an_average_over_no_evaluation_is_undefined():
    run, settings = make_run()
    found = measures(replace(run, seen=np.zeros_like(run.seen)), settings)["average_anytime_accuracy"]
    assert math.isnan(found.value)
    assert "no evaluation" in found.reason


def test_a_run_that_diverged_has_its_measures():
    run, settings = make_run()
    diverged = replace(run, diverged_at=3)
    assert measures(diverged, settings) == measures(run, settings)


@quick
@given(ordered_runs())
def test_tasks_that_stay_as_they_were_learned_have_no_backward_transfer(made):
    run, settings = made
    matrix = run.accuracy_matrix.copy()
    for task in range(settings.tasks):
        matrix[task:, task] = matrix[task, task]
    found = values(
        replace(run, accuracy_matrix=matrix, final_accuracy=float(matrix[-1].mean())),
        settings,
    )
    assert found["backward_transfer"] == 0
    assert found["final_accuracy"] == pytest.approx(found["learning_accuracy"])


@quick
@given(ordered_runs())
def test_forgetting_is_at_least_the_negative_backward_transfer(made):
    found = values(*made)
    assert found["forgetting"] >= -found["backward_transfer"] - 1e-12


@quick
@given(ordered_runs())
def test_forgetting_is_the_negative_backward_transfer_where_no_task_gets_better_than_at_its_end(made):
    run, settings = made
    matrix = run.accuracy_matrix.copy()
    for task in range(settings.tasks):
        matrix[:, task] = np.minimum(matrix[:, task], matrix[task, task])
    found = values(replace(run, accuracy_matrix=matrix), settings)
    assert found["forgetting"] == pytest.approx(-found["backward_transfer"], abs=1e-12)


@quick
@given(ordered_runs())
def test_final_accuracy_is_learning_accuracy_and_the_backward_transfer_of_all_tasks_but_the_last(made):
    found, tasks = values(*made), made[1].tasks
    changed = (tasks - 1) / tasks * found["backward_transfer"]
    assert found["final_accuracy"] == pytest.approx(found["learning_accuracy"] + changed)


@quick
@given(ordered_runs(["task-based"]))
def test_a_network_that_never_learns_has_no_transfer_and_no_forgetting(made):
    run, settings = made
    frozen = np.tile(run.initial_accuracy, (settings.tasks, 1))
    found = values(replace(run, accuracy_matrix=frozen), settings)
    assert (found["backward_transfer"], found["forward_transfer"], found["forgetting"]) == (0, 0, 0)


@quick
@given(ordered_runs())
def test_the_worst_case_is_at_most_the_mean_of_the_last_evaluation(made):
    found = values(*made)
    last = made[0].accuracy[-1]
    assert found["min_accuracy"] <= last[:-1].mean() + 1e-12
    assert found["worst_case_accuracy"] <= last.mean() + 1e-12


@quick
@given(ordered_runs())
def test_fewer_evaluations_can_only_raise_the_worst_case(made):
    run, settings = made
    kept = np.isin(run.evaluated_at, [0, *run.matrix_at])
    sparse = replace(
        run, evaluated_at=run.evaluated_at[kept], accuracy=run.accuracy[kept], seen=run.seen[kept]
    )
    dense, seldom = values(run, settings), values(sparse, settings)
    for name in ("min_accuracy", "worst_case_accuracy"):
        assert seldom[name] >= dense[name] - 1e-12


def test_the_evaluation_at_the_end_of_a_task_is_not_after_it():
    run, settings = make_run(tasks=2, iters=4, eval_log=1)
    accuracy = np.ones_like(run.accuracy)
    accuracy[run.evaluated_at <= 4] = 0.25
    assert values(replace(run, accuracy=accuracy), settings)["min_accuracy"] == 1
    accuracy[run.evaluated_at == 5] = 0.5  # a dip of one iteration, from which it recovers
    assert values(replace(run, accuracy=accuracy), settings)["min_accuracy"] == 0.5


@quick
@given(some_runs())
def test_what_comes_before_the_training_and_tasks_not_seen_leave_the_anytime_accuracy_alone(made):
    run, settings = made
    other = np.where(run.seen, run.accuracy, 1 - run.accuracy)
    found = values(replace(run, accuracy=other), settings)["average_anytime_accuracy"]
    assert found == values(run, settings)["average_anytime_accuracy"]


@quick
@given(some_runs())
def test_constant_accuracies_are_found_again(made):
    run, settings = made
    constant = replace(
        run,
        accuracy=np.full_like(run.accuracy, 0.375),
        accuracy_matrix=np.full_like(run.accuracy_matrix, 0.375),
        final_accuracy=0.375,
    )
    found = values(constant, settings)
    for name, value in found.items():
        if name.endswith("accuracy") and not math.isnan(value):
            assert value == pytest.approx(0.375), name


def test_a_matrix_that_lacks_rows_is_an_error():
    run, settings = make_run(tasks=3)
    with pytest.raises(ValueError, match="accuracy_matrix of 2 rows: must be 3"):
        measures(replace(run, accuracy_matrix=run.accuracy_matrix[:2]), settings)


@pytest.mark.parametrize(("value", "reason"), [(math.nan, None), (0.5, "because"), (0.0, "because")])
def test_a_measure_is_a_number_or_has_a_reason(value, reason):
    with pytest.raises(ValueError, match="must be a number alone, or NaN and a reason"):
        Measured(value, reason)


def test_every_measure_is_described_in_the_documentation():
    page = (Path(__file__).parent.parent / "docs" / "measures.md").read_text()
    for name in NAMES:
        assert f"| `{name}` |" in page
        assert name == "final_accuracy" or "References:" in getattr(lab, name).__doc__
