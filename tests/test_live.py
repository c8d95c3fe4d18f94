"""Live figures: what the destinations are sent, and what a real server and a real browser make of it."""

import contextlib
import dataclasses
import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.error
import urllib.request
import warnings
import xml.etree.ElementTree as ET
from importlib.util import find_spec

import numpy as np
import pytest
from drawings import undraw

from experiments import compare
from experiments.lab.live import Live, observer, page
from experiments.lab.live.event_files import EventFiles, scalars
from experiments.lab.live.observer import Observer
from experiments.lab.live.visdom_windows import VisdomWindows
from experiments.lab.options.settings import Settings
from experiments.lab.results import runs
from experiments.lab.training.progress import Progress

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = Settings(experiment="splitDigits", tasks=2, iters=500)
METHODS = ["standard", "cs"]

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def report(iteration, value=0.5, n_seeds=2, total=1000):
    """Accuracies of ``value`` on task 1 and half of it on task 2; the first task begins at once."""
    seen = np.tile([iteration > 0, iteration > 500], (n_seeds, 1))
    losses = np.full(n_seeds, np.nan if iteration == 0 else value)
    return Progress(iteration, total, losses, np.tile([value, value / 2], (n_seeds, 1)), seen)


def options(folder, **flags):
    return types.SimpleNamespace(
        **{"tensorboard": False, "visdom": False, "live": False, "results_dir": folder, **flags}
    )


def show(destination, *reports):
    for one in reports:
        destination.record(one)
    destination.update()
    destination.close()


# Observers


class Recorder:
    """A destination that remembers; what is set in `failing` it raises when it draws."""

    flag = "--recorder"
    failing: Exception | None = None

    def __init__(self):
        self.recorded, self.drawn, self.closed = [], [], False
        self.draw = lambda: None

    def record(self, progress):
        self.recorded.append(progress.iteration)

    def update(self):
        self.draw()
        if self.failing:
            raise self.failing
        self.drawn.append(list(self.recorded))

    def close(self):
        self.closed = True


def observed(recorder, iterations, failures):
    with Observer(recorder, lambda *what: failures.append(what)) as observer:
        for iteration in iterations:
            observer(report(iteration))
            time.sleep(0.001)


def test_every_report_arrives_in_order_and_the_last_drawing_has_them_all():
    recorder, failures = Recorder(), []
    observed(recorder, range(0, 100, 10), failures)
    assert recorder.recorded == list(range(0, 100, 10))
    assert recorder.drawn[-1] == recorder.recorded
    assert recorder.closed
    assert not failures


def test_drawings_keep_their_distance_in_time(monkeypatch):
    monkeypatch.setattr(observer, "INTERVAL", 60.0)
    recorder = Recorder()
    observed(recorder, range(0, 100, 10), [])
    assert len(recorder.drawn) <= 2  # the first and the last


def test_a_report_that_nothing_follows_is_drawn_all_the_same(monkeypatch):
    monkeypatch.setattr(observer, "INTERVAL", 0.05)
    recorder = Recorder()
    with Observer(recorder, lambda *_: None) as one:
        one(report(0))
        one(report(10))
        deadline = time.monotonic() + 5
        while not (recorder.drawn and recorder.drawn[-1] == [0, 10]):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_slow_destination_does_not_slow_the_training():
    recorder = Recorder()
    free = threading.Event()
    recorder.draw = lambda: free.wait(5)
    with Observer(recorder, lambda *_: None) as one:
        began = time.monotonic()
        for iteration in range(1000):
            one(report(iteration))
        assert time.monotonic() - began < 2
        free.set()
    assert recorder.drawn[-1] == list(range(1000))


def test_a_destination_that_hangs_is_given_up_after_the_training(monkeypatch):
    monkeypatch.setattr(observer, "LONGEST_WAIT", 0.05)
    recorder, failures = Recorder(), []
    free = threading.Event()
    recorder.draw = lambda: free.wait(5)
    observed(recorder, [0], failures)
    free.set()
    ((flag, error),) = failures
    assert flag == "--recorder"
    assert isinstance(error, TimeoutError)


def test_a_failing_destination_is_told_of_once_and_closed():
    recorder, failures = Recorder(), []
    recorder.failing = OSError("disk full")
    observed(recorder, range(20), failures)
    assert failures == [("--recorder", recorder.failing)]
    assert recorder.closed


def test_a_failure_while_nothing_is_reported_is_told_at_the_end():
    recorder, failures = Recorder(), []
    recorder.failing = OSError("disk full")
    observed(recorder, [0], failures)
    assert len(failures) == 1


