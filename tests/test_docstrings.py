r"""Every public name has a docstring with its meaning, its arguments, its range of validity and its errors.

A docstring opens with one sentence on one line, which ends in a full stop; a second sentence starts a paragraph. The
equation comes next, between $$ and $$ or as an indented block. Nothing else is indented but the items of a list and the
lines after "Raises:". Then sentences follow, plain and few, with these marks.

- Parameters and fields appear by name, in `backticks` if the name is an everyday word, as `start`. A function that is
  named in a docstring counts as read: its parameters need no second description. A word that means the same everywhere
  is explained once, at the head of the module, of the room or of the package.
- Shapes are in the annotations, and are not repeated.
- "Raises `ValueError` if ...", as a sentence or as a section, for each function that checks its arguments. A reference
  to the errors of another function is enough.
- "Valid for ..." where a solver reports convergence: the regime, and the result beyond it.
- "Made by `solver`" on a result that is explained there.
- "Source: Author year (arXiv ...)" for theory; "Source: derived here" for new theory.

The rules look at signatures, annotations and the source. Whether regime and source are right only a reader can check.
"""

import ast
import builtins
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxnets
from jaxnets._arguments import require_whole
from jaxnets._numerics import Root

ROOMS = sorted({module.name for module in pkgutil.iter_modules(jaxnets.__path__) if module.name[0] != "_"} - {"data"})

# Modules of theory, and theory among measurements.
THEORY = (
    "jaxnets.couplings.ensemble",
    "jaxnets.couplings.estimates.random_modes_from_matrix",
    "jaxnets.couplings.independent",
    "jaxnets.couplings.modes",
    "jaxnets.couplings.product",
    "jaxnets.couplings.singular",
    "jaxnets.fitting.connectome",
    "jaxnets.fitting.recordings",
    "jaxnets.spectra.singular",
    "jaxnets.layers.closure.rate_covariance",
    "jaxnets.layers.propagation.edge_of_chaos",
    "jaxnets.layers.recursion.Layers",
    "jaxnets.learning.committee",
    "jaxnets.learning.constraints",
    "jaxnets.learning.design",
    "jaxnets.learning.ising_fits",
    "jaxnets.learning.messages",
    "jaxnets.learning.modes",
    "jaxnets.learning.perceptron",
    "jaxnets.learning.perceptron_spherical",
    "jaxnets.learning.spike_slab",
    "jaxnets.meanfield",
    "jaxnets.memory.dense",
    "jaxnets.memory.equilibrium",
    "jaxnets.memory.phases",
    "jaxnets.memory.regimes.instability",
    "jaxnets.memory.regimes.packet_speed",
    "jaxnets.memory.regimes.self_organised_edge",
    "jaxnets.multistability",
    "jaxnets.population",
    "jaxnets.replica.distance",
    "jaxnets.replica.hopfield",
    "jaxnets.replica.perceptron",
    "jaxnets.replica.spherical",
    "jaxnets.spectra.isolated",
    "jaxnets.spectra.spectral_law",
    "jaxnets.spectra.voids",
)

# Names that a sentence may hold by chance.
EVERYDAY = set(
    "a as error errors first last left right low high same start states time times value values whole".split()
)


# --- what is public


