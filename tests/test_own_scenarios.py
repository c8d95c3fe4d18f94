"""A scenario of the user's own goes wherever a built-in one goes: flags, methods, stamps, figures, errors."""

import ast
import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawings import assert_drawn_again, undraw
from tiers import few

from experiments import compare, run, sweep
from experiments.lab.data.dataset import load
from experiments.lab.options.description import describe
from experiments.lab.options.own import declared, settings_with
from experiments.lab.options.scenario import BUILT_IN, Scenario
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, validate_tasks
from experiments.lab.results import stamps
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.answers import right_answers
from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.streams import training_stream
from experiments.lab.training.train import train

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_scenario.py"
INFERRED = f"{EXAMPLE}:inferred"
TINY = ["--experiment=splitDigits", "--tasks=2", "--iters=8", "--batch=16", "--fc-units=8", "--eval-log=2"]
TINY += ["--eval-n=20", "--loss-log=4"]

TEXT = '''
from dataclasses import dataclass
import jax.numpy as jnp
from experiments.lab.tasks.scenarios import Questions, Range, over_all_outputs, over_heads, scenario

def own_head(tasks, classes):
    def question(outputs, within, task):
        own = outputs.reshape(-1, tasks, classes)[jnp.arange(len(outputs)), task]
        return own, within
    return Questions(n_outputs=tasks * classes, question=question, distillation=over_heads(tasks, classes))

@dataclass(frozen=True)
class Own:
    """Of the scenario.

    Attributes:
        sharpness: By which the outputs are multiplied.
    """
    sharpness: float = 1.0

SEARCH = {"sharpness": Range(0.1, 10)}

@scenario("sharp", settings=Own, search=SEARCH, by_class=True, chance=lambda tasks, classes: 0.25)
def sharp(tasks, classes, settings):
    def question(outputs, within, task):
        return settings.sharpness * outputs, within
    return Questions(n_outputs=classes, question=question)

def no_questions(tasks, classes):
    return tasks

def fails(tasks, classes):
    return Questions(n_outputs=classes, question=lambda outputs, within, task: (outputs[:, task, 0], within))

def one_score(tasks, classes):
    return Questions(n_outputs=classes, question=lambda outputs, within, task: (outputs[0], within))

def no_choice(tasks, classes):
    return Questions(n_outputs=classes, question=lambda outputs, within, task: (outputs, 1.0 * within))

def one_loss(tasks, classes):
    losses = lambda *given: over_all_outputs(*given).mean()
    question = lambda outputs, within, task: (outputs, within)
    return Questions(n_outputs=classes, question=question, distillation=losses)

def peeks(tasks, classes):
    told = lambda within: within[:, None] * jnp.arange(classes)
    question = lambda outputs, within, task: (outputs + told(within), within)
    return Questions(n_outputs=classes, question=question)

def peeks_at_test(tasks, classes):
    blind = lambda outputs, within, task: (outputs, within)
    return Questions(n_outputs=classes, question=blind, at_test=peeks(tasks, classes).question)

@scenario("odd", chance=lambda tasks, classes: 2)
def odd(tasks, classes):
    return own_head(tasks, classes)

@scenario("task")
def taken(tasks, classes):
    return own_head(tasks, classes)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    return path


def folders(tmp_path):
    return [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]


def summary_of(out):
    return json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())


def with_scenario(reference, **given):
    found = declared(Scenario, str(reference))
    small = {"experiment": "splitDigits", "iters": 6, "batch": 16, "fc_units": 8, "eval_log": 3}
    return settings_with(scenario=found)(**{**small, "scenario": found.name, **given})


@pytest.mark.parametrize(
    ("methods", "drawn"),
    few(
        [(["standard", "lwf"], False), (["standard", "lwf", "ewc", "er"], True)],
        lambda methods, drawn: not drawn,
    ),
    ids=["some", "all, drawn"],
)
@pytest.mark.usefixtures("sketched")
def test_the_example_is_compared_measured_and_found_again(methods, drawn, tmp_path, capsys, monkeypatch):
    measures = ["--measures", f"{EXAMPLE}:first_task", f"{EXAMPLE}:recovered"]
    more = ["--methods", *methods, "--n-seeds=2", "--ewc-samples=20"]
    given = [*TINY, f"--scenario={INFERRED}", *measures, *more, *folders(tmp_path)]
    with monkeypatch.context() as patch:
        undraw(patch)
        assert compare.main([*given, "--live"]) == 0
    out = capsys.readouterr().out
    assert "splitDigits, 2 tasks, inferred scenario" in out
    assert re.search(r"method +first task at the end +regained", out)
    summary = summary_of(out)
    assert summary["scenario"]["origin"] == "own_scenario.py:inferred"
    assert summary["scenario"]["chance"] == pytest.approx(1 / 10)
    assert summary["config"]["scenario"] == "inferred"
    assert "splitDigits2-inferred-task-based" in out.splitlines()[-1]
    for of_method in summary["methods"].values():
        assert of_method["measures"]["first-task"]["mean"] is not None
        assert of_method["measures"]["recovered"]["mean"] >= 0
    if not drawn:
        undraw(monkeypatch)
    assert compare.main(given) == 0
    assert capsys.readouterr().out.count("2 of 2 runs found again") == len(methods)
    if drawn:  # and again from the results alone
        assert set(assert_drawn_again(tmp_path)) >= {"accuracy.png", "matrices.png"}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_it_is_run_and_searched(tmp_path, file, capsys):
    given = [*TINY, "--scenario", f"{file}:sharp", "--sharpness=2", *folders(tmp_path)]
    assert run.main(given) == 0
    assert "sharp scenario (sharpness 2)" in capsys.readouterr().out
    budget = ["--methods", "standard", "--budget=2", "--n-tuning-seeds=1", "--n-seeds=1"]
    assert sweep.main([*given, *budget, "--ranges", "sharpness=3:4"]) == 0
    summary = summary_of(capsys.readouterr().out)
    assert summary["scenario"]["name"] == "sharp"
    (search,) = summary["searches"].values()
    first, second = (one["sharpness"] for one in search["candidates"])
    assert first == 2
    assert 3 <= second <= 4


@pytest.mark.parametrize("method", few(["standard", "lwf", "ewc", "er"], ["standard", "lwf"]))
def test_one_that_asks_as_a_built_in_one_does_gives_the_same(file, method):
    own = with_scenario(f"{file}:own_head", ewc_samples=20)
    built_in = Settings(**{**vars(own), "scenario": "task"})
    (one,), _ = train([own], method, [0], load("Digits"), lambda progress: None)
    (other,), _ = train([built_in], method, [0], load("Digits"), lambda progress: None)
    np.testing.assert_allclose(one[0].loss, other[0].loss, rtol=1e-4)
    np.testing.assert_allclose(one[0].accuracy_matrix, other[0].accuracy_matrix, atol=0.01)


def test_the_task_is_inferred_by_the_most_certain_head():
    problem = make_problem(with_scenario(INFERRED, tasks=2), load("Digits"))
    asked = problem.questions
    assert (problem.n_outputs, problem.classes_per_task) == (10, 5)
    outputs = np.zeros((1, 10), np.float32)
    outputs[0, [1, 7]] = 2.0, 5.0  # the second head is more certain, of its class 2
    within, task = jnp.array([1]), jnp.array([0])
    scores, target = asked.question(jnp.asarray(outputs), within, task)
    assert (scores.argmax(), target) == (1, 1)
    scores, target = asked.judged(jnp.asarray(outputs) + 0.0, within, task)
    assert (scores.argmax(), target) == (7, 1)
    # A head that is shifted as a whole is not more certain.
    shifted = jnp.asarray(outputs).at[0, :5].add(100.0)
    assert asked.judged(shifted, within, task)[0].argmax() == 7


def test_a_scenario_by_class_draws_classes_alike_and_evaluates_as_many_of_each(file):
    settings = with_scenario(f"{file}:sharp", tasks=5, iters=200)
    problem = make_problem(settings, load("Digits"))
    stream = training_stream(settings, problem, 0)
    expected = dataclasses.replace(settings, scenario="class")
    same = training_stream(expected, make_problem(expected, load("Digits")), 0)
    np.testing.assert_array_equal(stream.rows, same.rows)
    assert settings.chance == 0.25


def test_its_own_settings_decide_what_is_asked(file):
    for sharpness in 1.0, 3.0:  # one after the other: what is kept of the tasks is not that of other settings
        settings = with_scenario(f"{file}:sharp", sharpness=sharpness)
        asked = make_problem(settings, load("Digits")).questions
        scores, _ = asked.question(jnp.ones((1, 2)), jnp.zeros(1, int), jnp.zeros(1, int))
        assert scores.tolist() == [[sharpness] * 2]
    assert describe(settings).split(", ")[2] == "sharp scenario (sharpness 3)"


def test_an_identity_names_it_its_settings_and_its_code(file):
    identity = stamps.identity(with_scenario(f"{file}:sharp", sharpness=2), "standard", 0, "abc")
    assert (identity["own_scenario"], list(identity["own_code"])) == ("mine.py:sharp", ["mine.py"])
    assert (identity["settings"]["scenario"], identity["settings"]["sharpness"]) == ("sharp", 2.0)
    assert stamps.run_stamp(identity).startswith("splitDigits5-sharp-task-based-standard-s0-")
    assert not {"own_scenario", "own_code"} & set(stamps.identity(Settings(), "standard", 0, "abc"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_questions", "scenario no_questions: must give Questions, not int"),
        ("fails", "scenario fails: IndexError: "),
        ("one_score", "scenario one_score: its question must give scores, floating-point [16, choices], not"),
        (
            "no_choice",
            "scenario no_choice: its question must give the right choice, integers [16], not float",
        ),
        ("one_loss", "scenario one_loss: its distillation must give a loss of each sample, [16], not ()"),
        ("peeks", "scenario peeks: its question must give scores that do not depend on the answer"),
        ("peeks_at_test", "scenario peeks_at_test: its at_test must give scores that do not depend"),
        ("odd", "scenario odd: its chance must be a fraction, not 2"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_trained(tmp_path, file, capsys, name, message):
    assert compare.main([*TINY, f"--scenario={file}:{name}", *folders(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "results" / "runs").exists() or not list((tmp_path / "results" / "runs").iterdir())


def test_names_that_are_taken_or_unknown_are_refused(tmp_path, file, capsys):
    with pytest.raises(SystemExit):
        compare.main([*TINY, f"--scenario={file}:taken"])
    assert "has the name of the built-in scenario task" in capsys.readouterr().err
    assert compare.main([*TINY, "--scenario=none", *folders(tmp_path)]) == 2
    allowed = "must be one of task, domain, class, or MODULE:FUNCTION, one of your own"
    assert capsys.readouterr().err == f"error: --scenario none: {allowed}\n"


def test_lwf_is_refused_where_it_is_not_said_what_to_keep(tmp_path, file, capsys):
    given = [*TINY, f"--scenario={file}:sharp", "--methods", "standard", "lwf", *folders(tmp_path)]
    assert compare.main(given) == 2
    assert (
        "method lwf: keeps old outputs, but the sharp scenario does not say which" in capsys.readouterr().err
    )


def test_a_single_head_is_for_the_scenario_that_has_one(file):
    with pytest.raises(SettingsError, match=r"^--singlehead: must be left out in the own_head scenario"):
        validate(with_scenario(f"{file}:own_head", singlehead=True))
    assert Settings(singlehead=True).asked is BUILT_IN["domain"]


def test_tasks_of_a_single_class_need_a_scenario_that_tells_them_apart(file):
    validate_tasks(with_scenario(INFERRED, tasks=10))
    with pytest.raises(SettingsError, match="leaves nothing to learn in the own_head scenario"):
        validate_tasks(with_scenario(f"{file}:own_head", tasks=10))


def test_no_code_knows_a_scenario_by_its_name():
    """Nothing compares the name of a scenario with a word."""
    folder = Path(stamps.__file__).parents[2]
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            names = any(isinstance(one, ast.Attribute) and one.attr == "scenario" for one in sides)
            words = {word.value for one in sides for word in ast.walk(one) if isinstance(word, ast.Constant)}
            if names and words & {*BUILT_IN}:
                found.append((path.name, node.lineno))
    assert found == []


def test_questions_are_asked_of_one_seed_at_a_time():
    """A scenario of the user's own sees no axis of the seeds, in training and in evaluation."""
    settings = with_scenario(INFERRED)
    problem = make_problem(settings, load("Digits"))
    outputs = jax.random.normal(jax.random.key(0), (3, 7, problem.n_outputs))
    y, task = jnp.arange(21).reshape(3, 7) % 10, jnp.arange(21).reshape(3, 7) % 5
    right = right_answers(problem, outputs, y, task.at[0, 0].set(-1))
    assert right.shape == (3, 7)
