"""Every function that draws asks for a random key of JAX, and names what it got instead."""

import jax
import numpy as np
import pytest

import jaxnets as jn
from jaxnets._arguments import require_key

NET = jn.dynamics.RateNetwork(np.eye(3), jn.transfer.Tanh(), noise=0.1)

DRAWS = {
    "independent": lambda key: jn.couplings.IID(1.0).sample(5, key=key),
    "modes": lambda key: jn.couplings.RandomModes([1.0], load=1.0).sample(5, key=key),
    "singular": lambda key: jn.couplings.SingularModes([1.0]).sample(5, key=key),
    "sum": lambda key: (jn.couplings.IID(1.0) + jn.couplings.IID(2.0)).sample(5, key=key),
    "simulate": lambda key: jn.dynamics.simulate(NET, np.ones(3), duration=1.0, key=key),
    "step": lambda key: jn.dynamics.step(NET, jn.dynamics.heun, 0.0, np.ones(3), 0.1, key),
    "lyapunov": lambda key: jn.dynamics.lyapunov_spectrum(NET, np.ones(3), num_exponents=1, duration=99.0, key=key),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_number_is_no_key(name):
    with pytest.raises((ValueError), match=r"`key` must be one random key, .* got int 7: `jax.random.key\(7\)`"):
        DRAWS[name](7)


@pytest.mark.parametrize("key", [None, True, 1.5, np.ones(2), np.ones((2, 2), np.uint32)])
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match="`key` must be one random key"):
        require_key("key", key)


def test_keys_of_both_kinds_pass():
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        require_key("key", key)
        jax.vmap(lambda key: require_key("key", key))(jax.random.split(key))
        jax.jit(lambda key: require_key("key", key))(key)
