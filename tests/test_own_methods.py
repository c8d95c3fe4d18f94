"""A method of the user's own goes wherever a built-in one goes: flags, stamps, searches, figures, errors."""

import ast
import dataclasses
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawings import assert_drawn_again, undraw
from test_figures import SIGHTS, cielab
from test_methods import SMALL, assert_alone_as_in_company
from tiers import few

from experiments import compare, run, submit, sweep
from experiments.lab.command import comparing, parsing
from experiments.lab.command.preparation import _what_decides
from experiments.lab.data.dataset import load
from experiments.lab.figures.style import FREE_COLORS, looks
from experiments.lab.methods import Declaration, Method, Range, chosen_optimizer, method
from experiments.lab.methods.interface import make_method
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.description import describe_methods
from experiments.lab.options.own import declared, settings_with
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, without_effect
from experiments.lab.results import stamps
from experiments.lab.system.errors import SettingsError
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.train import train

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_method.py"
SIGN, ANCHOR = (f"{EXAMPLE}:{name}" for name in ("sign_descent", "slow_anchor"))
TINY = ["--experiment=splitDigits", "--tasks=2", "--iters=8", "--batch=16", "--fc-units=8", "--eval-log=2"]
TINY += ["--eval-n=20", "--loss-log=4"]


def of_examples(**given):
    """Settings that know both examples."""
    return settings_with((declared(Declaration, SIGN), declared(Declaration, ANCHOR)))(**given)


def summary_of(out):
    return json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())


def folders(tmp_path):
    return [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]


# The examples, in every command


@pytest.mark.parametrize("drawn", few([False, True], [False]), ids=["not drawn", "drawn"])
@pytest.mark.usefixtures("sketched")
def test_the_examples_are_compared_and_found_again(drawn, tmp_path, capsys, monkeypatch):
    methods = ["--methods", "standard", SIGN, ANCHOR, "--anchor-strength=0.5", "--n-seeds=2", "--live"]
    with monkeypatch.context() as patch:
        undraw(patch)
        assert compare.main([*TINY, *methods, *folders(tmp_path)]) == 0
    out = capsys.readouterr().out
    summary = summary_of(out)
    assert list(summary["methods"]) == ["standard", "sign_descent", "slow-anchor"]
    assert summary["config"]["anchor_strength"] == 0.5
    declared = summary["methods"]["slow-anchor"]["declared"]
    assert (declared["origin"], declared["label"]) == ("own_method.py:slow_anchor", "slow anchor")
    assert "declared" not in summary["methods"]["standard"]
    assert "slow anchor" in next((tmp_path / "results" / "live").iterdir()).read_text()
    if not drawn:
        undraw(monkeypatch)
    assert compare.main([*TINY, *methods, *folders(tmp_path)]) == 0
    found = re.findall(r"^(\S+): 2 of 2 runs found again", capsys.readouterr().out, re.MULTILINE)
    assert found == ["standard", "sign_descent", "slow-anchor"]
    if drawn:  # and again from the results alone, whatever has become of the file
        kinds = ["accuracy.png", "matrices.png", "seconds.png", "seeds.png", "tasks.png"]
        assert assert_drawn_again(tmp_path) == kinds


