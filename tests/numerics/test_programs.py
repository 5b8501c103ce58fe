"""Programs that stand alone, and the same within other programs."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import as_program


@as_program
def cubed(x):
    return x**3


def test_alone_and_within_are_the_same():
    x = np.linspace(-1, 1, 5)
    alone = cubed(x)
    for within in (jax.jit(cubed)(x), jax.vmap(cubed)(x), jax.jit(jax.vmap(lambda x: cubed(x)))(x)):
        np.testing.assert_allclose(within, alone, rtol=1e-15)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(cubed(x)))(x), 3 * x**2, rtol=1e-15)


def test_known_numbers_within_a_program():
    """A program with options of its own cannot be called while another one is traced, whatever its arguments are."""
    known = np.arange(3.0)
    assert np.array_equal(jax.jit(lambda y: y + cubed(known))(np.ones(3)), 1 + known**3)

    @jax.jit
    def at_once(y):
        with jax.ensure_compile_time_eval():
            return y + np.asarray(cubed(known))

    assert np.array_equal(at_once(np.ones(3)), 1 + known**3)


def test_other_threads_and_options_of_jit():
    power = as_program(lambda x, n: x**n, jit=jax.jit, static_argnums=1)
    found = []
    thread = threading.Thread(target=lambda: found.append(power(np.full(2, 3.0), 2)))
    thread.start()
    thread.join()
    assert np.array_equal(found[0], [9, 9])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of the CPU")
def test_options_reach_the_compiler(monkeypatch):
    """An option that XLA does not know is an error: a program alone has options, and a program within none."""
    monkeypatch.setattr("jaxnets._numerics.programs._OPTIONS", {"xla_no_such_option": True})
    program = as_program(lambda x: x + 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        program(np.ones(2))
    assert np.array_equal(jax.jit(program)(np.ones(2)), [2, 2])
