"""The arrows between the rooms, and single doors to `eig`, matplotlib and the settings of JAX; read, not imported."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxnets"

# Room -> the rooms, or modules of a room, it may import. A room is a module of the package, or a folder of that name.
ARROWS = {
    "_numerics": set(),
    "_arguments": {"_numerics"},
    "_laws": {"_numerics", "_arguments"},
    "_expressions": set(),
    "_files": set(),
    "_results": set(),
    "_public": set(),
    "_compiled": set(),
    "_progress": set(),
    "data": set(),
    "transfer": {"_numerics", "_arguments", "_laws"},
    "couplings": {"_numerics", "_arguments", "_laws", "_files"},
    "eigen": {"_numerics", "_arguments", "couplings.convolution", "couplings.operators", "couplings.sparse"},
    "spectra": {"_numerics", "_arguments", "_laws", "couplings", "eigen", "transfer"},
    "meanfield": {"_numerics", "_arguments", "_laws", "couplings", "eigen", "spectra", "transfer"},
    "population": {"_numerics", "_arguments", "couplings", "meanfield", "transfer"},
    "layers": {"_numerics", "_arguments", "_laws", "couplings", "transfer"},
    # Arrays and operators, and the one door to `eig`: no ensemble and no law.
    "dynamics": {
        "_numerics",
        "_arguments",
        "couplings.convolution",
        "couplings.operators",
        "couplings.sparse",
        "eigen",
    },
    "observables": {"_numerics", "_arguments"},
    "replica": {"_numerics", "_arguments", "_laws", "couplings"},
    "memory": {
        "_numerics",
        "_arguments",
        "couplings",
        "dynamics",
        "meanfield",
        "observables",
        "replica",
        "spectra",
        "transfer",
    },
    "learning": {"_numerics", "_arguments", "couplings", "dynamics", "replica", "transfer"},
    # As for dynamics: eigenvalues come through the one door.
    "multistability": {
        "_numerics",
        "_arguments",
        "learning",
        "couplings",
        "eigen",
        "transfer",
    },
    # The engine (`engine`, `parameters`) knows no physics: a test below holds it to that. Targets, recordings and
    # connectomes meet theory and observables.
    "fitting": {
        "_numerics",
        "_arguments",
        "couplings",
        "meanfield",
        "memory",
        "observables",
        "population",
        "spectra",
        "transfer",
    },
    # A fit is learning of a model in time, through transforms of its parameters; recordings meet simulation here.
    "inference": {
        "_numerics",
        "_arguments",
        "_files",
        "_progress",
        "couplings",
        "dynamics",
        "eigen",
        "fitting.parameters",
        "learning",
        "multistability",
        "transfer",
    },
    "sweeps": {"_arguments", "_progress"},
    "plotting": {"_arguments"},
    # What sweeps map: each computation of the package at one point.
    "computations": {
        "_arguments",
        "_expressions",
        "couplings",
        "dynamics",
        "meanfield",
        "memory",
        "observables",
        "population",
        "spectra",
        "transfer",
    },
}
# Every room may have results that speak, and says what `dir()` and `help()` show of it.
for _arrows in ARROWS.values():
    _arrows |= {"_results", "_public"}
ARROWS["__init__"] = set(ARROWS) - {"_results", "_arguments", "_expressions", "_files", "data"}
# What papers print, computed through the public rooms; the command alone shows it.
ARROWS["papers"] = ARROWS["__init__"] - {"_numerics", "sweeps"}
ARROWS["cli"] = set(ARROWS)

SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Dotted names imported anywhere in `tree`, the source of a module that lies in `package`.

    `from a import b` gives a.b, whether b is a module or a name in one; relative imports are resolved.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield (*base, *module, alias.name)


def imports_of(path: Path) -> list[tuple[str, ...]]:
    package = ("jaxnets", *path.relative_to(PACKAGE).parts[:-1])
    return list(imported(ast.parse(path.read_text()), package))


def dotted(node: ast.AST) -> str:
    """'jax.config' for that attribute; '' for anything that is not a chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


# Rooms that may import every other, and modules that every room may import, whether they do or not.
FREE, EVERYWHERE = {"__init__", "papers", "cli"}, {"_results", "_public"}


