import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from tiers import few

from experiments.lab import figures
from experiments.lab.figures.sweeps import _nearest
from experiments.lab.options import search
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import FinishedRun, Probes, Run, Seconds
from experiments.lab.tasks.streams import forget_streams

METHODS = tuple(BUILT_IN)
LOOKS = figures.looks(METHODS, Settings())
SETTINGS = {
    "task": Settings(tasks=5, iters=100),
    "domain": Settings(scenario="domain", tasks=2, iters=100),
    "random": Settings(stream="random", scenario="class"),
    "one task": Settings(tasks=1),
    "one evaluation": Settings(stream="random", tasks=2, iters=100),
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
    "gradual": Settings(stream="gradual", tasks=2, iters=100),
    "many tasks": Settings(experiment="permMNIST", tasks=30, scenario="class"),
}


def make_run(settings, method, seed):
    """A run with plausible curves: learned at once, then forgotten towards chance."""
    random = np.random.default_rng([seed, len(method)])
    at = np.arange(0, settings.total_iterations + 1, settings.eval_log)
    ends = settings.iters * np.arange(1, settings.tasks + 1)
    if settings.stream == "task-based":
        at = np.union1d(at, ends)
    begun = np.arange(settings.tasks) * settings.iters if settings.stream == "task-based" else 0

    def accuracies(iterations):
        since = (iterations[:, None] - begun) / settings.iters + np.zeros(settings.tasks)
        forgotten = settings.chance + (1 - settings.chance) * np.exp(-0.1 * since)
        return np.where(since > 0, forgotten, settings.chance) - 0.02 * random.random(since.shape), since > 0

    accuracy, seen = accuracies(at)
    matrix_at = ends if settings.stream == "task-based" else at[-1:]
    matrix = accuracies(matrix_at)[0]
    return Run(
        method=method,
        seed=seed,
        evaluated_at=at,
        accuracy=accuracy,
        seen=seen,
        logged_at=at,
        loss=np.exp(-at / 100),
        initial_accuracy=accuracy[0],
        accuracy_matrix=matrix,
        matrix_at=matrix_at,
        final_accuracy=float(matrix[-1].mean()),
    )


def make_runs(settings, n_seeds, methods=("standard", "cs")):
    return {m: [make_run(settings, m, seed) for seed in range(n_seeds)] for m in methods}


def make_finished(settings, n_seeds, methods=("standard", "cs")):
    environment = {"seconds": {"compile": 6.0, "train": 12.0, "evaluate": 3.0}, "seeds_together": n_seeds}
    return {
        method: [FinishedRun(f"{method}{run.seed}", run, environment, found_again=True) for run in group]
        for method, group in make_runs(settings, n_seeds, methods).items()
    }


def make_search(settings, method, budget=12, seeds=3):
    """As in the summary of a sweep: each point worse than the one before it, the second one the best."""
    space = search.search_space(settings, method, {})
    points = search.configurations(settings, space, budget)
    scores = [0.7, *np.linspace(0.9, 0.5, budget - 1)]
    return {
        "space": {name: [one.low, one.high] for name, one in space.items()},
        "candidates": [
            {
                **search.varied(point, space),
                "validation_accuracy": score,
                "per_seed": [score + 0.01 * (seed - (seeds - 1) / 2) for seed in range(seeds)],
            }
            for point, score in zip(points, scores, strict=True)
        ],
    }


def drawn(finished, settings, searches=None):
    """All figures, by kind; those that could not be drawn are left out."""
    every = dict(figures.all_figures(finished, settings, searches))
    return {kind: figure for kind, figure in every.items() if not isinstance(figure, str)}


def assert_fits(figure, widths):
    figure.set_dpi(figures.PNG_DPI)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    used = figure.get_tightbbox()
    assert width in widths
    assert used.x0 >= -0.01
    assert used.y0 >= -0.01
    assert used.x1 <= width + 0.01
    assert used.y1 <= height + 0.01
    for axes in figure.axes:
        assert min(axes.get_position().bounds[2:]) > 0


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