@pytest.mark.usefixtures("sketched")
def test_one_run_is_made_of_a_module_too(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    assert run.main([*TINY, "--method=own_method:slow_anchor", "--pdf", *folders(tmp_path)]) == 0
    assert "slow-anchor, seed 0: final average accuracy" in capsys.readouterr().out
    assert run.main([*TINY, "--method", ANCHOR, "--pdf", *folders(tmp_path)]) == 0
    assert "1 of 1 runs found again" in capsys.readouterr().out  # the same file, so the same method


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_a_search_goes_through_the_declared_ranges(tmp_path, capsys):
    more = ["--budget=4", "--n-tuning-seeds=1", "--n-seeds=2", "--together=2"]
    ranges = ["--ranges", "anchor-strength=0.5:1", "lr=1e-3:1e-2"]
    methods = ["--methods", SIGN, ANCHOR]
    assert sweep.main([*TINY, *methods, *more, *ranges, *folders(tmp_path)]) == 0
    search = summary_of(capsys.readouterr().out)["searches"]["slow-anchor"]
    assert search["space"] == {"lr": [1e-3, 1e-2], "anchor_strength": [0.5, 1], "anchor_time": [10, 1e4]}
    first, *others = search["candidates"]
    assert (first["anchor_strength"], first["anchor_time"]) == (0.01, 1000)
    assert all(0.5 <= one["anchor_strength"] <= 1 for one in others)
    assert len(list((tmp_path / "plots").glob("sweep-*-search.png"))) == 1
    refused = ["--ranges", "beta=1:2", "--get-stamp"]
    assert sweep.main([*TINY, *methods, *refused]) == 2
    assert "beta is not searched for sign_descent, slow-anchor" in capsys.readouterr().err


def test_configurations_of_an_example_train_together_as_alone():
    small = dataclasses.replace(
        of_examples(), **{f.name: getattr(SMALL, f.name) for f in dataclasses.fields(SMALL)}
    )
    pair = [dataclasses.replace(small, anchor_strength=s, anchor_time=9.0) for s in (0.5, 2.0)]
    together, _ = train(pair, "slow-anchor", [0, 1], load("Digits"), lambda progress: None)
    alone, _ = train(pair[1:], "slow-anchor", [0, 1], load("Digits"), lambda progress: None)
    for one, other in zip(together[1], alone[0], strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-4)
    assert not np.allclose(together[0][0].loss, together[1][0].loss, rtol=1e-4)


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path):
    small = of_examples(
        experiment="splitDigits", tasks=2, iters=6, batch=16, fc_units=8, eval_log=4, eval_n=20
    )

    def stopping(progress):
        if progress.iteration == 4:
            raise KeyboardInterrupt

    (expected,), _ = train([small], "slow-anchor", [3, 4], load("Digits"), lambda progress: None)
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train([small], "slow-anchor", [3, 4], load("Digits"), stopping, checkpoints)
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    (runs,), _ = train([small], "slow-anchor", [3, 4], load("Digits"), lambda progress: None, checkpoints)
    assert checkpoints.resumed_at == 4
    for one, other in zip(runs, expected, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)