# TensorBoard


def test_scalars_are_the_loss_and_accuracies_per_task_of_all_and_of_those_seen():
    assert scalars(report(600, 0.8), 1) == pytest.approx(
        {
            "loss/training": 0.8,
            "accuracy/all_tasks": 0.6,
            "accuracy/tasks_seen": 0.6,
            "accuracy_per_task/task_1": 0.8,
            "accuracy_per_task/task_2": 0.4,
        }
    )
    assert scalars(report(500, 0.8), 0)["accuracy/tasks_seen"] == pytest.approx(0.8)
    assert scalars(report(0), 0).keys() & {"loss/training", "accuracy/tasks_seen"} == set()
    only_loss = dataclasses.replace(report(100), accuracy=None)
    assert list(scalars(only_loss, 0)) == ["loss/training"]


def read_events(folder, tag="accuracy_per_task/task_1"):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def test_each_seed_has_event_files_of_its_own(tmp_path):
    reports = [report(0), dataclasses.replace(report(100), accuracy=np.array([[0.1, 0.2], [0.3, 0.4]]))]
    show(EventFiles(tmp_path, ["one", "two"]), *reports)
    assert read_events(tmp_path / "one") == [(0, 0.5), (100, 0.1)]
    assert read_events(tmp_path / "two") == [(0, 0.5), (100, 0.3)]
    assert read_events(tmp_path / "two", "loss/training") == [(100, 0.5)]


def test_a_training_that_begins_anew_leaves_nothing_of_the_one_before(tmp_path):
    show(EventFiles(tmp_path, ["a"]), *(report(i, 0.1, 1) for i in range(0, 600, 100)))
    show(EventFiles(tmp_path, ["a"]), *(report(i, 0.2, 1) for i in range(0, 300, 100)))
    assert read_events(tmp_path / "a") == [(0, 0.2), (100, 0.2), (200, 0.2)]
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_a_training_that_goes_on_replaces_only_what_comes_after(tmp_path):
    show(EventFiles(tmp_path, ["a"]), *(report(i, 0.1, 1) for i in range(0, 600, 100)))
    show(EventFiles(tmp_path, ["a"]), *(report(i, 0.2, 1) for i in range(300, 800, 100)))
    expected = [(i, 0.1 if i < 300 else 0.2) for i in range(0, 800, 100)]
    assert read_events(tmp_path / "a") == expected