@pytest.mark.parametrize("n_seeds", few([1, 4], [4]))
@pytest.mark.parametrize("name", few(SETTINGS, ["task"]))
def test_every_figure_is_drawn_without_complaint_and_fits_its_page(name, n_seeds):
    assert_fits(draw_all(SETTINGS[name], n_seeds)["run"], {figures.COLUMN})
    settings = dataclasses.replace(SETTINGS[name], eval_log=5)
    searches = None
    if name in ("task", "long title"):
        searches = {m: make_search(settings, m, seeds=n_seeds) for m in ("standard", "ewc", "cs")}
    for kind, figure in drawn(make_finished(settings, n_seeds), settings, searches).items():
        assert_fits(
            figure, {figures.COLUMN, figures.PAGE} if kind in ("tasks", "search") else {figures.COLUMN}
        )


@pytest.mark.slow
def test_slides_are_16_by_9_with_large_type():
    settings = dataclasses.replace(SETTINGS["task"], eval_log=5)
    searches = {method: make_search(settings, method) for method in ("standard", "ewc", "cs")}
    finished = make_finished(settings, 5, ("standard", "cs", "ewc", "average"))
    width, height = figures.SLIDE
    slides = dict(figures.all_figures(finished, settings, searches, talk=True))
    assert list(slides) == list(drawn(finished, settings, searches))
    for slide in slides.values():
        assert_fits(slide, {width})
        assert slide.get_size_inches()[1] == height == pytest.approx(width * 9 / 16)
        for axes in slide.axes:
            assert (
                axes.xaxis.label.get_size() / (72 * height) > 1 / 30
            )  # 18 points on a slide 7.5 inches high


def test_a_slide_has_the_pixels_of_a_full_screen(tmp_path):
    settings = SETTINGS["task"]
    (path,) = figures.save(
        figures.accuracy_over_iterations(make_runs(settings, 2), settings, talk=True), tmp_path, "a", ["png"]
    )
    with Image.open(path) as image:
        assert image.size == (1920, 1080)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["task", "many tasks"])
def test_all_methods_together_fit_a_page(name):
    settings = dataclasses.replace(SETTINGS[name], eval_log=5)
    searches = {method: make_search(settings, method) for method in METHODS}
    for figure in drawn(make_finished(settings, 10, METHODS), settings, searches).values():
        assert_fits(figure, {figures.COLUMN, figures.PAGE})
    # A legend of three columns would be too wide here.
    chosen = ("standard", "cs", "ewc", "er", "lwf", "average", "joint")
    assert_fits(figures.accuracy_over_iterations(make_runs(settings, 10, chosen), settings), {figures.COLUMN})


def test_every_method_is_told_apart_by_its_line_and_its_color():
    assert len({look.color for look in LOOKS.values()}) == len({look.label for look in LOOKS.values()})
    assert all(declared.color for declared in BUILT_IN.values())
    for one, other in itertools.combinations(METHODS, 2):
        if LOOKS[one].line == LOOKS[other].line:
            between = np.subtract(to_rgb(LOOKS[one].color), to_rgb(LOOKS[other].color))
            assert np.linalg.norm(between) > 0.25, (one, other)


