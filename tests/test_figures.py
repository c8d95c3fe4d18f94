import dataclasses
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from experiments.lab import figures
from experiments.lab.results import Run
from experiments.lab.settings import Settings

SETTINGS = {
    "task": Settings(tasks=5, iters=100),
    "domain": Settings(scenario="domain", tasks=2, iters=100),
    "random": Settings(stream="random", scenario="class"),
    "one task": Settings(tasks=1),
    "one evaluation": Settings(tasks=2, iters=50),
    "long title": Settings(
        experiment="permFashionMNIST",
        scenario="domain",
        tasks=10,
        iters=10000,
        batch=1024,
        lr=0.00125,
        beakers=10,
        beta=123456.7,
    ),
    "many tasks": Settings(experiment="permMNIST", tasks=30, scenario="class"),
}


def make_run(settings, method, seed):
    """A run with plausible curves: learned at once, then forgotten towards chance."""
    random = np.random.default_rng([seed, len(method)])
    at = np.arange(0, settings.total_iterations + 1, settings.eval_log)
    begun = np.arange(settings.tasks) * settings.iters if settings.stream == "task-based" else 0
    since = (at[:, None] - begun) / settings.iters + np.zeros(settings.tasks)
    forgotten = settings.chance + (1 - settings.chance) * np.exp(-0.1 * since)
    accuracy = np.where(since > 0, forgotten, settings.chance) - 0.02 * random.random(since.shape)
    return Run(
        method=method,
        seed=seed,
        evaluated_at=at,
        accuracy=accuracy,
        seen=since > 0,
        logged_at=at,
        loss=np.exp(-at / 100),
        initial_accuracy=accuracy[0],
        accuracy_matrix=accuracy[-1:],
        matrix_at=at[-1:],
        final_accuracy=float(accuracy[-1].mean()),
    )


def make_runs(settings, n_seeds):
    return {m: [make_run(settings, m, seed) for seed in range(n_seeds)] for m in ("standard", "cs")}


def draw_all(settings, n_seeds):
    runs = make_runs(settings, n_seeds)
    return {
        "accuracy": figures.accuracy_over_iterations(runs, settings),
        "seeds": figures.paired_seeds(runs, settings),
        "run": figures.accuracy_of_one_run(runs["cs"][0], settings),
    }


def titles(figures_drawn):
    return {name: figure.get_suptitle().splitlines() for name, figure in figures_drawn.items()}


def labelled(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("n_seeds", [1, 4])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_figure_is_drawn_without_complaint_and_fits_its_page(name, n_seeds):
    for figure in draw_all(SETTINGS[name], n_seeds).values():
        figure.savefig(io.BytesIO(), format="png")
        width, height = figure.get_size_inches()
        used = figure.get_tightbbox()
        assert width == figures.COLUMN
        assert used.x0 >= -0.01
        assert used.y0 >= -0.01
        assert used.x1 <= width + 0.01
        assert used.y1 <= height + 0.01


def test_the_title_tells_what_was_run_in_two_lines():
    shown = titles(draw_all(Settings(alpha=10.0, beta=20000.0), 2))
    assert shown["accuracy"] == shown["seeds"]
    assert shown["accuracy"] == [
        "splitMNIST, 5 tasks of 500 iterations, task scenario",
        "adam 0.001, batch 128; cs: 5 beakers, 10 to 20000 iterations",
    ]
    assert shown["run"] == [
        "splitMNIST, 5 tasks of 500 iterations, task scenario",
        "cs, seed 0: adam 0.001, batch 128, 5 beakers, 10 to 20000 iterations",
    ]
    published = titles(draw_all(Settings(time_step="learning-rate"), 2))
    assert published["accuracy"][1].endswith("cs: 5 beakers, 500/lr to 2500/lr")


def test_the_title_of_one_run_names_its_method():
    settings = SETTINGS["task"]
    figure = figures.accuracy_of_one_run(make_run(settings, "standard", 7), settings)
    assert figure.get_suptitle().endswith("\nstandard, seed 7: adam 0.001, batch 128")


def test_a_diverged_method_is_marked():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 2)
    runs["cs"][1] = dataclasses.replace(runs["cs"][1], diverged_at=3)
    for figure in (
        figures.accuracy_over_iterations(runs, settings),
        figures.paired_seeds(runs, settings),
        figures.accuracy_of_one_run(runs["cs"][1], settings),
    ):
        assert figure.get_suptitle().splitlines()[2:] == ["diverged: cs"]