@dataclasses.dataclass(frozen=True)
class Public:
    """A function or a class of a room, or a method or property of such a class (`owner`)."""

    path: str
    thing: typing.Any
    owner: type | None = None

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1]

    @property
    def module(self) -> str:
        return (self.owner or self.thing).__module__

    @functools.cached_property
    def function(self) -> types.FunctionType | None:
        """What runs when the name is used: the constructor of a class, None where it has none of its own."""
        thing = self.thing
        if inspect.isclass(thing):
            thing = None if getattr(thing, "_is_protocol", False) else thing.__dict__.get("__init__")
        elif isinstance(thing, property):
            thing = thing.fget
        elif isinstance(thing, functools.cached_property):
            thing = thing.func
        elif isinstance(thing, classmethod | staticmethod):
            thing = thing.__func__
        return inspect.unwrap(thing) if callable(thing) else None

    @functools.cached_property
    def docs(self) -> list[str]:
        """Its docstring; for a method or property also the docstrings of all overridden ones."""
        bases = self.owner.__mro__ if self.owner else ()
        things = [base.__dict__[self.name] for base in bases if self.name in base.__dict__] or [self.thing]
        return [inspect.cleandoc(doc) for thing in things if (doc := _own_doc(thing))]

    @functools.cached_property
    def doc(self) -> str:
        return self.docs[0] if self.docs else ""

    @functools.cached_property
    def said(self) -> str:
        """All that is said of it: of a method also what its class says."""
        return "\n\n".join(self.docs + ([inspect.cleandoc(self.owner.__doc__ or "")] if self.owner else []))

    @functools.cached_property
    def heads(self) -> str:
        """The docstrings of its module, its room and the package."""
        parts = self.module.split(".")
        return "\n".join(importlib.import_module(".".join(parts[: k + 1])).__doc__ or "" for k in range(len(parts)))

    @functools.cached_property
    def parameters(self) -> list[str]:
        names = inspect.signature(self.function).parameters if self.function else []
        return [name for name in names if name not in ("self", "cls")]

    @functools.cached_property
    def fields(self) -> list[str]:
        """The public fields that a class adds to its bases."""
        has_fields = dataclasses.is_dataclass(self.thing) or hasattr(self.thing, "_fields")
        names = inspect.get_annotations(self.thing) if inspect.isclass(self.thing) and has_fields else {}
        return [name for name in names if name[0] != "_"]

    @functools.cached_property
    def referred(self) -> list["Public"]:
        """The public names of the package that appear in its docstring."""
        return [found for found in named_in(self.said) if found.thing is not self.thing]

    @functools.cached_property
    def makers(self) -> list["Public"]:
        """The functions that a result says it is made by."""
        return named_in("".join(re.findall(r"[Mm]ade by ((?:`[\w.]+`(?:, | and |))+)", self.doc)))


def _own_doc(thing: typing.Any) -> str | None:
    doc = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    # A dataclass without a docstring has its signature for one.
    return None if doc and inspect.isclass(thing) and doc.startswith(f"{thing.__name__}(") else doc


def exported(module: types.ModuleType) -> Iterator[tuple[str, typing.Any]]:
    """The exports of a room, by path: `__all__`, or all imports from its own modules, modules included."""
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]:
        thing = getattr(module, name)
        if isinstance(thing, types.ModuleType):
            if name in getattr(module, "__all__", ()):
                yield from ((f"{name}.{inner}", found) for inner, found in exported(thing))
        elif (inspect.isclass(thing) or inspect.isfunction(thing) or hasattr(thing, "__wrapped__")) and (
            f"{thing.__module__}.".startswith(f"{module.__name__}.")
        ):
            yield name, thing


def with_members(path: str, thing: typing.Any) -> Iterator[Public]:
    """A function, or a class with its public methods and properties; a call counts as a method."""
    yield Public(path, thing)
    if inspect.isclass(thing):
        for name, found in vars(thing).items():
            member = Public(f"{path}.{name}", found, thing)
            if (name[0] != "_" or name == "__call__") and not inspect.isclass(found) and member.function:
                yield member


@functools.cache
def names_of(room: str) -> list[Public]:
    module = importlib.import_module(f"jaxnets.{room}")
    return [one for name, thing in exported(module) for one in with_members(f"{room}.{name}", thing)]


@functools.cache
def by_name() -> dict[str, list[Public]]:
    """Public names by whatever a docstring may call them: `spectra.law`, `law`, `SpectralLaw.solve`, `solve`."""
    table: dict[str, list[Public]] = {}
    for room in ROOMS:
        for one in names_of(room):
            for called in {one.path, one.path.split(".", 1)[1], one.name}:
                table.setdefault(called, []).append(one)
    return table


# --- what is said


def named_in(text: str) -> list[Public]:
    """The public names of the package that stand in a text, in backticks."""
    return [one for name in re.findall(r"`([A-Za-z_][\w.]*)`", text) for one in by_name().get(name, [])]


def mentions(name: str, text: str) -> bool:
    """Whether a name stands in a text, u_1 for u1; an everyday word only in backticks or before a colon."""
    if name in EVERYDAY:
        return bool(re.search(rf"`{name}\b|^ *{name}: ", text, re.MULTILINE))
    return bool(re.search(rf"(?<!\w){name}(?!\w)", re.sub(r"_(\d)", r"\1", text), re.IGNORECASE))


def explained(name: str, one: Public, through: tuple[str, ...] = ()) -> bool:
    """Whether a parameter or field is explained here, at the head, or by a function that is named here."""
    if mentions(name, one.said) or re.search(rf"`{name}\b", one.heads):
        return True
    if name.endswith("_error") and "standard error" in one.said:
        return explained(name.removesuffix("_error"), one)
    others = [other for other in one.referred if other in one.makers or name in other.parameters + other.fields]
    return any(explained(name, other, (*through, one.path)) for other in others if other.path not in through)


# --- what the source and the annotations do