# Linear RGB as it is seen with each of the three kinds of cones missing (Machado, Oliveira & Fernandes 2009).
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def cielab(color: str, sight: str) -> np.ndarray:
    """Where distances are those that are seen: 2 is just visible."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    x, y, z = to_xyz @ np.clip(np.asarray(SIGHTS[sight]) @ linear, 0, 1) / [0.9505, 1.0, 1.0888]
    x, y, z = (np.cbrt(v) if v > (6 / 29) ** 3 else v * (29 / 6) ** 2 / 3 + 4 / 29 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHTS)
def test_every_method_is_told_apart_in_all_kinds_of_colour_vision(sight):
    seen = {method: cielab(color, sight) for method, (color, *_) in LOOKS.items()}
    for one, other in itertools.combinations(METHODS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"$\frac$", r"$\frac$"),
        ("mnist[v2]", "mnist[v2]"),
        ("\N{CJK UNIFIED IDEOGRAPH-65E5}v2", "\N{WHITE SQUARE}v2"),
    ],
)
def test_a_title_takes_any_name(name, shown, tmp_path):
    settings = dataclasses.replace(SETTINGS["one task"], experiment=f"{name}.npz")
    figure = figures.accuracy_of_one_run(make_run(settings, "cs", 0), settings)
    assert figure.get_suptitle().startswith(f"{shown}, 1 task")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(figures.save(figure, tmp_path, "any")) == 2


def test_a_diverged_method_is_marked():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 2)
    runs["cs"][1] = dataclasses.replace(runs["cs"][1], diverged_at=3)
    for figure in (
        figures.accuracy_over_iterations(runs, settings),
        figures.paired_seeds(runs, settings),
        figures.accuracy_of_one_run(runs["cs"][1], settings),
    ):
        of_all = 1 if len(figure.axes) == 1 else 2
        assert figure.get_suptitle().splitlines()[2:] == [f"diverged: cs (1 of {of_all})"]


def test_where_a_training_diverged_there_are_no_bands_and_no_intervals():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 3)

    def drawn():
        curves, (left, right) = figures.accuracy_over_iterations(runs, settings), paired_axes()
        return len(curves.axes[0].collections), len(left.collections), len(right.collections)

    def paired_axes():
        return figures.paired_seeds(runs, settings).axes

    assert drawn() == (2, 2, 1)
    runs["cs"][1] = dataclasses.replace(runs["cs"][1], diverged_at=3)
    assert drawn() == (1, 1, 0)
    left, right = paired_axes()
    assert [line.get_xdata().size for line in left.lines if line.get_marker() == "x"] == [0, 1]
    assert [line.get_xdata().size for line in right.lines if line.get_marker() == "x"] == [1]


def test_the_curves_are_means_over_seeds_with_their_standard_error():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 4)
    so_far, overall = figures.accuracy_over_iterations(runs, settings).axes
    for axes, measure in ((so_far, "accuracy_so_far"), (overall, "accuracy_overall")):
        curves = 100 * np.array([getattr(run, measure) for run in runs["cs"]])
        mean, sem = curves.mean(axis=0), curves.std(axis=0, ddof=1) / 2
        line = labelled(axes, "complex synapses")
        np.testing.assert_allclose(line.get_xdata(), runs["cs"][0].evaluated_at)
        np.testing.assert_allclose(line.get_ydata(), mean)
        band = axes.collections[1].get_paths()[0].vertices[:, 1]
        assert band.min() == pytest.approx(np.nanmin(mean - sem))  # no task is seen at first
        assert band.max() == pytest.approx(np.nanmax(mean + sem))


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


def test_chance_is_marked_where_it_is_in_sight_and_flattens_nothing_elsewhere():
    near = draw_all(SETTINGS["task"], 2)["run"].axes[0]
    assert "chance" in {text.get_text() for text in near.texts}
    assert near.get_ylim()[0] < 50
    for figure in draw_all(SETTINGS["one task"], 2).values():
        assert "chance" not in {text.get_text() for axes in figure.axes for text in axes.texts}


def test_curves_begin_before_any_training_without_flattening_what_follows():
    settings = SETTINGS["one task"]
    runs = make_runs(settings, 2)
    (axes,) = figures.accuracy_over_iterations(runs, settings).axes
    line = labelled(axes, "complex synapses")
    heights = line.get_ydata()
    assert line.get_xdata()[0] == 0
    low, high = axes.get_ylim()
    assert heights[0] < low < heights[1:].min() < heights[1:].max() < high
    assert high - low < 2 * np.ptp(heights[1:])


def test_every_seed_is_a_pair_of_dots_and_a_difference():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 4)
    left, right = figures.paired_seeds(runs, settings).axes
    final = {m: [100 * run.final_accuracy for run in group] for m, group in runs.items()}
    joined = [line.get_xdata().tolist() for line in left.lines if len(line.get_xdata()) == 2]
    assert joined == [[a, b] for a, b in zip(final["standard"], final["cs"], strict=True)]
    dots = next(line for line in right.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xdata(), np.subtract(final["cs"], final["standard"]))
    assert set(dots.get_ydata()) == {1}  # in the row of its method
    assert [label.get_text() for label in left.get_yticklabels()] == ["standard", "complex synapses"]


def test_no_interval_of_an_accuracy_reaches_beyond_0_and_100_percent():
    runs = make_runs(SETTINGS["task"], 2)
    for group in runs.values():
        for run, final in zip(group, (0.3, 0.95), strict=True):
            object.__setattr__(run, "final_accuracy", final)
    left, _ = figures.paired_seeds(runs, SETTINGS["task"]).axes
    intervals = [path.vertices[:, 0] for lines in left.collections for path in lines.get_paths()]
    assert np.min(intervals) == 0  # both are cut
    assert np.max(intervals) == 100
    low, high = left.get_xlim()
    assert -2 <= low <= 0
    assert 100 <= high <= 102


def test_every_task_has_a_panel_with_the_means_over_seeds_and_their_standard_error():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 4)
    panels = figures.accuracy_per_task(runs, settings).axes
    assert [panel.get_title(loc="left") for panel in panels] == [f"task {task}" for task in range(1, 6)]
    for task, panel in enumerate(panels):
        curves = 100 * np.array([run.accuracy[:, task] for run in runs["cs"]])
        mean, sem = curves.mean(axis=0), curves.std(axis=0, ddof=1) / 2
        np.testing.assert_allclose(labelled(panel, "complex synapses").get_ydata(), mean)
        band = panel.collections[1].get_paths()[0].vertices[:, 1]
        assert band.max() == pytest.approx((mean + sem).max())


def test_the_stretches_of_a_task_are_marked_in_its_panel_also_of_a_file(tmp_path):
    forget_streams()
    path = tmp_path / "aba.npz"
    np.savez(path, tasks=np.repeat([0, 1, 0], 100))
    of_a_file = Settings(stream="file", stream_file=path, tasks=3, iters=300)
    for settings, expected in (
        (SETTINGS["task"], [[(100 * task, 100 * task + 100)] for task in range(5)]),
        (of_a_file, [[(0, 100), (200, 300)], [(100, 200)], []]),
        (SETTINGS["gradual"], [[], []]),  # they overlap
        (dataclasses.replace(of_a_file, stream_file=tmp_path / "gone.npz"), [[], [], []]),
    ):
        figure = figures.accuracy_per_task(make_runs(settings, 2), settings)
        marks = [
            [(one.get_x(), one.get_x() + one.get_width()) for one in axes.patches] for axes in figure.axes
        ]
        assert marks == expected
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("this task in training" in names) == any(expected)
    top = figures.accuracy_over_iterations(make_runs(of_a_file, 2), of_a_file).axes[0]
    assert [text.get_text() for text in top.texts] == ["task 1", "task 2", "task 1"]


def test_of_many_tasks_ten_have_a_panel_the_first_and_the_last_among_them():
    settings = SETTINGS["many tasks"]
    panels = figures.accuracy_per_task(make_runs(settings, 2), settings).axes
    shown = sorted(int(panel.get_title(loc="left").removeprefix("task ")) for panel in panels)
    assert len(shown) == 10
    assert (shown[0], shown[-1]) == (1, 30)
    assert set(np.diff(shown)) <= {3, 4}


def test_the_heat_maps_are_means_over_seeds_below_the_accuracy_before_any_training():
    settings = SETTINGS["task"]
    runs = make_runs(settings, 3, ("standard", "joint", "cs"))
    *panels, bar = figures.accuracy_matrices(runs, settings).axes
    assert [panel.get_title() for panel in panels] == ["standard", "complex\nsynapses"]
    meshes = [panel.collections[0] for panel in panels]
    for mesh, method in zip(meshes, ("standard", "cs"), strict=True):
        shown = mesh.get_array().reshape(6, 5)
        np.testing.assert_allclose(shown[0], 100 * np.mean([r.initial_accuracy for r in runs[method]], 0))
        np.testing.assert_allclose(shown[1:], 100 * np.mean([r.accuracy_matrix for r in runs[method]], 0))
    assert meshes[0].get_clim() == meshes[1].get_clim() == (40, 100)
    assert [text.get_text() for text in panels[0].texts] == [f"{v:.0f}" for v in meshes[0].get_array().flat]
    assert bar.get_ylabel() == "Accuracy (%)"
    rows = [label.get_text() for label in panels[0].get_yticklabels()]
    assert rows == ["before", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(("n", "shape"), [(3, (1, 3)), (4, (2, 2)), (6, (2, 3)), (7, (2, 4))])
def test_heat_maps_leave_few_places_empty(n, shape):
    settings = SETTINGS["task"]
    methods = [method for method in METHODS if not BUILT_IN[method].mixes_tasks][:n]
    panel, *_ = figures.accuracy_matrices(make_runs(settings, 1, methods), settings).axes
    assert panel.get_subplotspec().get_gridspec().get_geometry() == shape


def test_large_heat_maps_have_no_numbers():
    settings = SETTINGS["many tasks"]
    panel, *_ = figures.accuracy_matrices(make_runs(settings, 2), settings).axes
    assert len(panel.texts) == 0


@pytest.mark.parametrize(
    ("name", "methods"),
    [("random", ("standard", "cs")), ("one task", ("standard", "cs")), ("task", ("joint",))],
)
def test_no_heat_map_and_no_gap_without_task_ends(name, methods):
    settings = dataclasses.replace(SETTINGS[name], eval_log=5)
    runs = make_runs(settings, 2, methods)
    assert figures.accuracy_matrices(runs, settings) is None
    assert figures.stability_gap(runs, settings) is None
    kinds = dict(figures.all_figures(make_finished(settings, 2, methods), settings))
    assert not {"matrices", "gap"} & kinds.keys()


def test_the_stability_gap_is_the_mean_over_switches_of_the_mean_over_earlier_tasks():
    settings = dataclasses.replace(SETTINGS["task"], eval_log=5)
    runs = make_runs(settings, 4, ("standard", "joint", "cs"))
    (axes,) = figures.stability_gap(runs, settings).axes
    distances = [0, 5, 10, 15, 20, 25]
    curves = np.zeros((4, len(distances)))
    for seed, run in enumerate(runs["cs"]):
        accuracy = {int(n): a for n, a in zip(run.evaluated_at, run.accuracy, strict=True)}
        for place, distance in enumerate(distances):
            after = [np.mean(accuracy[end * 100 + distance][:end]) for end in (1, 2, 3, 4)]
            curves[seed, place] = 100 * np.mean(after)
    line = labelled(axes, "complex synapses")
    assert line.get_xdata().tolist() == distances
    np.testing.assert_allclose(line.get_ydata(), curves.mean(axis=0))
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((curves.mean(axis=0) + curves.std(axis=0, ddof=1) / 2).max())
    assert "joint" not in axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    ("eval_log", "few"),
    [
        (100, 0),
        (10, 2),
        (7, 0),  # as dense as can be, but never twice at the same distance
        (8, None),
    ],
)
def test_a_gap_that_was_hardly_watched_is_not_drawn(eval_log, few):
    settings = Settings(tasks=3, iters=100 if eval_log != 8 else 96, eval_log=eval_log)
    runs = make_runs(settings, 2)
    assert (figures.stability_gap(runs, settings) is None) == (few is not None)
    why = figures.why_no_gap(runs, settings)
    expected = (
        f"too few evaluations at the same distance from every task switch, {few} "
        f"(--eval-log 5 is enough, not {eval_log})"
    )
    assert why == (None if few is None else expected)
    kinds = dict(figures.all_figures(make_finished(settings, 2), settings))
    assert isinstance(kinds["gap"], str) == (few is not None)


@pytest.mark.parametrize(("iters", "reason"), [(11, "tasks of 11 iterations are too short"), (12, None)])
def test_the_shortest_tasks_that_have_a_gap(iters, reason):
    settings = Settings(tasks=3, iters=iters, eval_log=1)
    why = figures.why_no_gap(make_runs(settings, 2), settings)
    assert why is None if reason is None else reason in why


def test_a_searched_learning_rate_is_drawn_with_the_error_over_tuning_seeds():
    searched = make_search(Settings(), "standard")
    panel, bar = figures.sweep_map({"standard": searched}, Settings()).axes
    line = panel.lines[0]
    order = np.argsort([one["lr"] for one in searched["candidates"]])
    assert panel.get_xscale() == "log"
    assert line.get_xdata().tolist() == [searched["candidates"][i]["lr"] for i in order]
    accuracies = [100 * searched["candidates"][i]["validation_accuracy"] for i in order]
    np.testing.assert_allclose(line.get_ydata(), accuracies)
    (bars,) = panel.containers
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(np.ptp(ends, axis=1), 2 * 1 / np.sqrt(3))
    assert bar.get_ylabel() == "Validation accuracy (%)"


def test_a_strength_and_a_learning_rate_make_a_map_with_a_ring_around_the_best():
    searched = make_search(Settings(), "ewc")
    panel, _ = figures.sweep_map({"ewc": searched}, Settings()).axes
    given = searched["candidates"]
    points, *rings = panel.collections
    np.testing.assert_allclose(points.get_offsets(), [[one["ewc_strength"], one["lr"]] for one in given])
    for ring in rings:
        np.testing.assert_allclose(ring.get_offsets(), [[given[1]["ewc_strength"], given[1]["lr"]]])
    assert len(panel.patches) == 12
    cells = [patch.get_facecolor() for patch in panel.patches]
    np.testing.assert_allclose(cells, points.get_facecolors())


def test_few_configurations_colour_nothing_but_their_points():
    searched = make_search(Settings(), "ewc", budget=3)
    panel, _ = figures.sweep_map({"ewc": searched}, Settings()).axes
    assert len(panel.patches) == 0
    assert len(panel.collections[0].get_offsets()) == 3


def test_every_place_of_a_map_belongs_to_the_point_that_is_nearest():
    random = np.random.default_rng(0)
    points = random.random((12, 2))
    cells = [_nearest(points, number) for number in range(12)]
    areas = [0.5 * abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) for x, y in (cell.T for cell in cells)]
    assert sum(areas) == pytest.approx(1)
    for number, cell in enumerate(cells):
        inside = cell.mean(axis=0)
        assert np.linalg.norm(points - inside, axis=1).argmin() == number


def test_complex_synapses_are_seen_from_three_sides_with_their_numbers_of_beakers():
    searched = make_search(Settings(), "cs")
    *panels, _ = figures.sweep_map({"cs": searched}, Settings()).axes
    assert [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels] == [
        ("alpha", "Learning rate"),
        ("beta", "Learning rate"),
        ("alpha", "beta"),
    ]
    written = [text.get_text() for text in panels[2].texts]
    assert written == [str(one["beakers"]) for one in searched["candidates"]]
    assert all(len(panel.patches) == 0 for panel in panels)


def test_a_strength_of_zero_stands_at_the_edge_of_its_map():
    searched = make_search(Settings(ewc_strength=0.0), "ewc")
    panel, _ = figures.sweep_map({"ewc": searched}, Settings()).axes
    assert panel.collections[0].get_offsets()[0, 0] == pytest.approx(panel.get_xlim()[0])


def test_a_range_without_two_powers_of_ten_has_numbers_between_them():
    searched = make_search(Settings(), "lwf")
    panel, _ = figures.sweep_map({"lwf": searched}, Settings()).axes
    panel.figure.draw_without_rendering()
    low, high = panel.get_xlim()
    shown = [tick.label1.get_text() for tick in panel.xaxis.get_major_ticks() if low < tick.get_loc() < high]
    assert shown == ["0.5", "1", "2", "5"]


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 2])
def test_few_configurations_of_equal_accuracy_make_a_map_too(budget):
    searches = {method: make_search(Settings(), method, budget, seeds=1) for method in METHODS}
    for searched in searches.values():
        for one in searched["candidates"]:
            one.update(validation_accuracy=0.5, per_seed=[0.5])
    assert_fits(figures.sweep_map(searches, Settings()), {figures.PAGE})


def test_seconds_are_stacked_bars():
    seconds = {"standard": Seconds(1.0, 2.0, 0.5), "cs": Seconds(2.0, 3.0, 0.25)}
    (axes,) = figures.seconds_per_run(seconds, Settings()).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["standard", "complex synapses"]
    widths = [[bar.get_width() for bar in part] for part in axes.containers]
    assert widths == [[1, 2], [2, 3], [0.5, 0.25]]
    assert [bar.get_x() for bar in axes.containers[2]] == [3, 5]
    assert [text.get_text() for text in axes.texts] == ["3.5", "5.25"]


def test_all_figures_are_those_that_there_is_something_for():
    settings = dataclasses.replace(SETTINGS["task"], eval_log=5)
    assert list(drawn(make_finished(settings, 2), settings, {"cs": make_search(settings, "cs")})) == [
        "accuracy",
        "tasks",
        "seeds",
        "matrices",
        "gap",
        "search",
        "seconds",
    ]
    assert list(drawn(make_finished(settings, 1, ["cs"]), settings)) == ["accuracy", "matrices", "gap"]
    assert list(drawn(make_finished(settings, 2, ["cs"]), settings)) == [
        "accuracy",
        "tasks",
        "matrices",
        "gap",
        "seconds",
    ]
    random = SETTINGS["random"]
    assert list(drawn(make_finished(random, 2), random)) == ["accuracy", "tasks", "seeds", "seconds"]


def test_methods_whose_seconds_are_not_known_have_no_bar():
    settings = SETTINGS["task"]
    finished = make_finished(settings, 2)
    finished["cs"] = [dataclasses.replace(one, environment={}) for one in finished["cs"]]
    (axes,) = drawn(finished, settings)["seconds"].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["standard"]


def test_at_their_best_methods_share_no_learning_rate_to_name():
    settings = SETTINGS["task"]
    shown = drawn(make_finished(settings, 2), settings, {"cs": make_search(settings, "cs")})
    assert shown["accuracy"].get_suptitle().endswith("\nadam, batch 128; each method at its best")
    assert shown["search"].get_suptitle().endswith("\nadam, batch 128; 12 configurations of each method")


def test_figures_drawn_alike_give_the_same_bytes_in_the_formats_asked_for(tmp_path):
    first, again, other = (draw_all(SETTINGS["task"], 2)["accuracy"] for _ in range(3))
    figures.save(first, tmp_path, "first")
    figures.save(again, tmp_path, "again")
    for ending in ("pdf", "png"):
        assert (tmp_path / f"first.{ending}").read_bytes() == (tmp_path / f"again.{ending}").read_bytes()
    figures.save(other, tmp_path, "other", ["png"])
    assert [path.name for path in tmp_path.glob("other.*")] == ["other.png"]


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


def test_the_beakers_are_drawn_where_they_were_probed():
    settings = SETTINGS["task"]
    random = np.random.default_rng(0)
    runs = [make_run(settings, "cs", seed) for seed in range(2)]
    assert figures.beakers(runs, settings) is None
    shape = (len(runs[0].evaluated_at), 3)
    probed = [
        dataclasses.replace(
            run,
            probes=Probes(
                ["a", "b"], random.random((*shape, 2)), random.random((*shape, 2)), random.random((*shape, 5))
            ),
        )
        for run in runs
    ]
    above, middle, below, _ = figures.beakers(probed, settings).axes
    distance = np.mean([np.sqrt((run.probes.distance**2).mean(axis=2)) for run in probed], axis=0)
    assert len(above.lines) == 2  # the first is the weights themselves
    np.testing.assert_allclose(above.lines[1].get_ydata(), distance[:, 2])
    assert len(middle.lines) == 3
    numbers = [text.get_text() for text in below.texts]
    expected = 100 * np.mean([run.probes.accuracy[-1] for run in probed], axis=0)
    assert numbers == [f"{value:.0f}" for value in expected.ravel()]
