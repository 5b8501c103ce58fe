"""What a reader of `dir()` and `help()` sees: public names alone, and types as the source has them."""

import inspect
import pydoc
import sys
import types

import pytest

import jaxnets as jn
from jaxnets._public import public

ROOMS = [name for name in dir(jn) if isinstance(getattr(jn, name), types.ModuleType)]
MODULES = [getattr(jn, name) for name in ROOMS] + [jn.observables.online, jn.memory.dense]


def test_the_package_lists_its_rooms():
    assert dir(jn) == sorted([*jn.__all__, "__version__"])
    assert {"couplings", "eigen", "learning", "plotting", "transfer"} <= set(ROOMS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_room_lists_public_names(module):
    names = dir(module)
    assert names == sorted(names) and len(names) > 1
    for name in names:
        assert name[0] != "_", name
        thing = getattr(module, name)
        assert not isinstance(thing, types.ModuleType) or name in ("online", "dense"), name
        assert name.isupper() or getattr(thing, "__module__", "jaxnets.").startswith("jaxnets."), name
    assert set(names) == set(getattr(module, "__all__", names))
    assert not {"jax", "jnp", "np", "eqx", "Array", "Float", "annotations", "public"} & set(names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_help_shows_short_types(module):
    for name in dir(module):
        thing = getattr(module, name)
        if inspect.isfunction(thing):
            line = pydoc.plain(pydoc.render_doc(thing)).split("\n")[2]
            assert line.startswith(f"{name}(")
            for long in ("jaxlib", "jaxtyping.", "jaxnets.", "Array, 'k'] | Float[np", "Union[", "NoneType", "typing."):
                assert long not in line, (long, line)


def test_short_types():
    law = inspect.signature(jn.spectra.law).parameters
    assert str(law["ensemble"]) == "ensemble: Ensemble"
    assert repr(law["variance"].annotation) == "Float[ArrayLike, '...'] | None"
    assert str(inspect.signature(jn.couplings.IID)) == "(g: Float[ArrayLike, ''] = 1.0)"
    assert str(inspect.signature(jn.couplings.Ensemble.r_transform)) == (
        "(self, T: Complex[ArrayLike, '2 2']) -> Complex[Array, '2 2']"
    )
    misses = str(inspect.signature(jn.fitting.least_squares).parameters["residuals"])
    assert misses.startswith("residuals: Callable[..., Float[Array, ")


def test_signatures_are_those_of_the_functions():
    """Names, kinds and defaults stay; a call is bound as before, also through a bound method and a class."""
    ensemble = jn.couplings.IID(g=1.5)
    assert list(inspect.signature(ensemble.sample).parameters) == ["n", "key", "dtype", "max_modes"]
    assert list(inspect.signature(jn.couplings.IID.sample).parameters) == ["self", "n", "key", "dtype", "max_modes"]
    bound = inspect.signature(ensemble.sample).bind(3, key=1)
    assert bound.arguments == {"n": 3, "key": 1}
    with pytest.raises(TypeError):
        inspect.signature(jn.spectra.law).bind()
    signature = inspect.signature(jn.spectra.law)
    assert signature == inspect.signature(jn.spectra.law) and signature.replace(parameters=[]).parameters == {}


def test_a_module_without_a_list_shows_its_own_definitions(monkeypatch):
    module = types.ModuleType("jaxnets.made_up")
    code = (
        "import math",
        "LARGE = 3",
        "_SMALL = 1",
        "low = 2",
        "def first(x: 'int' = 0) -> float: ...",
        "def _own(): ...",
    )
    exec("\n".join(code), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert public(module.__name__)() == ["LARGE", "first"]
    assert str(inspect.signature(module.first)) == "(x: int = 0) -> float"
