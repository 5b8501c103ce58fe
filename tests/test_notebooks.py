"""The notebooks: source and notebook in step, public names alone, figures inside; and each script runs in time.

A notebook is a pair: NN_name.py (jupytext's percent format) is its source, NN_name.ipynb what came of running it.
"""

import ast
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnets as jn

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SCRIPTS = sorted(NOTEBOOKS.glob("*.py"))
# Limits of a notebook. Seconds are added over all cores: alone, every notebook takes less than 80, and other jobs on
# the same cores make it more.
CELLS, BYTES, SECONDS = 12, 1_000_000, 120

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def cells_of_script(text: str) -> list[tuple[str, str]]:
    """Kind and source of each cell in percent format: text is a comment, and cells are separated by empty lines."""
    _, *parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    cells = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        kind, source = "code", body.strip("\n")
        if mark.strip() == "[markdown]":
            kind, source = "markdown", re.sub(r"^# ?", "", source, flags=re.MULTILINE)
        cells.append((kind, source))
    return cells


def cells_of_notebook(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def chains(tree: ast.AST) -> set[tuple[str, ...]]:
    """Attribute chains that begin with a name: jn.spectra.law gives ("jn", "spectra", "law"), and its beginnings."""
    found = set()
    for node in ast.walk(tree):
        names, inner = [], node
        while isinstance(inner, ast.Attribute):
            names, inner = [inner.attr, *names], inner.value
        if names and isinstance(inner, ast.Name):
            found.add((inner.id, *names))
    return found


def test_each_script_has_its_notebook():
    assert len(SCRIPTS) == 12
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))] == [path.stem for path in SCRIPTS]


@each_script
def test_script_and_notebook_are_in_step(script):
    cells = cells_of_notebook(script.with_suffix(".ipynb"))
    assert cells_of_script(script.read_text(encoding="utf-8")) == [
        (cell["cell_type"], "".join(cell["source"])) for cell in cells
    ]
    assert len(cells) <= CELLS


def test_percent_format_is_read():
    text = "# ---\n# a: b\n# ---\n\n# %% [markdown]\n# # A title\n#\n# text\n\n# %%\nx = 1\n\n\ny = 2  # %% no mark\n"
    assert cells_of_script(text) == [("markdown", "# A title\n\ntext"), ("code", "x = 1\n\n\ny = 2  # %% no mark")]


@each_script
def test_notebook_has_run(script):
    """Cells ran in their order, without an error or a warning, and left figures."""
    path = script.with_suffix(".ipynb")
    code = [cell for cell in cells_of_notebook(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < BYTES


@each_script
def test_public_names_alone(script):
    """Nothing with an underscore, nothing of jaxnets but `jn` and what its rooms show."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] != "jaxnets" or alias.name == "jaxnets" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "jaxnets"
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
    used = {names for names in chains(tree) if names[0] == "jn"}
    assert used
    for names in used:
        room = getattr(jn, names[1])
        assert names[1] in jn.__all__
        if len(names) > 2:
            assert names[2] in getattr(room, "__all__", vars(room)), ".".join(names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("jn.spectra.law(e).solve(z)", {("jn", "spectra", "law"), ("jn", "spectra")}),
        ("f(x=jn.transfer)", {("jn", "transfer")}),
        ("a().b", set()),
    ],
)
def test_the_reader_of_names_sees(source, expected):
    assert chains(ast.parse(source)) == expected


@pytest.mark.slow
@each_script
def test_script_runs(script):
    """In a process of its own, as a reader would; CPU time, because other jobs may hold the machine."""
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(NOTEBOOKS.parent)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, script.name], cwd=NOTEBOOKS, env=environment, capture_output=True, text=True, timeout=900
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