def test_its_settings_are_flags_with_their_help(capsys):
    with pytest.raises(SystemExit) as stop:
        compare.main(["--methods", "standard", ANCHOR, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "method slow-anchor options" in shown
    assert (
        "--anchor-time FLOAT Time in which the anchor follows the weights, in iterations. (default: 1000"
        in shown
    )


def test_jobs_are_given_the_method_as_the_command_was(tmp_path):
    words = ("--methods", "standard", SIGN, ANCHOR, "--anchor-time=3", "--n-seeds", "1")
    shards = submit.shards_of(submit.Shard("compare", words), 0)
    assert [shard.arguments[shard.arguments.index("--methods", 2) + 1] for shard in shards] == [
        "standard",
        SIGN,
        ANCHOR,
    ]
    options, _ = parsing.parse(comparing.CompareOptions, "experiments.compare", shards[2].arguments)
    assert options.methods == ("slow-anchor",)
    assert options.settings().anchor_time == 3
    ranged = submit.Shard(
        "sweep", ("--methods", "standard", ANCHOR, "--ranges", "anchor-time=1:9", "lr=1e-4:1e-2")
    )
    assert [shard.arguments[-1] for shard in submit.shards_of(ranged, 0)] == ["lr=1e-4:1e-2"] * 2


@pytest.mark.slow
def test_jobs_train_it(tmp_path):
    command = [sys.executable, "-m", "experiments.submit", "--cluster=local", f"--logs={tmp_path / 'logs'}"]
    command += ["compare", *TINY, "--methods", SIGN, "--n-seeds=1", *folders(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLE.parent.parent)
    assert done.returncode == 0, done.stderr
    assert "sign_descent: 1 of 1 runs found again" in done.stdout


def test_processes_must_have_the_same_code_of_it(tmp_path):
    path = tmp_path / "mine.py"
    told = []
    for rate in (1, 2):
        path.write_text(f"import optax\ndef mine(settings):\n    return optax.sgd({rate})\n")
        options, _ = parsing.parse(
            comparing.CompareOptions, "experiments.compare", ["--methods", f"{path}:mine"]
        )
        told.append(_what_decides(options)["the code of method mine"])
    assert told[0] != told[1]


# Stamps


def identity(reference, **given):
    found = declared(Declaration, reference)
    return stamps.identity(settings_with((found,))(**given), found.name, 0, "abc")


@pytest.mark.usefixtures("undrawn")
def test_an_edit_of_the_file_or_of_what_it_imports_is_other_code(tmp_path, capsys):
    (tmp_path / "learning_rates.py").write_text("def rate():\n    return 0.1\n")
    mine = tmp_path / "mine.py"
    text = (
        "import optax\nfrom learning_rates import rate\ndef mine(settings):\n    return optax.sgd(rate())\n"
    )
    mine.write_text(text)
    arguments = [*TINY, "--methods", f"{mine}:mine", "--n-seeds=1", *folders(tmp_path)]
    assert compare.main(arguments) == 0
    assert set(identity(f"{mine}:mine")["own_code"]) == {"mine.py", "learning_rates.py"}
    capsys.readouterr()
    mine.write_text(text + "# another word\n")
    assert compare.main(arguments) == 0
    shown = capsys.readouterr()
    assert "found again" not in shown.out
    assert "made by other code (changed since: mine.py)" in shown.err


def test_methods_of_one_name_in_two_files_are_told_apart(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("import optax\ndef mine(settings):\n    return optax.sgd(1.0)\n")
    a, b = (identity(f"{tmp_path / name}:mine") for name in ("a.py", "b.py"))
    assert stamps.stamp_of_any_code(a) != stamps.stamp_of_any_code(b)
    with pytest.raises(
        SettingsError, match=r"method mine: is the name of both .*a\.py:mine and .*b\.py:mine"
    ):
        settings_with(tuple(declared(Declaration, f"{tmp_path / name}:mine") for name in ("a.py", "b.py")))


def test_the_built_in_methods_have_the_stamps_that_they_have_without_it():
    for name in BUILT_IN:
        with_own = stamps.identity(of_examples(), name, 0, "abc")
        assert with_own == stamps.identity(Settings(), name, 0, "abc")


def test_its_settings_are_part_of_its_stamp_alone():
    own = of_examples(), of_examples(anchor_time=5.0)
    for name, same in (("slow-anchor", False), ("sign_descent", True), ("standard", True)):
        stamped = [stamps.run_stamp(stamps.identity(one, name, 0, "abc")) for one in own]
        assert (stamped[0] == stamped[1]) is same
        assert f"-{name}-s0-" in stamped[0]


def test_a_method_of_a_notebook_is_known_by_its_text_and_what_it_refers_to(monkeypatch):
    from experiments.lab.results import own_code

    def declared(text):
        cell = {"__name__": "no_file", "optax": optax}
        exec(text, cell)
        return Declaration(name="mine", make=cell["mine"])

    text = "rate = 1\ndef step(): return optax.sgd(rate)\ndef mine(settings): return step()"
    told = [
        own_code.of_own(declared(one))
        for one in (text, text, text.replace("1", "2"), text.replace("sgd", "adam"))
    ]
    assert told[0] == told[1]
    assert len({one["no_file"] for one in told}) == 3


# The interface


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sign_descent", "slow-anchor"])
def test_a_seed_of_an_example_learns_alone_as_among_five(name, decay):
    assert_alone_as_in_company(make_method(of_examples(decay=decay, anchor_time=3.0), name))


def test_the_weights_to_evaluate_are_those_of_one_seed_whatever_the_optimizer_counts():
    def scaled(settings):
        def weights(params, memory, opt_state):
            size = optax.tree.norm(params) * opt_state[0].count
            return jax.tree.map(lambda p: p / size, params)

        return Method(chosen_optimizer(settings), weights=weights)

    known = settings_with((Declaration(name="scaled", make=scaled),))
    assert_alone_as_in_company(make_method(known(), "scaled"))


def test_what_a_method_does_not_say_to_use_has_its_usual_value():
    seen = []

    def curious(settings):
        seen.append((settings.beakers, settings.ewc_strength, settings.lr))
        return optax.sgd(settings.lr)

    silent = Declaration(name="silent", make=curious)
    saying = Declaration(name="saying", make=curious, uses=["beakers"])
    settings = settings_with((silent, saying))(beakers=9, ewc_strength=3.0, lr=0.5)
    for name in ("silent", "saying"):
        make_method(settings, name)
    assert seen == [(5, 100_000.0, 0.5), (9, 100_000.0, 0.5)]
    assert without_effect(settings, ["silent"]) == [
        "--beakers 9 has no effect on silent",
        "--ewc-strength 3 has no effect on silent",
    ]
    assert stamps.identity(settings, "saying", 0, "abc")["settings"]["beakers"] == 9


def test_a_memory_may_be_the_parameters_themselves():
    """Though all that the loop carries is donated."""

    def held(settings):
        return Method(
            chosen_optimizer(settings),
            start=lambda params: params,
            pull=lambda params, memory: jax.tree.map(jnp.subtract, params, memory),
            consolidate=lambda memory, params, fisher: params,
        )

    fields = {f.name: getattr(SMALL, f.name) for f in dataclasses.fields(SMALL)}
    settings = settings_with((Declaration(name="held", make=held),))(**fields)
    (runs,), _ = train([settings], "held", [0, 1], load("Digits"), lambda progress: None)
    assert all(np.isfinite(run.loss).all() for run in runs)


def test_a_learning_rate_that_decides_a_branch_is_explained():
    def branching(settings):
        return optax.sgd(settings.lr if settings.lr < 1 else 1)

    fields = {f.name: getattr(SMALL, f.name) for f in dataclasses.fields(SMALL)}
    for together in (("lr",), ()):
        settings = settings_with((Declaration(name="branching", make=branching, together=together),))(
            **fields
        )
        if together:
            with pytest.raises(
                SettingsError, match=r"method branching: needs a number .* together \(now lr\)"
            ):
                train([settings], "branching", [0], load("Digits"), lambda progress: None, arguments=["lr"])
        train([settings], "branching", [0], load("Digits"), lambda progress: None, arguments=together and ())


def test_a_search_finds_out_before_it_trains(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("import optax\ndef mine(settings):\n    return optax.sgd(min(settings.lr, 1.0))\n")
    arguments = [*TINY, "--methods", "standard", f"{path}:mine", "--get-stamp"]
    assert compare.main(arguments) == 0
    assert sweep.main(arguments) == 2
    assert re.search(r"error: method mine: needs a number .*mine\.py, line 3", capsys.readouterr().err)


def test_words_and_whole_numbers_are_settings_too():
    @dataclasses.dataclass(frozen=True)
    class Mine:
        mine_depth: int = 3
        mine_kind: str = "soft"
        mine_rate: float = 1.0

    @method(settings=Mine, search={"mine_depth": Range(2, 100)})
    def mine(settings):
        """Deep."""

    from experiments.lab.options import search

    known = settings_with((mine,))
    space = search.search_space(known(), "mine", {})
    points = search.configurations(known(), space, 5)
    assert all(isinstance(point.mine_depth, int) for point in points)
    assert describe_methods(known(), ["mine"]).endswith("; mine: depth 3, kind soft, rate 1")
    with pytest.raises(SettingsError, match="--mine-rate inf: must be finite"):
        validate(known(mine_rate=float("inf")))


# Colours


def test_methods_without_a_color_have_free_ones_that_are_told_apart():
    own = tuple(Declaration(name=f"own{i}", make=chosen_optimizer) for i in range(6))
    settings = settings_with((*own, Declaration(name="pink", make=chosen_optimizer, color=FREE_COLORS[0])))()
    shown = looks(["standard", "cs", "pink", *(one.name for one in own)], settings)
    assert len({(look.color, str(look.line)) for look in shown.values()}) == len(shown)
    assert sum(look.color == FREE_COLORS[0] for look in shown.values()) == 1
    free = looks([f"own{i}" for i in range(len(FREE_COLORS))], settings)
    assert [look.color for look in free.values()] == list(FREE_COLORS)


@pytest.mark.parametrize("sight", SIGHTS)
def test_free_colors_are_told_apart_in_all_kinds_of_colour_vision(sight):
    usual = [declared.color for declared in BUILT_IN.values()]
    for one, other in itertools.combinations([*FREE_COLORS, *usual], 2):
        if one in FREE_COLORS or other in FREE_COLORS:
            assert np.linalg.norm(cielab(one, sight) - cielab(other, sight)) > 13, (one, other)


# Mistakes

UPDATE = """import jax, optax
def mine(settings):
    def update(grads, state, params=None):
        return {}
    return optax.GradientTransformation(lambda params: (), update)
"""
METHOD = """import optax
from experiments.lab.methods import Method
def mine(settings):
    return Method(optax.sgd(0.1), {})
"""


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "mine", r"method .*mine\.py:mine: .* cannot be read: No such file or directory"),
        ("", "mine", "has no function or class mine"),
        ("mine = 3", "mine", "must be a function of the settings, not 3"),
        ("def mine(:", "mine", r"cannot be imported: SyntaxError: .*mine\.py, line 1"),
        ("import optax\n1 / 0", "mine", r"cannot be imported: ZeroDivisionError: .*\(mine\.py, line 2\)"),
        (
            "import no_such_thing",
            "mine",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        (
            "def mine(settings):\n    return settings.nothing",
            "mine",
            r"mine: AttributeError: .*\(mine\.py, line 2\)",
        ),
        ("def mine():\n    pass", "mine", "method mine: TypeError: mine"),
        (
            "def mine(settings):\n    return 3",
            "mine",
            "must make an optax.GradientTransformation, or .* not int",
        ),
        ("def _mine(settings):\n    pass", "_mine", "its name must be short, of letters"),
        ("def cs(settings):\n    pass", "cs", "has the name of the built-in method cs"),
        ("{method}(name='a b')(print)", "mine", "method a b: its name must be short, of letters"),
        ("{method}(color='red')(print)", "mine", "its color 'red' must be written as #rrggbb"),
        ("{method}(line='wavy')(print)", "mine", "its line 'wavy' must be one of solid, dashed"),
        ("{method}(uses=['nothing'])(print)", "mine", "names nothing, but there is no such setting"),
        (
            "{method}(search={{'alpha': Range(1, 2)}})(print)",
            "mine",
            "its search names alpha, which is no setting",
        ),
        ("{method}(settings=Own)(print)", "mine", "its settings must be a dataclass that is frozen"),
        (
            "{method}(settings=dataclass(frozen=True)(Own))(print)",
            "mine",
            "its setting seed has the name of --seed",
        ),
        ("{method}(colour='#000000')(print)", "mine", "unexpected keyword argument 'colour'"),
        (
            UPDATE.format("1 / 0"),
            "mine",
            r"its optimizer's update: ZeroDivisionError: .*\(mine\.py, line 4\)",
        ),
        (UPDATE.format("(grads, 1.0), state"), "mine", "its optimizer's updates: "),
        (
            UPDATE.format("jax.tree.map(lambda g: g[None], grads), state"),
            "mine",
            r"update must give updates like the parameters: layers\.0\.bias is float32 \(2, 2, 8\), not",
        ),
        (
            UPDATE.format("grads, (state, 1)"),
            "mine",
            r"update must give a state like that of its init: PyTreeDef\(\(\(\), \*\)\), not PyTreeDef",
        ),
        (METHOD.format("pull=lambda p, m: 0.0"), "mine", "its pull must give a tree like the parameters"),
        (
            METHOD.format("start=lambda p: 0.0, remember=lambda m, p, n, g: p"),
            "mine",
            "its remember must give a memory like that of its start",
        ),
        (METHOD.format("consolidate=lambda m, p: m"), "mine", "its consolidate: TypeError"),
        (METHOD.format("weights=lambda p, m, o: o"), "mine", "its weights must give a tree like the param"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, text, name, message):
    path = tmp_path / "mine.py"
    head = "from dataclasses import dataclass; from experiments.lab.methods import *\n"
    head += "class Own:\n    seed: int = 0\n"
    if text is not None:
        path.write_text(head + text.format(method="mine = method") if "{method}" in text else text)
    try:
        status = compare.main([*TINY, "--methods", "standard", f"{path}:{name}", "--get-stamp"])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: method ")
    assert re.search(message, line), line


def test_an_unknown_name_tells_what_is_known(capsys):
    assert compare.main(["--methods", "magic", "--get-stamp"]) == 2
    error = capsys.readouterr().err
    assert "method magic: must be one of standard, cs, " in error
    assert "or MODULE:FUNCTION" in error


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("lr: float = 0.1", "its setting lr has the name of --lr"),
        ("methods: int = 1", "its setting methods has the name of --methods"),
        ("strength: float", "its setting strength must have a default"),
        ("strength: float = 1", "its setting strength must have a default of its type float, not 1"),
        ("strength: int = True", "its setting strength must have a default of its type int, not True"),
        (
            "kind: Literal['a', 'b'] = 'c'",
            "its setting kind must have a default of its type Literal, not 'c'",
        ),
        ("strength: list = None", "its setting strength must be an int, float, bool, str or Literal"),
    ],
)
def test_settings_that_cannot_be_flags_are_refused(tmp_path, field, message):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom typing import Literal\n"
        "from experiments.lab.methods import method\n"
        f"@dataclass(frozen=True)\nclass Own:\n    {field}\n"
        "@method(settings=Own)\ndef mine(settings):\n    pass\n"
    )
    with pytest.raises(SettingsError, match=message):
        settings_with((declared(Declaration, f"{path}:mine"),))


def test_two_methods_may_have_the_same_settings(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\nimport optax\nfrom experiments.lab.methods import method\n"
        "@dataclass(frozen=True)\nclass Own:\n    strength: float = 1.0\n"
        "@method(settings=Own)\ndef one(settings):\n    return optax.sgd(settings.strength)\n"
        "@method(settings=Own)\ndef two(settings):\n    return optax.adam(settings.strength)\n"
    )
    words = ["--methods", f"{path}:one", f"{path}:two"]
    options, _ = parsing.parse(comparing.CompareOptions, "experiments.compare", [*words, "--strength=3"])
    settings = options.settings()
    assert [settings.of_method(name).strength for name in ("one", "two", "standard")] == [3, 3, 1]
    with pytest.raises(SystemExit):
        compare.main([*words, "--help"])
    assert "method one, method two options" in " ".join(capsys.readouterr().out.split())


def test_no_code_knows_a_method_by_its_name():
    """But for its declaration, and what the commands compare if nothing is said."""
    usual = {name: {"standard", "cs"} for name in ("comparing.py", "interface.py", "run.py", "sweep.py")}
    usual["pinned.py"] = {"standard"}  # a word of JAX's
    folder = Path(compare.__file__).parent
    for path in [*folder.glob("*.py"), *(folder / "lab").rglob("*.py")]:
        if path.name != "declared.py":
            constants = {
                node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
            }
            assert constants & BUILT_IN.keys() <= usual.get(path.name, set()), path


@pytest.mark.parametrize("together", few([1, 2], [2]))
def test_a_training_that_diverges_in_the_very_last_step_is_marked(together):
    n = 6

    @method("late")
    def late(settings):
        """Gradient descent, but for its last step."""
        rate = settings.lr * jnp.ones(())  # an array, where configurations train together
        last = optax.scale_by_schedule(
            lambda count: jnp.where((count == n - 1) & (rate > 0.01), jnp.nan, -rate)
        )
        return last

    kind = settings_with((declared(Declaration, late),))
    given = {"experiment": "splitDigits", "tasks": 1, "iters": n, "batch": 8, "fc_units": 4, "eval_n": 10}
    good, bad = kind(**given, lr=0.001), kind(**given, lr=0.02)
    groups = [[good, bad]] if together == 2 else [[good], [bad]]
    for group in groups:
        trained, _ = train(group, "late", [0, 1], load("Digits"), lambda progress: None, arguments=["lr"])
        for settings, runs in zip(group, trained, strict=True):
            assert [run.diverged_at for run in runs] == [n if settings is bad else None] * 2
            assert all(np.isfinite(run.loss).all() for run in runs)
