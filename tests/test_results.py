"""Every result prints its numbers and becomes a dataset: all classes with made-up fields, some from solvers."""

import dataclasses
import inspect
import sys
import types
import typing
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from jaxtyping import AbstractArray, Array, Bool, Complex, Float

import jaxnets as jn
from jaxnets._results import Result, one_line


def public_things(module: types.ModuleType) -> list:
    found = [getattr(module, name) for name in dir(module)]
    inner = [thing for one in found if isinstance(one, types.ModuleType) for thing in public_things(one)]
    return [thing for thing in found if inspect.isclass(thing) or inspect.isfunction(thing)] + inner


PUBLIC = public_things(jn)


def leaves(annotation) -> list:
    inner = [leaf for part in typing.get_args(annotation) for leaf in leaves(part)]
    return inner or [annotation]


def returned(function) -> set[type]:
    """The classes of the package in what a function or method returns; names in quotes are looked up."""
    hint = inspect.unwrap(function).__annotations__.get("return")
    kinds = leaves(getattr(sys.modules[function.__module__], hint, None) if isinstance(hint, str) else hint)
    return {kind for kind in kinds if inspect.isclass(kind) and kind.__module__.startswith("jaxnets.")}


def methods(thing) -> list:
    found = [thing] if inspect.isfunction(thing) else [getattr(m, "fget", m) for m in vars(thing).values()]
    return [m for m in found if inspect.isfunction(m) and m.__name__[0] != "_"]


RESULTS = {one for thing in PUBLIC for method in methods(thing) for one in returned(method) if issubclass(one, Result)}
RESULTS |= {thing for thing in PUBLIC if inspect.isclass(thing) and issubclass(thing, Result)} | {jn.Root}
for _ in range(2):
    RESULTS |= {
        leaf
        for one in list(RESULTS)
        for field in dataclasses.fields(one)
        for leaf in leaves(field.type)
        if inspect.isclass(leaf) and issubclass(leaf, Result)
    }
RESULTS = sorted(RESULTS, key=lambda one: f"{one.__module__}.{one.__name__}")


def test_every_class_that_ends_a_solver_speaks():
    """Whatever has `converged` or `residual`, and whatever a function returns that is neither a law nor a tool."""
    tools = (
        jn.couplings.Ensemble,
        jn.couplings.Operator,
        jn.transfer.Transfer,
        jn.dynamics.Jacobian,
        jn.fitting.Family,
    )
    tools += (jn.spectra.SpectralLaw, jn.multistability.Failure, jn.multistability.Need, jn.couplings.FourPoint)
    silent: set[type] = set()
    for thing in PUBLIC:
        for kind in {thing} if inspect.isclass(thing) else returned(thing):
            fields = set(getattr(kind, "__annotations__", {}))
            ends = fields & {"converged", "residual"} or inspect.isfunction(thing)
            if ends and dataclasses.is_dataclass(kind) and "sweeps" not in kind.__module__:
                silent |= {kind} - {one for one in (kind,) if issubclass(kind, (Result, *tools))}
    assert {kind.__name__ for kind in silent} <= NO_RESULTS
    assert len(RESULTS) > 40


# What functions return beside results: things to calculate with, which print in one line.
NO_RESULTS = {
    "Ising",
    "MatrixFile",
    "ModeNetwork",
    "RecordingFile",
    "RecordingLikelihood",
    "Sweep",
    "SymmetricCore",
    "Paper",
    "Discrete",
}


# --- results of made-up fields

SIZES: dict[str, int] = {}


def made_up(annotation, seed: int):
    """A value that a field of this annotation may have, other numbers for another seed."""
    rng = np.random.default_rng(seed)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return made_up(kinds[0], seed)
    if typing.get_origin(annotation) is tuple:
        return tuple(made_up(typing.get_args(annotation)[0], seed + k) for k in range(2))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        shape = tuple(size_of(letter) for letter in annotation.dim_str.split() if letter[0] not in "*.")
        kind = annotation.dtype.__name__
        values = {
            "Bool": rng.random(shape) < 0.5,
            "Int": rng.integers(1, 9, shape),
            "Complex": rng.random(shape) + 1j * rng.random(shape),
        }.get(kind, rng.random(shape))
        return np.asarray(values) if annotation.array_type is np.ndarray else jnp.asarray(values)
    if inspect.isclass(annotation) and issubclass(annotation, Result):
        return made(annotation, seed)
    simple = {str: "a reason", int: 3, float: 0.125, bool: True, Fraction: Fraction(1, 3)}
    return simple.get(annotation, jnp.asarray(0.25 + seed))


