"""What a sweep says, and that what cannot be run is refused in one line before any work."""

import re

import jax
import numpy as np
import pytest

from jaxnets import sweeps
from jaxnets.sweeps.computation import computation
from jaxnets.sweeps.specification import MAX_POINTS, from_text, to_text

TOML = """
function = "sweep_functions:product"
realisations = 1
seed = 3
precision = "float32"
output = "there"

[axes]
a = {linspace = [0, 2, 5]}
b = {logspace = [0.01, 100.0, 3]}

[static]
n = [1, 2]

[fixed]
word = "abc"
"""


def sweep(**changes):
    return sweeps.Sweep(**({"function": "sweep_functions:product", "axes": {"a": [1.0, 2.0]}} | changes))


def test_toml_and_python_say_the_same(tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML)
    written = sweeps.read(tmp_path / "sweep.toml")
    assert written == sweeps.parse(TOML)
    assert written == sweeps.Sweep(
        "sweep_functions:product",
        axes={"a": {"linspace": [0.0, 2.0, 5]}, "b": {"logspace": (0.01, 100, 3)}},
        static={"n": (1, 2)},
        fixed={"word": "abc"},
        seed=3,
        precision="float32",
        output="there",
    )
    assert from_text(to_text(written)).configuration() == written.configuration()


def test_values_of_points_are_those_of_a_loop():
    """Row-major over static axes, axes in their order with a zipped one among them, and realisations."""
    grid = sweep(
        axes={"a": np.array([1.0, 2.0]), "pair": {"zip": {"b": [3, 4, 5], "c": {"linspace": [0, 1, 3]}}}},
        static={"n": [10, 20], "word": ["x"]},
        realisations=2,
    ).grid
    loop = [
        {"n": n, "word": "x", "a": a, "b": b, "c": c, "realisation": r}
        for n in (10, 20)
        for a in (1.0, 2.0)
        for b, c in ((3.0, 0.0), (4.0, 0.5), (5.0, 1.0))
        for r in (0, 1)
    ]
    assert (grid.combinations, grid.points, grid.total) == (2, 12, 24)
    assert [grid.describe(*divmod(k, grid.points)) for k in range(grid.total)] == loop


def test_logspace_is_even_in_the_logarithm_and_has_both_ends():
    values = sweep(axes={"a": {"logspace": [1e-3, 1e5, 9]}}).grid.axes[0].values["a"]
    np.testing.assert_allclose(np.diff(np.log10(values)), 1, rtol=1e-13)
    assert (values[0], values[-1]) == (1e-3, 1e5)


@pytest.mark.parametrize(
    "values",
    [np.array([1, 2, 3]), jax.numpy.arange(1.0, 4.0), range(1, 4), [np.float32(1), jax.numpy.asarray(2), 3], (1, 2, 3)],
    ids=["numpy", "jax", "range", "mixed", "tuple"],
)
def test_axes_may_be_arrays_and_ranges(values):
    assert sweep(axes={"a": values}) == sweep(axes={"a": [1.0, 2.0, 3.0]})
    assert sweep(axes={}, static={"n": values}).grid.static_values(2) == {"n": 3}


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_a_byte_order_mark_is_no_part_of_the_text(mark, tmp_path):
    (tmp_path / "sweep.toml").write_text(mark + TOML, encoding="utf-8")
    assert sweeps.read(tmp_path / "sweep.toml") == sweeps.parse(mark + TOML) == sweeps.parse(TOML)


