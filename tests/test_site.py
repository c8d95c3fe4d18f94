"""The documentation site: that it builds without a warning or a network, and what is on it."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from scipy import stats

import cs_optax
import cs_optax.memory

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS = ("claims", "compare", "figures", "rl", "run", "sharded", "submit", "sweep")


@pytest.fixture
def extensions(monkeypatch):
    """The site's own extensions of Sphinx, importable."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))


@pytest.fixture
def figures(monkeypatch):
    """The programs that draw the documentation's own figures, importable."""
    monkeypatch.syspath_prepend(str(DOCS / "figures"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built as CONTRIBUTING.md says; no request can leave this machine."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(DOCS)]
    result = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(ROOT), str(folder / "html")],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "html"


def names_on(site, role):
    """What the site documents, of one role, from its inventory."""
    from sphinx.util.inventory import InventoryFile

    return set(InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data.get(role, {}))


class Page(HTMLParser):
    """What a page can be linked at, its links, and what a browser fetches for it."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched, self.math = set(), [], [], 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.update(filter(None, (given.get("id"), given.get("name"))))
        self.math += tag == "math"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "link", "script"):
            self.fetched.append((given.get("rel"), given.get("src") or given.get("href") or ""))


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_public_name_has_its_place(site):
    documented = names_on(site, "py:function") | names_on(site, "py:class") | names_on(site, "py:module")
    methods = {f"cs_optax.BeakerChain.{name}" for name in vars(cs_optax.BeakerChain) if name[0] != "_"}
    for module in (cs_optax, cs_optax.memory, cs_optax.profiles, cs_optax.published):
        names = {f"{module.__name__}.{name}" for name in module.__all__}
        assert names <= documented, names - documented
    described = documented | names_on(site, "py:method") | names_on(site, "py:property")
    assert methods - described <= {"cs_optax.BeakerChain.capacities", "cs_optax.BeakerChain.conductances"}


@pytest.mark.slow
def test_every_flag_of_every_command_has_its_place(site):
    flags = names_on(site, "std:cmdoption")
    for name in ("compare.--methods", "sweep.--budget", "run.--method", "claims.--all", "submit.--gpus"):
        assert f"experiments.{name}" in flags
    text = (site / "docs" / "flags" / "sweep.html").read_text()
    assert "--profile</span>" in text
    assert "–" not in text  # hyphens stay hyphens
    assert len([flag for flag in flags if flag.startswith("experiments.compare.--")]) > 50


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site, pages):
    broken = set()
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name in ("search.html", "genindex.html"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                broken.add((str(path.relative_to(site)), link))
    assert not broken


@pytest.mark.slow
def test_a_page_fetches_nothing_from_a_network(pages):
    fetched = {what for page in pages.values() for rel, what in page.fetched if rel != "canonical"}
    assert fetched
    assert not [what for what in fetched if re.match(r"(https?:)?//", what)]


@pytest.mark.slow
def test_equations_are_drawn_and_the_version_is_shown(site, pages):
    reference = site / "docs" / "reference" / "transformations.html"
    assert pages[reference].math > 10
    assert f"cs_optax {cs_optax.__version__}" in reference.read_text()
    assert "docs/index.html" in (site / "index.html").read_text()


def test_the_help_of_a_command_is_read_box_by_box(extensions):
    from command_line import boxes_of

    text = (
        "usage: python -m a [-h]\n\nWhat it does.\n\n"
        "╭─ network and optimizer options ──╮\n"
        "│ How it is trained: see           │\n"
        "│ --lr.                            │\n"
        "│ ──────────────────────────────── │\n"
        "│ --lr FLOAT   Rate, as in         │\n"
        "│              --ranges. (default: │\n"
        "│              0.1)                │\n"
        "│ --long-name [NAME|MODULE …]      │\n"
        "│              What it is.         │\n"
        "╰──────────────────────────────────╯\n"
    )
    (box,) = boxes_of(text)
    assert box.title == "network and optimizer options"
    assert box.text == "How it is trained: see --lr."
    assert box.options == [
        ("--lr FLOAT", "Rate, as in --ranges. (default: 0.1)"),
        ("--long-name [NAME|MODULE …]", "What it is."),
    ]


def test_every_command_has_a_page_of_flags():
    pages = {path.stem: path.read_text() for path in (DOCS / "flags").glob("*.md") if path.stem != "index"}
    experiments = ROOT / "experiments"
    modules = {path.stem for path in experiments.glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    commands = modules | {path.parent.name for path in experiments.glob("*/__main__.py")}
    assert set(pages) == set(COMMANDS) == commands
    assert all(f"{{command-line}} experiments.{name}\n" in text for name, text in pages.items())


def test_small_inventories_are_those_of_sphinx(extensions):
    from inventories import HERE, looked_up, packed, read
    from sphinx.util.inventory import InventoryFile

    for path in HERE.glob("*.txt"):
        address, header, names = read(path)
        inventory = packed(header, names)
        found = InventoryFile.loads(inventory, uri=address).data
        assert sum(map(len, found.values())) == len(names) > 0
        assert looked_up(names, inventory) == names
    item = InventoryFile.loads(packed(*read(HERE / "jax.txt")[1:]), uri="https://a.invalid").data
    assert item["py:function"]["jax.jit"].uri == "https://a.invalid/_autosummary/jax.jit.html#jax.jit"


def test_every_picture_is_shown_with_a_command():
    shown = (DOCS / "gallery.md").read_text() + (DOCS / "results.md").read_text()
    for folder in ("benchmarks/results", "experiments/results", "docs/figures"):
        for suffix in ("png", "svg", "gif"):
            for path in (ROOT / folder).rglob(f"*.{suffix}"):
                assert str(os.path.relpath(path, DOCS)) in shown or path.stem.startswith("beakers"), path
    for section in re.split(r"^##+ ", shown, flags=re.MULTILINE)[1:]:
        if "](../" in section or "figures/" in section:
            assert re.search(r"^    python ", section, re.MULTILINE), section.splitlines()[0]


def test_the_figure_of_the_methods_shows_the_numbers_of_the_table(figures):
    from methods import METHODS, SCENARIOS, accuracies

    page = (ROOT / "experiments" / "README.md").read_text()
    table = page.split("**Task-based stream: one task after the other**")[1].split("\n\n")[1]
    rows = [re.findall(r"(\d+\.\d+) ± (\d+\.\d+)", line) for line in table.splitlines()[2:]]
    for column, scenario in enumerate(SCENARIOS):
        found = accuracies(scenario)
        for method in METHODS:
            values = found[method]
            error = values.std(ddof=1) / np.sqrt(len(values))
            said = [(float(mean), float(sem)) for mean, sem in (row[column] for row in rows)]
            assert (round(values.mean(), 2), round(error, 2)) in said, (scenario, method)


def test_the_figure_of_the_protocols_shows_the_differences_of_the_table(figures):
    from protocols import METHODS, PROTOCOLS, SCENARIOS, differences

    page = (ROOT / "experiments" / "README.md").read_text().replace("−", "-")
    said = np.array(re.findall(r"\(([+-]\d+\.\d): ([+-]\d+\.\d) to ([+-]\d+\.\d)\)", page), float)
    for protocol in PROTOCOLS:
        for scenario in SCENARIOS:
            found = differences(protocol, scenario)
            assert list(found) == list(METHODS)
            for method, values in found.items():
                half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
                shown = values.mean() + half * np.array([0, -1, 1])
                assert np.abs(said - shown).max(axis=1).min() < 0.051, (protocol, scenario, method)


def test_the_figure_of_the_rates_shows_what_the_text_says(figures):
    from rates import METHODS, configurations

    page = (ROOT / "experiments" / "README.md").read_text()
    rates, accuracies = configurations("standard").T
    usual, best = accuracies[rates == 1e-3].item(), accuracies[0]
    assert f"plain training has {usual:.1f} % on the validation data at a rate of 1e-3" in page
    assert f"**{best:.1f} at 1.2e-6**" in page
    others = [configurations(method) for method in METHODS if method != "standard"]
    assert max(one[:, 1].max() for one in others) < best
    assert all(len(one) == len(rates) == 16 for one in others)


def test_no_volume_is_lost_in_the_picture_of_the_beakers(figures):
    from beakers import CHAIN, MOMENTS

    contents = [CHAIN.capacities @ CHAIN.propagator(time)[:, 0] for time in MOMENTS]
    np.testing.assert_allclose(contents, 1, rtol=1e-6)