@functools.cache
def raises(function: types.FunctionType) -> bool:
    """Whether it raises `ValueError`, itself or by a private function of the package that it calls by name."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and ast.unparse(node.exc.func) == "ValueError"
        ):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = inspect.unwrap(function.__globals__.get(node.func.id, len))
            if isinstance(called, types.FunctionType) and called is not function:
                where = (*called.__module__.split("."), called.__name__)
                if where[0] == "jaxnets" and any(part[0] == "_" for part in where) and raises(called):
                    return True
    return False


@functools.cache
def vocabulary() -> set[str]:
    """The words of the package's source but for docstrings and comments, and those of Python."""
    found = set(dir(builtins))
    for path in Path(jaxnets.__path__[0]).rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value = ast.Constant(None)
        found |= set(re.findall(r"\w+", ast.unparse(tree)))
    return found


def checks(one: Public) -> list[types.FunctionType]:
    """The functions of the source that may refuse arguments of it."""
    if not inspect.isclass(one.thing):
        return [one.function] if one.function else []
    made = [one.thing.__dict__.get(name) for name in ("__init__", "__check_init__", "__post_init__")]
    # Constructors that are generated have no source.
    return [f for f in made if inspect.isfunction(f) and f.__code__.co_filename == inspect.getsourcefile(one.thing)]


def annotations(function: typing.Any) -> dict[str, typing.Any]:
    """The types themselves, where `inspect.signature` has the short texts that `help` shows."""
    return getattr(inspect.unwrap(function), "__annotations__", {})


def leaves(annotation: typing.Any) -> Iterator[typing.Any]:
    """The types that an annotation is made of, bare arrays too; what a dict holds is told by its names."""
    if typing.get_origin(annotation) in (dict, np.ndarray):
        yield typing.get_origin(annotation)
    elif inner := typing.get_args(annotation):
        for part in inner:
            yield from leaves(part)
    else:
        yield annotation


def returned(one: Public) -> list[typing.Any]:
    """What a function or method returns; nothing for a class, or for a property, which is a field."""
    if one.function is None or inspect.isclass(one.thing) or isinstance(one.thing, property):
        return []
    return list(leaves(annotations(one.function).get("return")))


# --- the rules: each gives its complaints