@pytest.mark.parametrize("clock", [(2e9, 1e9, 1.5e9), (2e9, 9.0, 12.0)], ids=["set back", "lost"])
def test_a_training_that_goes_on_comes_after_what_is_there_whatever_the_clock_says(
    tmp_path, monkeypatch, clock
):
    for first, now in zip((0, 300, 600), clock, strict=True):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        show(
            EventFiles(tmp_path, ["a"]), *(report(i, (first + 100) / 1000, 1) for i in range(first, 900, 100))
        )
    expected = [(i, (i // 300 * 300 + 100) / 1000) for i in range(0, 900, 100)]
    assert read_events(tmp_path / "a") == expected


def test_the_page_says_in_which_time_zone_its_time_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    try:
        assert re.search(r"\d\d:\d\d:\d\d \+0530<", page.Page(tmp_path / "p.html", SETTINGS, METHODS).text())
    finally:
        monkeypatch.undo()
        time.tzset()


# A real training, a real server, a real browser

TRAINING = "--experiment=splitDigits --tasks=2 --iters=20 --eval-log=5 --loss-log=5 --batch=16 --fc-layers=1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results of a short comparison that drew live figures."""
    folder = tmp_path_factory.mktemp("trained")
    folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
    flags = ["--tensorboard", "--live", "--n-seeds=2"]
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        assert compare.main([*TRAINING.split(), *flags, *folders]) == 0
    return folder / "results"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def server(*command, ready, seconds=60):
    """A server in a process of its own, once ``ready`` (an address) answers."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fetch(ready)
                break
            except urllib.error.HTTPError as error:  # an answer all the same
                error.close()
                break
            except OSError:
                pass
            assert process.poll() is None, "the server has stopped"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def fetch(address, body=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, body, timeout=10) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def tensorboard(trained):
    """Address of a TensorBoard server that shows the training."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    flags = f"--logdir={trained / 'tensorboard'} --host=127.0.0.1 --port={port}".split()
    with server("-m", "tensorboard.main", *flags, ready=address):
        deadline = time.monotonic() + 30
        while len(json.loads(fetch(f"{address}/data/runs"))) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield address


def finished_runs(folder):
    for path in (folder / "runs").iterdir():
        yield path.stem, json.loads(path.read_text())["run"]


@pytest.mark.slow
def test_a_tensorboard_server_shows_the_numbers_of_the_runs(trained, tensorboard):
    runs = dict(finished_runs(trained))
    assert sorted(json.loads(fetch(f"{tensorboard}/data/runs"))) == sorted(runs)
    for stamp, measured in runs.items():
        address = f"{tensorboard}/data/plugin/scalars/scalars?run={stamp}&tag="
        shown = json.loads(fetch(f"{address}accuracy_per_task/task_2"))
        assert [step for _, step, _ in shown] == measured["evaluated_at"]
        assert [value for _, _, value in shown] == pytest.approx([row[1] for row in measured["accuracy"]])
        shown = json.loads(fetch(f"{address}loss/training"))
        assert [step for _, step, _ in shown] == measured["logged_at"]
        assert [value for _, _, value in shown] == pytest.approx(measured["loss"])


def browse(address, folder, *flags):
    """The document that a browser has made of a page."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
    flags = ["--virtual-time-budget=20000", *flags, "--dump-dom", address]
    result = subprocess.run([*command, *flags], capture_output=True, timeout=120, check=True)
    return result.stdout.decode()


@needs_browser
def test_a_browser_shows_the_runs_in_tensorboard(trained, tensorboard, tmp_path):
    document = browse(f"{tensorboard}/", tmp_path)
    assert "accuracy/all_tasks" in document
    for stamp, _ in finished_runs(trained):
        assert stamp in document


@needs_browser
def test_a_browser_shows_the_page_of_a_training(trained, tmp_path):
    (path,) = (trained / "live").iterdir()
    document = browse(path.as_uri(), tmp_path)
    assert document.count('<svg role="img"') == 3
    assert "40/40 iterations" in document


# The page


def page_of(folder):
    (path,) = (folder / "live").iterdir()
    return path.read_text()


def test_the_page_of_a_finished_training_does_not_load_itself_again(trained):
    text = page_of(trained)
    assert "http-equiv" not in text
    assert text.count("2 seeds · 40/40 iterations") == 2
    assert "<title>finished · splitDigits</title>" in text
    name = next((trained / "live").iterdir()).stem
    assert (trained / name / "summary.json").exists()


def test_the_page_needs_nothing_but_itself(trained):
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page_of(trained))  # names, which nobody looks up
    assert not re.search(r'<script|<link|<img|url\((?!#)|@import|https?:|src=|href="(?!#)', text)


def test_what_a_drawing_refers_to_is_its_own(trained):
    drawings = re.findall(r"<svg.*?</svg>", page_of(trained), re.DOTALL)
    clips = [set(re.findall(r'<clipPath id="([^"]*)"', drawing)) for drawing in drawings]
    assert all(clips)
    assert len(set.union(*clips)) == sum(map(len, clips))


def test_drawings_are_well_formed_and_shrink_to_the_screen(trained):
    drawings = re.findall(r"<svg.*?</svg>", page_of(trained), re.DOTALL)
    names = [ET.fromstring(drawing).get("aria-label") for drawing in drawings]
    assert names == ["Accuracy", "Training loss", "Accuracy on each task"]
    assert "svg{display:block;max-width:100%;height:auto}" in page_of(trained)


def test_the_page_tells_of_what_runs_and_what_waits(tmp_path):
    with Live(options(tmp_path, live=True), SETTINGS, METHODS, "name") as figures:
        assert "0 %" in page_of(tmp_path)
        (one,) = figures.observers("standard", {0: "a", 1: "b"})
        with one:
            for iteration in (0, 250, 500):
                one(report(iteration))
        text = page_of(tmp_path)
        assert '<meta http-equiv="refresh" content="2">' in text
        assert re.search(r"2 seeds · 500/1000 iterations · \d+ s · about \d+ s left · loss 0\.5", text)
        assert "<small class=training>training</small>" in text
        assert "<small class=waiting>waiting</small>" in text
        assert "<title>25 % · splitDigits</title>" in text


def test_the_page_of_an_interrupted_training_says_so(tmp_path):
    def interrupted():
        with Live(options(tmp_path, live=True), SETTINGS, METHODS, "name") as figures:
            (one,) = figures.observers("standard", {0: "a"})
            with one:
                one(report(0, n_seeds=1))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = page_of(tmp_path)
    assert "http-equiv" not in text
    assert "<title>stopped · " in text
    assert "<small class=stopped>stopped</small>" in text


def finished_run(seed, value):
    at = np.array([0, 500, 1000])
    accuracy = np.array([[0.1, 0.1], [value, 0.0], [value, value]])
    return runs.Run(
        method="standard",
        seed=seed,
        evaluated_at=at,
        accuracy=accuracy,
        seen=np.array([[False, False], [True, False], [True, True]]),
        logged_at=at[1:],
        loss=np.array([0.5, 0.4]),
        initial_accuracy=accuracy[0],
        accuracy_matrix=accuracy[1:],
        matrix_at=at[1:],
        final_accuracy=value,
    )


def test_runs_that_are_found_again_are_shown(tmp_path):
    with Live(options(tmp_path, live=True), SETTINGS, METHODS, "name") as figures:
        figures.found("standard", [finished_run(0, 0.5), finished_run(1, 0.9)])
    text = page_of(tmp_path)
    assert "2 seeds · 2 found again · loss 0.4 · accuracy on all tasks 70.0 %" in text


@pytest.mark.usefixtures("undrawn")
def test_a_command_that_trains_nothing_shows_what_it_found(trained, tmp_path, capsys):
    folders = [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]
    shutil.copytree(trained / "runs", tmp_path / "results" / "runs")
    assert compare.main([*TRAINING.split(), "--live", "--n-seeds=2", *folders]) == 0
    assert page_of(tmp_path / "results").count("2 seeds · 2 found again") == 2
    (path,) = (tmp_path / "results" / "live").iterdir()
    assert f"live page: {path}\n" in capsys.readouterr().out


def test_runs_that_are_found_again_count_where_the_others_have_got_to():
    shown = page.Page(None, SETTINGS, METHODS)
    shown.found("standard", [finished_run(0, 1.0)])
    group = shown.group("standard", [1])
    group.record(report(0, 0.5, n_seeds=1))
    group.record(report(500, 0.5, n_seeds=1))
    found, trained = shown._methods["standard"].runs()
    assert [one.seed for one in (found, trained)] == [0, 1]
    for run, values in ((found, [1.0, 0.0]), (trained, [0.5, 0.25])):
        assert run.evaluated_at.tolist() == [0, 500]
        assert run.logged_at.tolist() == [500]
        assert run.accuracy[1].tolist() == values


def test_groups_of_seeds_that_train_one_after_the_other_are_all_shown():
    shown = page.Page(None, SETTINGS, METHODS)
    for seeds in ([0, 1], [2]):
        group = shown.group("standard", seeds)
        for iteration in (0, 500, 1000):
            group.record(report(iteration, n_seeds=len(seeds)))
    assert [run.seed for run in shown._methods["standard"].runs()] == [0, 1, 2]
    assert "3 seeds · 1000/1000 iterations" in shown.text()


def test_a_training_that_goes_on_is_drawn_from_where_it_does(monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        page, "accuracy_over_iterations", lambda runs, *_: drawn.update(runs) or page.Figure()
    )
    shown = page.Page(None, SETTINGS, METHODS)
    group = shown.group("standard", [0, 1])
    group.record(report(300))
    shown.text()
    (run, _) = drawn["standard"]
    assert run.evaluated_at.tolist() == [0, 300]
    assert np.isnan(run.accuracy[0]).all()  # left out of figures, as what is before any training is


def test_a_diverged_run_is_named_and_leaves_no_band():
    shown = page.Page(None, SETTINGS, METHODS)
    group = shown.group("standard", [0, 1])
    for iteration, loss in ((0, np.nan), (250, 0.5), (500, np.inf), (1000, np.nan)):
        assert iteration != 500 or "PolyCollection" in shown.text()  # the band, as long as all goes well
        group.record(dataclasses.replace(report(iteration), losses=np.array([loss, 0.5])))
    diverged, other = shown._methods["standard"].runs()
    assert (diverged.diverged_at, other.diverged_at) == (500, None)
    text = shown.text()
    assert "diverged: standard (1 of 2)" in text
    assert "PolyCollection" not in text


def test_drawings_take_a_small_share_of_the_time(monkeypatch):
    monkeypatch.setattr(observer, "INTERVAL", 0.0)
    recorder = Recorder()
    recorder.draw = lambda: time.sleep(0.05)
    with Observer(recorder, lambda *_: None) as one:
        for iteration in range(100):
            one(report(iteration))
            time.sleep(0.003)
    assert len(recorder.drawn) <= 2  # the first and the last: 0.05 s are a twentieth of 1 s


def test_a_page_that_cannot_be_written_is_one_warning_and_the_training_goes_on(tmp_path):
    (tmp_path / "live").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Live(options(tmp_path, live=True), SETTINGS, METHODS, "name") as figures:
            assert figures.observers("standard", {0: "a"}) == []
    (warning,) = caught
    assert str(warning.message).startswith("--live: no live figures from here on: ")


# Visdom


class Windows(http.server.BaseHTTPRequestHandler):
    """Stands in for the part of a Visdom server that keeps windows."""

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        windows = self.server.windows
        if self.path == "/events":
            windows[message["win"]] = {"content": {"data": message["data"]}}
        known = message["win"] in windows
        self.send_response(200 if known else 500)
        self.end_headers()
        if known:
            self.wfile.write(json.dumps(windows[message["win"]]).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def windows():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Windows) as one:
        one.windows = {}
        one.address = f"http://127.0.0.1:{one.server_port}"
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def curves(window):
    return {
        trace["name"]: list(zip(trace["x"], trace["y"], strict=True)) for trace in window["content"]["data"]
    }


def test_visdom_shows_accuracies_and_loss_of_each_run(windows):
    show(VisdomWindows(SETTINGS, ["a", "b"], windows.address), report(0), report(600, 0.8))
    assert windows.windows.keys() == {"a-accuracy", "a-loss", "b-accuracy", "b-loss"}
    assert curves(windows.windows["b-accuracy"]) == {
        "task 1": [(0, 0.5), (600, 0.8)],
        "task 2": [(0, 0.25), (600, 0.4)],
        "all tasks": [(0, 0.375), (600, pytest.approx(0.6))],
        "tasks seen": [(0, None), (600, pytest.approx(0.6))],
    }
    assert curves(windows.windows["a-loss"]) == {"loss": [(600, 0.8)]}


def check_that_windows_go_on(address, read):
    show(VisdomWindows(SETTINGS, ["a"], address), *(report(i, 0.1, 1) for i in range(0, 600, 100)))
    show(VisdomWindows(SETTINGS, ["a"], address), *(report(i, 0.2, 1) for i in range(300, 800, 100)))
    expected = [(i, 0.1 if i < 300 else 0.2) for i in range(0, 800, 100)]
    assert curves(read("a-accuracy"))["task 1"] == expected
    assert curves(read("a-loss"))["loss"] == expected[1:]
    show(VisdomWindows(SETTINGS, ["a"], address), report(0, 0.3, 1))
    assert curves(read("a-accuracy"))["task 1"] == [(0, 0.3)]


def test_visdom_goes_on_where_a_training_does_and_begins_anew_where_it_does(windows):
    check_that_windows_go_on(windows.address, windows.windows.get)


def test_visdom_without_windows_to_go_on_with_begins_in_the_middle(windows):
    show(VisdomWindows(SETTINGS, ["a"], windows.address), report(300, 0.2, 1))
    assert curves(windows.windows["a-loss"]) == {"loss": [(300, 0.2)]}


@pytest.mark.skipif(find_spec("visdom") is None, reason="needs visdom: docs/live.md says how it is installed")
def test_a_visdom_server_shows_the_same(tmp_path):
    address = f"http://127.0.0.1:{(port := free_port())}"
    # Not by its own command, which first downloads what its page needs.
    start = "from visdom.server.run_server import main; main()"
    flags = ["-port", str(port), "-bind_local", "-env_path", str(tmp_path)]
    with server("-c", start, *flags, ready=address):

        def read(window):
            message = {"win": window, "eid": "splitDigits2-task-task-based"}
            return json.loads(fetch(f"{address}/win_data", json.dumps(message).encode()))

        check_that_windows_go_on(address, read)


def test_without_a_visdom_server_there_is_one_warning_for_all_methods(tmp_path, monkeypatch):
    monkeypatch.setattr(VisdomWindows.__init__, "__defaults__", (f"http://127.0.0.1:{free_port()}",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Live(options(tmp_path, visdom=True), SETTINGS, METHODS, "name") as figures:
            for method in METHODS:
                with contextlib.ExitStack() as stack:
                    observers = [stack.enter_context(one) for one in figures.observers(method, {0: "a"})]
                    for iteration in range(0, 1000, 100):
                        for one in observers:
                            one(report(iteration, n_seeds=1))
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith("--visdom: no live figures from here on: no Visdom server answers at http://")
    assert "\n" not in message


def test_a_visdom_server_that_does_not_answer_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr("experiments.lab.live.visdom_windows.TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        windows = VisdomWindows(SETTINGS, ["a"], f"http://127.0.0.1:{silent.getsockname()[1]}")
        windows.record(report(0, n_seeds=1))
        with pytest.raises(ConnectionError, match="no Visdom server answers at"):
            windows.update()
