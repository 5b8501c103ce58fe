"""Whatever people bring for an array: a result without silent NaN, or a `ValueError` that names the argument.

`public_calls.CALLS` says how every function is called, and `any_values` what is put in place of an array.
"""

import math
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
from any_values import values_like
from hypothesis import HealthCheck, Phase, given, seed, settings
from outcomes import fault
from public_calls import CALLS, NOT_CALLED, called

DRAWS = 10_000  # in all, in the slow tests
# Of `values_like`: what no function takes, refused before anything is computed.
REFUSED = {
    "text": "weights",
    "an object": object(),
    "a dictionary": {"a": 1.0},
    "ragged": [[1.0], [1.0, 2.0]],
    "dates": np.zeros((3, 3), "M8[D]"),
    "records": np.zeros(3, [("a", "f4"), ("b", "f4")]),
    "strings": np.full((2, 3), "x"),
    "masked": np.ma.masked_array(np.ones((3, 3)), np.eye(3)),
}


def arrays_of(name):
    """The arguments that are arrays, with good values."""
    arguments = CALLS[name].arguments()
    known = called().get(name)
    of_numbers = lambda value: isinstance(value, np.ndarray | float)
    return {k: good for k, good in arguments.items() if (of_numbers(good) if known is None else k in known)}


def test_every_function_of_arrays_is_called():
    functions = {name for name in called() if name not in NOT_CALLED and name.split(".")[0] not in NOT_CALLED}
    assert functions <= set(CALLS)
    for name in functions & set(CALLS):
        other = [k for k in CALLS if k.split(" ")[0] == name]  # called in several ways
        given_ = set().union(*(CALLS[k].arguments() for k in other if not CALLS[k].costly))
        assert called()[name] <= given_ or any(CALLS[k].costly for k in other), name


@pytest.mark.parametrize("name", [name for name in CALLS if not CALLS[name].costly])
def test_what_is_no_array_of_numbers_is_refused(name):
    for argument in arrays_of(name):
        for kind, value in REFUSED.items():
            found = fault(CALLS[name], argument, value)
            assert found is None, f"{argument}, {kind}: {found}"
    plt.close("all")


def check_draws(name, num, start):
    for argument, good in arrays_of(name).items():
        check_argument(name, argument, good, num, start)


def check_argument(name, argument, good, num, start):
    @seed(zlib.crc32(f"{name} {argument}".encode()) + start)
    @settings(
        max_examples=num,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values_like(good))
    def has_no_fault(drawn):
        found = fault(CALLS[name], argument, drawn.value)
        plt.close("all")
        assert found is None, f"{argument} = {drawn.made}: {found}"

    has_no_fault()


# Of these rooms a draw compiles next to nothing.
HOST = ("learning", "couplings", "transfer")
CHEAP = [name for name, call in CALLS.items() if name.split(".")[0] in HOST and not (call.heavy or call.costly)]


@pytest.mark.parametrize("name", CHEAP)
def test_a_few_draws(name):
    check_draws(name, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_many_draws(name):
    arguments = sum(len(arrays_of(name)) for name in CALLS)
    check_draws(name, math.ceil(DRAWS / arguments), 1)