@pytest.mark.parametrize("here", sorted(ARROWS.keys() - FREE))
def test_every_arrow_is_used(here):
    names = {name[1:] for path in SOURCES if room(path) == here for name in imports_of(path) if name[0] == "jaxnets"}
    unused = {
        arrow
        for arrow in ARROWS[here] - EVERYWHERE - {here}
        if not any(name[: arrow.count(".") + 1] == tuple(arrow.split(".")) for name in names)
    }
    assert not unused, f"{here} imports nothing from {', '.join(sorted(unused))}: the arrow should go"


def test_every_room_of_the_drawing_exists():
    assert ARROWS.keys() == {room(path) for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    here = room(path)
    assert here in ARROWS, f"{here} is not a room of the design"
    for name in imports_of(path):
        if name[0] != "jaxnets":
            continue
        # Names of the package itself (`jaxnets`, `jaxnets.__version__`) would close a cycle through __init__.
        target = name[1] if len(name) > 1 and name[1] in ARROWS else "__init__"
        allowed = {target, ".".join(name[1:3])} & ARROWS[here]
        assert target == here or allowed, f"{'.'.join(name)} imported in {here}: no such arrow"


def test_every_import_is_written_as_one():
    """No module is imported by a computed name, which the arrows could not see, but rooms by the package itself."""
    for path in SOURCES:
        if path == PACKAGE / "__init__.py":
            continue
        called = [dotted(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not {"__import__", "import_module", "importlib.import_module"} & set(called), path


@pytest.mark.parametrize("module", ["engine", "parameters", "squares"])
def test_the_engine_of_fits_knows_no_physics(module):
    rooms = "fitting.engine", "fitting.parameters", "fitting.squares", "_arguments", "_numerics", "_results"
    own = {f"jaxnets.{name}" for name in rooms}
    names = [name for name in imports_of(PACKAGE / "fitting" / f"{module}.py") if name[0] == "jaxnets"]
    assert {".".join(name[:3] if name[1] == "fitting" else name[:2]) for name in names} <= own


def test_plotting_alone_imports_matplotlib():
    assert {
        room(path) for path in SOURCES for name in imports_of(path) if name[0] in ("matplotlib", "mpl_toolkits")
    } <= {"plotting"}


def test_the_command_line_alone_configures_jax():
    """And whoever calls `jn.keep_compiled`."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        touched = [node for node in ast.walk(tree) if dotted(node) == "jax.config"]
        touched += [name for name in imports_of(path) if name[:2] == ("jax", "config")]
        assert not touched or room(path) == "_compiled", path


def test_one_door_to_eig():
    for path in SOURCES:
        if path == PACKAGE / "eigen" / "values.py":
            continue
        tree = ast.parse(path.read_text())
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and "linalg" in dotted(node)}
        called |= {name[-1] for name in imports_of(path)}
        assert not called & {"eig", "eigvals"}, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from . import eigen", "jaxnets.spectra.eigen"),
        ("from .. import transfer", "jaxnets.transfer"),
        ("def f():\n    from ..couplings.independent import IID", "jaxnets.couplings.independent.IID"),
        ("import jaxnets.meanfield as mf", "jaxnets.meanfield"),
        ("if TYPE_CHECKING:\n    from jaxnets import meanfield", "jaxnets.meanfield"),
    ],
)
def test_the_reader_of_imports_sees(source, expected):
    assert [".".join(name) for name in imported(ast.parse(source), ("jaxnets", "spectra"))] == [expected]


@pytest.mark.parametrize("simulation", ["dynamics", "observables", "eigen", "multistability", "learning"])
def test_simulation_loads_no_theory(simulation):
    """Simulation and theory are independent witnesses: no import of a simulation room reaches theory, however far."""
    script = f"import sys, jaxnets.{simulation}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert f"jaxnets.{simulation}" in loaded
    rooms = {name.split(".")[1] for name in loaded if name.startswith("jaxnets.")}
    # The theory of learning is a part of its room, which has an arrow to `replica`.
    drawn = {"replica"} if simulation in ("learning", "multistability") else set()
    assert not rooms & {"spectra", "meanfield", "population", "replica", "memory", "fitting", "computations"} - drawn


def test_theory_does_not_import_what_it_does_not_need():
    """Rooms are imported when they are named; the heavy libraries of others take longer than all of theory."""
    script = """
import sys, jaxnets
assert not any(name.startswith("jaxnets.") for name in sys.modules)
jaxnets.couplings, jaxnets.spectra, jaxnets.meanfield, jaxnets.population
print(*{"matplotlib", "xarray", "diffrax", "optax", "scipy.optimize"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