def opens_with_one_sentence(one: Public) -> list[str]:
    summary, *rest = one.doc.split("\n")
    wrong = {
        "no docstring": not summary,
        "no full stop": not summary.endswith("."),
        "goes on in a second line": bool(rest and rest[0]),
        "more than one sentence": bool(re.search(r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)\. +[A-Z`]", summary)),
    }
    return [f"{complaint}: {summary!r}" for complaint, found in wrong.items() if found]


def names_parameters_and_fields(one: Public) -> list[str]:
    return [f"{name} is not explained" for name in one.parameters + one.fields if not explained(name, one)]


def says_what_it_raises(one: Public) -> list[str]:
    if not any(map(raises, checks(one))):
        return []
    here = re.search(r"ValueError`?(:|,|\s(if|for|unless|when|as)\b)", one.said)
    passed_on = re.findall(r"[^.]*(?<!standard )\berrors\b[^.]*", one.said, re.IGNORECASE)
    there = any("ValueError" in other.said for other in named_in(" ".join(passed_on)))
    return [] if here or there or re.search(r"All raise\s`ValueError`", one.heads) else ["raises ValueError"]


def gives_shapes(one: Public) -> list[str]:
    kinds = {"what it returns": returned(one)}
    if inspect.isclass(one.thing):
        kinds |= {name: list(leaves(kind)) for name, kind in inspect.get_annotations(one.thing).items()}
    if one.function:
        parameters = inspect.signature(one.function).parameters.values()
        found = annotations(one.function)
        kinds |= {p.name: list(leaves(found.get(p.name))) for p in parameters if p.kind != p.VAR_KEYWORD}
    bare = [name for name, found in kinds.items() if any(kind is jax.Array or kind is np.ndarray for kind in found)]
    return [] if re.search(r"\([\w.*+ ]+,[\w.*+, ]*\)", one.said) else [f"{name} has no shape" for name in bare]


def says_where_it_is_valid(one: Public) -> list[str]:
    solves = any(
        inspect.isclass(kind) and "converged" in getattr(kind, "__annotations__", {}) for kind in returned(one)
    )
    said = re.search(r"\bvalid(ity)?\b", one.said, re.IGNORECASE)
    return ["a solver that does not say where it is valid"] if solves and not said else []


def has_a_source(one: Public) -> list[str]:
    where = f"{one.module}.{one.name}."
    if one.owner or one.makers or not any(where.startswith(f"{name}.") for name in THEORY):
        return []
    return [] if re.search(r"\bSources?:\s\S", f"{one.doc}\n{one.heads}") else ["theory without a source"]


def indents_only_equations(one: Public) -> list[str]:
    complaints = []
    section, item, formula, previous = False, False, False, ""
    for line in one.doc.split("\n"):
        if line and line[0] != " ":
            if section and previous[:1] == " ":
                complaints.append(f"no empty line before {line!r}")
            section, item = line in ("Args:", "Raises:"), line.startswith("- ")
        if line.startswith("  ") and not (section or item or formula):
            if re.search(r"([A-Za-z]{2,} ){4}", line):
                complaints.append(f"indents prose: {line.strip()!r}")
            elif previous and previous[0] != " ":
                complaints.append(f"no empty line before {line.strip()!r}")
        formula ^= line.count("$$") == 1
        previous = line
    return complaints


def names_what_exists(one: Public) -> list[str]:
    words = [word for name in re.findall(r"`([A-Za-z_][\w.]*)`", one.doc) for word in name.split(".")]
    return [f"{word} is no name of the package" for word in words if word not in vocabulary()]


RULES = (
    opens_with_one_sentence,
    names_parameters_and_fields,
    says_what_it_raises,
    gives_shapes,
    says_where_it_is_valid,
    has_a_source,
    indents_only_equations,
    names_what_exists,
)


def judged(rule: Callable[[Public], list[str]], one: Public) -> bool:
    """A method that overrides a documented one without a docstring is judged by its errors alone."""
    overrides = one.owner is not None and not _own_doc(one.thing) and bool(one.doc)
    return not overrides or rule is says_what_it_raises


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("room", ROOMS)
def test_docstrings(room, rule):
    told = {one.path: rule(one) for one in names_of(room) if judged(rule, one)}
    assert not {path: complaints for path, complaints in told.items() if complaints}


def test_every_room_has_names():
    assert {"couplings", "dynamics", "meanfield", "transfer", "cli"} <= set(ROOMS)
    assert not [room for room in ROOMS if not names_of(room)]
    for path in ("spectra.law", "spectra.SpectralLaw.density", "transfer.Tanh.__call__", "memory.dense.capacity"):
        assert path in [one.path for one in by_name()[path]]


# --- the rules see


def _good(x: Float[Array, " n"], same: float) -> Root:
    """The point x that solves 0 = 0.

    $$ 0 = 0 $$

    Points nearer than `same` are one. Valid everywhere. Raises `ValueError` if x is not finite. Source: derived here.
    """
    raise ValueError("`x` must be finite")


def _silent():
    pass


def _without_stop():
    """Nothing"""


def _two_sentences():
    """Nothing. No more."""


def _two_lines():
    """Nothing,
    and no more."""


def _unexplained(weight: float):
    """Of no weights."""


def _by_chance(same: float):
    """The same."""


def _refuses(x: float):
    """The number x."""
    if x < 0:
        raise ValueError("`x` must be >= 0")


def _refuses_by_another(x: float):
    """The number x."""
    require_whole("x", x)


def _bare(x: np.ndarray) -> list[np.ndarray]:
    """The numbers x."""
    return [x]


def _solver() -> Root:
    """A point."""
    raise NotImplementedError


def _theory():
    """A law."""


def _prose():
    """Nothing.

    As follows.

        This is not an equation at all.
    """


def _stale():
    """The rest of `a_name_that_was`."""


def _glued():
    """Nothing.

    Raises:
        ValueError: never.
    Source: none.
    """


class _Result(NamedTuple):
    """A result."""

    width: float


for _function in (_good, _theory):
    _function.__module__ = "jaxnets.population.linear"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_let_pass_what_is_good(rule):
    assert not rule(Public("population.good", _good))


@pytest.mark.parametrize(
    ("rule", "thing"),
    [
        (opens_with_one_sentence, _silent),
        (opens_with_one_sentence, _without_stop),
        (opens_with_one_sentence, _two_sentences),
        (opens_with_one_sentence, _two_lines),
        (names_parameters_and_fields, _unexplained),
        (names_parameters_and_fields, _by_chance),
        (names_parameters_and_fields, _Result),
        (says_what_it_raises, _refuses),
        (says_what_it_raises, _refuses_by_another),
        (gives_shapes, _bare),
        (says_where_it_is_valid, _solver),
        (has_a_source, _theory),
        (indents_only_equations, _prose),
        (indents_only_equations, _glued),
        (names_what_exists, _stale),
    ],
    ids=lambda value: value.__name__,
)
def test_rules_complain(rule, thing):
    assert rule(Public("room.name", thing))