def test_a_large_grid_takes_the_memory_of_its_axes():
    grid = sweep(axes={"a": {"linspace": [0, 1, 1000]}, "b": {"linspace": [0, 1, 1000]}}, realisations=1000).grid
    assert grid.total == MAX_POINTS
    assert grid.describe(0, MAX_POINTS - 1) == {"a": 1.0, "b": 1.0, "realisation": 999}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("function = ", "`text` must be TOML"),
        ('function = "m:f"\nfunction = "m:g"', "`text` must be TOML"),
        ("x = " + "[" * 5000, "`text` must be TOML"),
        ("seed = 1", "`function` is missing"),
        ('function = "m:f"\nrealizations = 3', "`realizations` is no field of a sweep: did you mean `realisations`?"),
        ('function = "m:f"\n[axis]\na = [1]', "did you mean `axes`?"),
        ("function = 3", "`function`"),
        ('function = "os"', "`function`"),
        ('function = "a/b:c"', "`function`"),
        ('function = "m:f()"', "`function`"),
        ('function = "m:f"\naxes = 3', "`axes` must be a table"),
        ('function = "m:f"\nseed = "x"', "`seed`"),
        ('function = "m:f"\nseed = -1', "`seed`"),
        ('function = "m:f"\nseed = 4294967296', "`seed`"),
        ('function = "m:f"\nrealisations = 0', "`realisations`"),
        ('function = "m:f"\nrealisations = 2.0', "`realisations`"),
        ('function = "m:f"\nrealisations = true', "`realisations`"),
        ('function = "m:f"\nprecision = "float16"', "`precision`"),
        ('function = "m:f"\nprecision = ["float32"]', "`precision`"),
        ('function = "m:f"\nchunk = 100000000', "`chunk` must be a whole number up to"),
        ('function = "m:f"\nbatch = 0', "`batch`"),
        ('function = "m:f"\noutput = "../x"', "`output`"),
        ('function = "m:f"\noutput = "/tmp/x"', "`output`"),
        ('function = "m:f"\noutput = "a/../../x"', "`output`"),
        ('function = "m:f"\noutput = ""', "`output`"),
        ('function = "m:f"\noutput = "."', "`output`"),
        ('function = "m:f"\noutput = 3', "`output`"),
        ('function = "m:f"\noutput = "a\\u0000b"', "`output`"),
    ],
)
def test_bad_files_are_refused(text, expected):
    with pytest.raises(
        ValueError, match="^" + re.escape(expected) if expected[0] == "`" else re.escape(expected)
    ) as error:
        sweeps.parse(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("table", "entry", "expected"),
    [
        ("axes", "a = []", "`axes.a`"),
        ("axes", "a = 3", "`axes.a`"),
        ("axes", "a = [nan]", "`axes.a` must hold finite numbers"),
        ("axes", "a = [inf]", "`axes.a` must hold finite numbers"),
        ("axes", 'a = ["1"]', "`axes.a` must hold numbers"),
        ("axes", "a = [true]", "`axes.a` must hold numbers"),
        ("axes", "a = [[1.0]]", "`axes.a` must hold numbers"),
        ("axes", "a = [2024-01-01]", "`axes.a` must hold numbers"),
        ("axes", "a = [9007199254740993]", "`axes.a`"),
        ("axes", f"a = [{'9' * 400}]", "`axes.a`"),
        ("axes", "a = {linspace = [0, 1]}", "`axes.a.linspace`"),
        ("axes", "a = {linspace = [0, 1, 2.5]}", "`axes.a.linspace`"),
        ("axes", "a = {linspace = [0, nan, 2]}", "`axes.a.linspace`"),
        ("axes", "a = {linspace = [-1e308, 1.7e308, 2]}", "`axes.a.linspace`"),
        ("axes", "a = {linspace = [0, 1, 100000000]}", "`axes.a`.*10000000 values"),
        ("axes", "a = {logspace = [0, 1, 3]}", "`axes.a.logspace`"),
        ("axes", "a = {linspce = [0, 1, 3]}", "`axes.a`.*did you mean `linspace`"),
        ("axes", "a = {linspace = [0, 1, 3], logspace = [1, 2, 3]}", "`axes.a`"),
        ("axes", "p = {zip = {a = [1, 2], b = [1]}}", "`axes.p` must zip lists of one length"),
        ("axes", "p = {zip = {}}", "`axes.p`"),
        ("axes", "p = {zip = {p = [1]}}", "`p` is used twice"),
        ("axes", "a = [1, 2, 1.0]", "`axes.a` must hold each value once, got 1.0 twice"),
        ("axes", "a = {linspace = [1, 1, 3]}", "`axes.a` must hold each value once"),
        ("axes", "p = {zip = {a = [1, 1], b = [2, 2]}}", "`axes.p` must hold each value once"),
        ("static", "n = [[1, 2], [1, 2]]", "`static.n` must hold each value once"),
        ("axes", "a = [1]\np = {zip = {a = [1]}}", "`a` is used twice"),
        ("axes", "a = [1]\n[static]\na = [1]", "`a` is used twice"),
        ("axes", "key = [1]", "`key` is taken"),
        ("axes", "status = [1]", "`status` is taken"),
        ("axes", '"../a" = [1]', "must be the name of a parameter"),
        ("axes", '"lambda" = [1]', "must be the name of a parameter"),
        ("fixed", "b = nan", "`fixed.b`"),
        ("fixed", "b = 9223372036854775807\nc = 99999999999999999999", "`fixed.c` must fit 64 bits"),
        ("fixed", "b = {c = 1}", "`fixed.b`"),
        ("fixed", "b = [[inf]]", "`fixed.b`"),
        ("static", "n = [nan]", "`static.n`"),
        ("static", f"n = {list(range(1001))}", "`static`.*1000 combinations"),
        (
            "axes",
            "a = {linspace = [0, 1, 100000]}\nb = {linspace = [0, 1, 100000]}",
            "at most 1000000000 points, got 10000000000 .a 100000, b 100000, realisations 1",
        ),
    ],
)
def test_bad_entries_are_refused(table, entry, expected):
    with pytest.raises(ValueError, match=expected) as error:
        sweeps.parse(f'function = "m:f"\n[{table}]\n{entry}')
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"function": "no_such_module:f"}, "`function`: cannot import no_such_module:f"),
        ({"function": "sweep_functions:nothing"}, "`function`: cannot import"),
        ({"function": "sweep_functions:LONG"}, "`function` must be a function"),
        ({"axes": {"a": [1.0], "c": [1.0]}}, "`axes`: `c` is no parameter"),
        ({"static": {"wrod": ["x"]}}, "`static`: `wrod` is no parameter.*did you mean `word`"),
        ({"fixed": {"nn": 1}}, "`fixed`: `nn` is no parameter"),
        ({"axes": {"b": [1.0]}}, "needs `a`"),
        ({"realisations": 2}, "`realisations` must be 1 .* takes no `key`"),
        ({"fixed": {"n": "x"}}, "`function`: sweep_functions:product cannot be traced: TypeError"),
        (
            {"axes": {"n": [2, 3], "a": [1.0]}},
            "cannot be traced.*; put `n` under .static., whose values",
        ),
        (
            {"function": "jaxnets.computations:eigenvalues", "axes": {"n": [10.0]}, "fixed": {"ensemble": "IID(g=1.)"}},
            "put `n` under .static.",
        ),
        (
            {"function": "sweep_functions:untraceable", "axes": {"x": [0.5]}},
            "cannot be traced: TracerArrayConversionError.*; it is line .* of sweep_functions.py, `return float",
        ),
        ({"function": "numpy:sin", "axes": {"x": [1.0]}}, "`axes`: `x` is no parameter of numpy:sin"),
        ({"function": "builtins:dict"}, "`function`: builtins:dict must have a signature"),
        ({"function": "sweep_functions:text", "axes": {"x": [1.0]}}, "must return arrays, but its `b` is str"),
        ({"function": "sweep_functions:identity", "axes": {"value": {"zip": {"x": [1.0]}}}}, "returns 'value', which"),
        ({"function": "sweep_functions:ranks", "axes": {"x": [1.0]}, "static": {"n": [1, 2]}}, "`static`.*same names"),
    ],
)
def test_functions_that_do_not_fit_are_refused_before_work(changes, expected, tmp_path):
    with pytest.raises(ValueError, match=expected) as error:
        sweeps.run(sweep(**changes), tmp_path / "out", progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_precision_is_that_of_the_sweep_and_leaves_jax_as_it_was(precision, tmp_path):
    before = jax.config.jax_enable_x64
    sweeps.run(
        sweeps.Sweep("sweep_functions:noisy", axes={"x": [0.5]}, precision=precision), tmp_path / "o", progress=False
    )
    assert jax.config.jax_enable_x64 == before
    assert sweeps.open(tmp_path / "o")["sum"].dtype == precision


def test_estimate(tmp_path):
    few = sweeps.estimate(sweep(axes={"a": {"linspace": [0, 1, 100]}}, static={"n": [1, 1000]}, batch=16, chunk=32))
    assert few[:3] == (200, 8, 100 * (8 + 1) + 100 * (8000 + 1))
    assert few.batches == (16, 16)
    assert 0 < few.seconds < 60


def test_the_probe_fits_calls_into_its_budget_whatever_the_chunk():
    """A call of 2 MB a point, counted as its output, argument and temporaries, stays below 64 MB: at most 32 points."""
    grid = {"axes": {"a": {"linspace": [0, 1, 1000]}}, "static": {"n": [2**18]}}
    found = computation(to_text(sweep(**grid)))
    grids = [sweep(**grid).grid]
    batches = {found.plan(grids, [[None]], chunk).batches for chunk in (None, 1, 1024)}
    assert len(batches) == 1
    assert batches.pop()[0][0] in (8, 16, 32)


def test_calls_and_files_are_rounded_up_to_powers_of_two():
    found = sweeps.Sweep("m:f", batch=3, chunk=1000)
    assert (found.batch, found.chunk) == (4, 1024)
    assert sweeps.Sweep("m:f", batch=1, chunk=64).chunk == 64
