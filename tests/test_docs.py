"""The documentation: pages run, the site builds and loads nothing from elsewhere, and a new ensemble gets all theory.

The Python blocks of a page are one script, after which its commands run in the same folder.
"""

import importlib.util
import inspect
import re
import sys
import tomllib
from html.parser import HTMLParser

import jax
import pytest
from documents import ROOT, blocks, commands, run_command, run_python, write_sweeps
from test_layout import ARROWS

import jaxnets as jn

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if blocks(page, "python") or blocks(page, "bash"))
QUICK = {"gpu", "multistability", "plotting", "transfer"}


def name_of(page):
    return str(page.relative_to(DOCS))


@pytest.fixture
def readers_folder(tmp_path, monkeypatch):
    """A folder to work in, from which the modules of the documentation can be imported; nothing of JAX stays set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS))
    precision = jax.config.jax_default_matmul_precision
    yield tmp_path
    jax.config.update("jax_default_matmul_precision", precision)
    for module in ("new_ensemble", "new_sweep"):
        sys.modules.pop(module, None)


# --- pages


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow) for p in PAGES if blocks(p, "python")],
    ids=name_of,
)
def test_python_runs(page, readers_folder):
    run_python("\n".join(blocks(page, "python")), page.name)


@pytest.mark.slow
# The commands of the first page are tested with the README, and the commands of the reproduction take hours.
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "bash") and p.stem not in ("index", "reproduction")], ids=name_of
)
def test_commands_run(page, tmp_path):
    write_sweeps(page, tmp_path)
    for words in commands(page):
        if words[0] == "jaxnets":
            run_command(words, tmp_path)


def test_the_first_page_has_the_commands_of_the_readme():
    assert commands(DOCS / "index.md") == commands(ROOT / "README.md")


def test_every_page_says_how_to_install_alike():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    installs = [words for page in pages for words in commands(page) if words[0] == "pip"]
    assert installs
    allowed = [["pip", "install", "-e", target] for target in (".", *(f".[{extra}]" for extra in extras))]
    assert all(words in allowed for words in installs)


def test_names_in_the_text_exist():
    """`jn.room.name` and `room.name` between backticks, outside of the blocks that run."""
    rooms, seen = "|".join(name for name in jn.__all__ if name.islower()), set()
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`([^`]+)`", text):
            for dotted in re.findall(rf"(?<![\w./])(?:jn\.)?((?:{rooms})(?:\.(?!py\b)\w+)+)", span):
                found = jn
                for name in dotted.split("."):
                    assert hasattr(found, name), f"{page.name}: `{dotted}`"
                    found = getattr(found, name)
                seen.add(dotted)
    assert len(seen) > 40


def test_the_sweep_of_the_guide_is_one(tmp_path):
    write_sweeps(DOCS / "guide" / "sweeps.md", tmp_path)
    (file,) = tmp_path.glob("*.toml")
    assert jn.sweeps.read(file).grid.total == 4 * 2 * 3


# --- the site


class Page(HTMLParser):
    """What a page would load, the ids of its elements, its equations, and its text outside of code."""

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.ids, self.equations, self.words = [], set(), 0, ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids.add(attributes.get("id"))
        self.equations += tag == "math"
        if tag in ("script", "img", "iframe", "audio", "video", "source", "embed"):
            self.loads.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loads.append(attributes.get("href") or "")
        if tag in ("code", "pre", "script", "style", "math"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.words += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.suffix in SOURCES}


SOURCES = {".html", ".css"}


def test_the_site_loads_nothing_from_elsewhere(site):
    for name, text in site.items():
        if name.endswith(".html"):
            assert not [target for target in Page(text).loads if re.match(r"(\w+:)?//", target)], name
        else:
            assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", text), name


def test_every_public_name_is_on_the_site(site):
    for room in jn.__all__:
        module = getattr(jn, room)
        if not inspect.ismodule(module):
            assert f"jaxnets.{room}" in Page(site["api/laws_and_roots.html"]).ids, room
            continue
        ids = Page(site[f"api/{room}.html"]).ids
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
            if inspect.ismodule(getattr(module, name)):
                assert any(str(i).startswith(f"jaxnets.{room}.{name}.") for i in ids), f"{room}.{name}"
            else:
                # A function with the name of its module is documented there.
                assert {f"jaxnets.{room}.{name}", f"jaxnets.{room}.{name}.{name}"} & ids, f"{room}.{name}"


def test_the_new_ensemble_is_shown(site):
    for name in ("Relay", "dimension"):
        assert f">{name}</span>" in site["new_ensemble.html"]


def test_every_equation_is_set(site):
    for name, text in site.items():
        if name.endswith(".html"):
            page = Page(text)
            assert "$" not in page.words, name
            source = DOCS / name.replace(".html", ".md")
            if source.exists() and "$$" in source.read_text():
                assert page.equations
    assert Page(site["api/couplings.html"]).equations >= 5


def hook(name):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("alpha <|lambda|^2> -> 0", "α ⟨|λ|<sup>2</sup>⟩ → 0"),
        ("g^2 = N Var J_ij", "g<sup>2</sup> = N Var J<sub>ij</sub>"),
        ("x < 1 and y > 2", "x &lt; 1 and y > 2"),
        ("PR^D, e^{-k_a t}", "PR<sup>D</sup>, e<sup>−k<sub>a</sub> t</sup>"),
        ("sum_ij C_ij(tau)^2", "∑<sub>ij</sub> C<sub>ij</sub>(τ)<sup>2</sup>"),
        ("`x_i * <lambda>` and max_modes", "`x_i * <lambda>` and max_modes"),
        ("$$ x_i^2 <a> $$", "$$ x_i^2 <a> $$"),
        ("Code:\n\n    f(x_1, lambda)\n\nlambda_1", "Code:\n\n    f(x_1, lambda)\n\nλ<sub>1</sub>"),
        ("a function, lambda e: law(e)", "a function, lambda e: law(e)"),
    ],
)
def test_words_of_docstrings_are_typeset(text, page):
    assert hook("docstrings").typeset(text) == page


def test_equations_become_mathml():
    mathml = hook("mathematics").mathml
    fraction = mathml(r"\Big\langle \frac{a}{b_1} \Big\rangle", "block")
    assert [part.tag for part in fraction.iter()][:6] == ["math", "mrow", "mo", "mfrac", "mrow", "mi"]
    assert "".join(fraction.itertext()) == "⟨ab1⟩"
    with pytest.raises(ValueError, match="cannot convert"):
        mathml(r"\unknown{x}", "inline")


# --- files around it


def test_the_arrows_of_the_contributing_guide_are_those_of_the_code():
    figure = blocks(ROOT / "CONTRIBUTING.md", "text")[0].replace(",\n", ", ")
    drawn = {}
    for line in figure.splitlines():
        names, arrow, room = line.rpartition("-->")
        drawn[room.strip()] = {name.strip() for name in names.split(",")} if arrow else set()
    hidden = {room for room in ARROWS if room[0] == "_"} | {"data"}
    for room, names in ARROWS.items():
        if room not in hidden | {"__init__", "papers", "cli"}:  # nearly everything
            assert drawn[room] == names - hidden, room


def test_versions_and_licences_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {jn.__version__}\n" in citation
    assert f"## [{jn.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert "license: Apache-2.0\n" in citation
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:100]