def size_of(letter: str) -> int:
    return int(letter) if letter.isdecimal() else SIZES.setdefault(letter.strip("#"), 2 + len(SIZES) % 5)


def made(kind: type[Result], seed: int = 0) -> Result:
    values = {field.name: made_up(field.type, 10 * seed + k) for k, field in enumerate(dataclasses.fields(kind))}
    for name, letter in kind._batch.items():  # a result within it that has a further axis in front
        several = [made(type(values[name]), 10 * seed + 100 + k) for k in range(size_of(letter))]
        values[name] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    return kind(**values)


def arrays_of(result: Result) -> dict[str, np.ndarray]:
    found = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    return {name: np.asarray(value) for name, value in found.items() if isinstance(value, (jax.Array, np.ndarray))}


def is_batched(kind: type[Result]) -> bool:
    """Whether results of that class can come out of `vmap`: nothing but arrays and static fields."""
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(made(kind)))


by_name = pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")


@by_name
def test_a_printed_result_shows_its_numbers(kind):
    result = made(kind)
    text = repr(result)
    lines = text.split("\n")
    assert str(result) == text or kind.__str__ is not Result.__str__
    assert lines[0].startswith(kind.__name__)
    assert len(lines) <= 20 and max(map(len, lines)) < 200
    assert "f64[" not in text and "float64[" not in text and "cannot be shown" not in text
    for name in ("converged", "residual"):
        if name in arrays_of(result) and arrays_of(result)[name].shape == ():
            assert f"{name} = " in lines[0]
    if len(lines) < 20:
        for name, value in arrays_of(result).items():
            first = value.reshape(-1)[0].item()
            shown = f"{first:.6g}" if isinstance(first, float) else str(first)
            assert name in text or name.endswith("error")
            assert shown in text or isinstance(first, complex)
            assert value.shape == () or f"{value.shape} " in text


@by_name
def test_a_result_becomes_a_dataset(kind):
    result = made(kind)
    dataset = result.to_xarray()
    assert isinstance(dataset, xarray.Dataset)
    shapes = {field.name: field.type for field in dataclasses.fields(kind)}
    for name, value in arrays_of(result).items():
        np.testing.assert_array_equal(dataset[name].values, value)
        annotated = getattr(shapes[name], "dim_str", "").split()
        named = [kind._axes.get(letter, letter) for letter in annotated if letter.isidentifier()]
        if len(named) == len(annotated) == value.ndim and len(set(named)) == len(named):
            assert dataset[name].dims == tuple(named)
    for name, unit in kind._units.items():
        assert dataset[name].attrs["units"] == unit
    for name in kind._axes.values():
        if name in arrays_of(result):
            assert name in dataset.coords


@by_name
def test_a_batch_of_results_becomes_a_dataset(kind):
    if not is_batched(kind):
        pytest.skip("made of NumPy arrays and numbers: never vmapped")
    one, two = made(kind), made(kind, 1)
    batch = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, two)
    assert str(batch).startswith(kind.__name__)
    dataset = batch.to_xarray(g=[1.5, 2.0])
    np.testing.assert_array_equal(dataset.g.values, [1.5, 2.0])
    for k, member in enumerate((one, two)):
        for name, value in arrays_of(member).items():
            if name != "g":
                np.testing.assert_array_equal(dataset[name].isel(g=k).values, value)


@by_name
def test_a_traced_result_can_be_printed(kind):
    if not is_batched(kind):
        pytest.skip("made of NumPy arrays and numbers: never traced")
    said = []

    @jax.jit
    def look(result):
        said.append(str(result))
        with pytest.raises(ValueError, match="outside of `jit`"):
            result.to_xarray()

    look(made(kind))
    assert said[0].startswith(kind.__name__) and "traced" in said[0]


# --- texts and datasets of one class that has everything