def test_the_curves_are_means_over_seeds_with_their_standard_error():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 4)
    so_far, overall = figures.accuracy_over_iterations(runs, settings).axes
    for axes, measure in ((so_far, "accuracy_so_far"), (overall, "accuracy_overall")):
        curves = 100 * np.array([getattr(run, measure)[1:] for run in runs["cs"]])
        mean, sem = curves.mean(axis=0), curves.std(axis=0, ddof=1) / 2
        line = labelled(axes, "complex synapses")
        np.testing.assert_allclose(line.get_xdata(), runs["cs"][0].evaluated_at[1:])
        np.testing.assert_allclose(line.get_ydata(), mean)
        band = axes.collections[1].get_paths()[0].vertices[:, 1]
        assert band.min() == pytest.approx((mean - sem).min())
        assert band.max() == pytest.approx((mean + sem).max())


def test_a_single_seed_has_no_error_band():
    for axes in draw_all(SETTINGS["task"], 1)["accuracy"].axes:
        assert len(axes.collections) == 0


def test_a_single_evaluation_is_a_visible_dot():
    for axes in draw_all(SETTINGS["one evaluation"], 2)["accuracy"].axes:
        assert labelled(axes, "standard").get_marker() == "o"


def test_a_random_stream_needs_one_panel():
    assert len(draw_all(SETTINGS["random"], 2)["accuracy"].axes) == 1


def test_task_boundaries_are_marked_and_tasks_numbered():
    axes = draw_all(SETTINGS["task"], 2)["accuracy"].axes[0]
    upright = {line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1}
    assert {100, 200, 300, 400} <= upright
    assert {f"task {k}" for k in range(1, 6)} <= {text.get_text() for text in axes.texts}


def test_chance_is_marked_where_it_is_near_and_then_in_sight():
    near = draw_all(SETTINGS["task"], 2)["accuracy"].axes[1]
    assert "chance" in {text.get_text() for text in near.texts}
    assert near.get_ylim()[0] < 50
    far = draw_all(SETTINGS["one task"], 2)["accuracy"].axes[0]
    assert "chance" not in {text.get_text() for text in far.texts}


def test_every_seed_is_a_pair_of_dots_and_a_difference():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 4)
    left, right = figures.paired_seeds(runs, settings).axes
    final = {m: [100 * run.final_accuracy for run in group] for m, group in runs.items()}
    joined = [line.get_ydata().tolist() for line in left.lines if len(line.get_xdata()) == 2]
    assert joined == [[a, b] for a, b in zip(final["standard"], final["cs"], strict=True)]
    dots = next(line for line in right.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_ydata(), np.subtract(final["cs"], final["standard"]))


def test_saved_figures_are_a_pdf_with_real_text_and_a_sharp_png(tmp_path):
    figure = draw_all(SETTINGS["task"], 2)["accuracy"]
    pdf, png = figures.save(figure, tmp_path / "plots", "name")
    assert [pdf.name, png.name] == ["name.pdf", "name.png"]
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/TrueType" in content or b"/CIDFontType2" in content
    assert b"/Type3" not in content
    with Image.open(png) as image:
        assert image.width >= 200 * figures.COLUMN


def test_drawing_leaves_the_users_style_alone():
    import matplotlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)
        before = dict(matplotlib.rcParams)
        draw_all(SETTINGS["task"], 2)
        assert dict(matplotlib.rcParams) == before