class Everything(Result, axes={"T": "lags", "n": "unit"}, units={"lags": "tau"}):
    lags: Float[Array, " T"]
    values: Complex[Array, "T n"]
    weights: Float[Array, "n n"]
    g: Float[Array, ""]
    g_error: Float[Array, ""]
    flags: Bool[Array, "*batch n"]
    where: str = eqx.field(static=True)
    ensemble: jn.couplings.Ensemble
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def everything(g=1.5, end=4.0) -> Everything:
    return Everything(
        jnp.linspace(0, end, 5),
        jax.lax.complex(g * jnp.ones((5, 3)), 2 * g * jnp.ones((5, 3))),
        jnp.arange(9.0).reshape(3, 3),
        jnp.asarray(g),
        jnp.asarray(g / 8),
        jnp.array([True, False, True]),
        "here",
        jn.couplings.IID(g=g),
        jnp.asarray(g * 1e-12),
        jnp.asarray(g < 2),
    )


def test_the_text_of_a_result():
    assert (
        str(everything())
        == """\
Everything: converged = True, residual = 1.5e-12
  lags = (5,) 0 to 4: 0, 1, 2, 3, ...
  values = (5, 3) |.| 3.3541 to 3.3541: 1.5+3j, 1.5+3j, 1.5+3j, ...
  weights = (3, 3) 0 to 8: 0, 1, 2, ...
  g = 1.5 +- 0.1875
  flags = (3,) 2 true: True, False, True
  where = 'here'
  ensemble = IID(g=1.5)"""
    )


def test_the_dataset_of_a_result():
    dataset = everything().to_xarray()
    assert dataset["values"].dims == ("lags", "unit") and dataset["weights"].dims == ("unit", "unit_2")
    assert dataset["flags"].dims == ("unit",)
    assert dataset.sel(lags=2.0, unit=1)["values"] == 1.5 + 3j
    assert dataset.attrs == {"where": "here", "ensemble": "IID(g=1.5)"}
    assert dataset.lags.attrs == {"units": "tau"}


def test_batches_of_results():
    batch = jax.vmap(everything)(jnp.array([1.0, 2.0]))
    dataset = batch.to_xarray()
    assert dataset["values"].dims == ("batch", "lags", "unit") and dataset["flags"].dims == ("batch", "unit")
    np.testing.assert_array_equal(dataset.lags, np.arange(5.0))  # one row, for it is the same all over the batch
    assert batch.to_xarray(strength=[1, 2])["g"].sel(strength=2) == 2.0
    assert "converged = (2,) 1 true: True, False" in str(batch)
    many = jax.vmap(jax.vmap(everything, (0, None)), (None, 0))(jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 8.0]))
    dataset = many.to_xarray(end=[4, 8], g=[1, 2, 3])
    # Lags that differ along a batch are no dimension.
    assert dataset["values"].dims == ("end", "g", "T", "unit") and dataset.lags.dims == ("end", "g", "T")
    assert "lags" in dataset.coords and many.to_xarray()["residual"].dims == ("batch_0", "batch_1")
    for wrong in ({"g": [1, 2, 3]}, {"end": [4, 8], "g": [1, 2]}, {"a": [0], "end": [4, 8], "g": [1, 2, 3]}):
        with pytest.raises(ValueError, match="axes|shape"):
            many.to_xarray(**wrong)


def test_texts_of_what_went_wrong():
    nothing = eqx.tree_at(lambda r: (r.lags, r.residual), everything(), (jnp.full(5, jnp.nan), jnp.asarray(jnp.nan)))
    assert "residual = nan" in str(nothing) and "none finite of 5" in str(nothing)
    some = eqx.tree_at(lambda r: r.lags, everything(), jnp.array([0.0, jnp.inf, 2.0]))
    assert "0 to 2 (1 not finite)" in str(some)
    empty = eqx.tree_at(lambda r: r.weights, everything(), jnp.zeros((0, 3)))
    assert "(0, 3) empty" in str(empty)
    assert "float32" in str(eqx.filter_eval_shape(everything)) or "float64" in str(eqx.filter_eval_shape(everything))

    class Stubborn:
        def __str__(self):
            raise RuntimeError

    assert "cannot be shown" in str(eqx.tree_at(lambda r: r.ensemble, everything(), Stubborn()))
    gone = everything()
    gone.lags.delete()
    assert "cannot be shown" in str(gone)


def test_large_arrays_and_keys_have_texts():
    large = eqx.tree_at(lambda r: r.lags, everything(), jnp.arange(2_000_000.0))
    assert "(2000000,) 0 to 2e+06: 0, 1, 2, 3, ..." in str(large)
    key = eqx.tree_at(lambda r: r.lags, everything(), jax.random.split(jax.random.key(0), 3))
    assert "lags = key<fry>[3]" in str(key)


# --- laws and tools


def test_laws_and_tools_print_in_one_line():
    ensemble = jn.couplings.IID(g=1.5)
    J = ensemble.sample(6, key=jax.random.key(0))
    assert repr(ensemble) == "IID(g=1.5)"
    assert repr(jn.transfer.Tanh()) == "Tanh()"
    assert repr(2 * ensemble) == "Scaled(factor=2, ensemble=IID(g=1.5))"
    assert repr(jn.Discrete(jnp.array([1.0, 3.0]))) == "Discrete(values=[1, 3], weights=[0.5, 0.5])"
    assert repr(jn.spectra.law(ensemble)).startswith("SpectralLaw(ensemble=IID(g=1.5), gains=")
    net = repr(jn.dynamics.RateNetwork(J, jn.transfer.Tanh()))
    assert net.startswith(f"RateNetwork(J=Dense(matrix={J.dtype}[6, 6]), transfer=Tanh()") and "\n" not in net
    assert one_line(ensemble) == repr(ensemble)


# --- results of solvers


@pytest.mark.slow
def test_stationary_state():
    states = jax.vmap(lambda g: jn.meanfield.stationary(jn.couplings.IID(g=g), jn.transfer.Tanh()))(
        jnp.array([1.5, 2.0])
    )
    one = jax.tree.map(lambda x: x[0], states)
    assert str(one).startswith("Stationary: converged = True, residual = ")
    assert f"c_x = ({one.lags.size},) " in str(one)
    dataset = one.to_xarray()
    assert dataset.c_x.dims == ("lags",) and dataset.lags.attrs["units"] == "tau"
    np.testing.assert_allclose(dataset.c_x.sel(lags=0), one.c_x[0])
    assert states.to_xarray(g=[1.5, 2.0]).c_x.dims[0] == "g"


def test_runs_and_fixed_points():
    J = jn.couplings.IID(g=0.5).sample(5, key=jax.random.key(0))
    net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
    run = jn.dynamics.simulate(net, jnp.ones((3, 5)), duration=2.0, dt=0.1)
    dataset = run.to_xarray()
    assert dataset.states.dims[0] == "times" and dataset.states.dims[-1] == "unit"
    np.testing.assert_array_equal(dataset.states.isel(times=-1, unit=2), run.states[-1, :, 2])
    found = jn.dynamics.fixed_points(net, jnp.ones((4, 5)))
    assert "FixedPoints" in str(found) and found.to_xarray().points.dims[-1] == "unit"


def test_nested_results():
    """A field that holds a batch of results has the axis that the class line gives it."""
    kinds = {field.name: field.type for field in dataclasses.fields(jn.meanfield.StaticStates)}
    stacked = lambda kind: jax.tree.map(lambda *parts: jnp.stack(parts), *(made(kind, seed) for seed in range(3)))
    fields = {name: stacked(kinds[name]) for name in ("state", "stability")}
    counts = {name: jnp.arange(3) for name in kinds if name not in fields}
    states = jn.meanfield.StaticStates(**fields, **(counts | {"failed": jnp.asarray(2)}))
    text = str(states)
    assert "state: StaticState: converged = (3,)" in text and "stability: StaticStability: converged" in text
    dataset = states.to_xarray()
    assert dataset["state.mean"].dims == ("solution",) == dataset["stability.edge"].dims == dataset["counts"].dims
    np.testing.assert_array_equal(dataset["state.mean"], states.state.mean)


def test_a_fit_shows_its_parameters():
    fit = jn.fitting.fit(lambda p, x: jnp.sum((p["g"] - x) ** 2), {"g": jnp.asarray(0.5)}, jnp.asarray(1.5))
    assert "params = {g: 1.5}" in str(fit)
    assert float(fit.to_xarray()["params.g"]) == pytest.approx(1.5, abs=1e-6)
