"""What adaptive steps return when diffrax has not arrived, with solutions that are given."""

from types import SimpleNamespace

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.dynamics import adaptive
from jaxnets.dynamics.adaptive import Adaptive
from jaxnets.dynamics.network import RateNetwork
from jaxnets.transfer import Tanh


@pytest.mark.parametrize("arrived", [True, False])
def test_times_that_were_not_reached_are_nan(monkeypatch, arrived):
    asked = {}

    def solve(term, solver, t0, t1, dt0, x0, net, *, saveat, stepsize_controller, max_steps, throw):
        asked.update(t0=t0, t1=t1, x0=x0, max_steps=max_steps, rtol=stepsize_controller.rtol)
        asked["velocity"] = term.vector_field(0.0, jnp.ones(2), net)
        asked["times"], asked["atol"] = saveat.subs[0].ts, stepsize_controller.atol
        states = np.array([[1.0, 2], [3, 4], [5, 6]])
        if not arrived:
            states[1:] = np.inf
        result = diffrax.RESULTS.successful if arrived else diffrax.RESULTS.max_steps_reached
        return SimpleNamespace(ys=(jnp.asarray(states), jnp.asarray([[7.0, 8]])), result=result)

    monkeypatch.setattr(adaptive.diffrax, "diffeqsolve", solve)
    net = RateNetwork(np.array([[0.0, 2], [1, 0]]), Tanh(), input=0.5)
    states, final = Adaptive(rtol=1e-3, atol=1e-4, max_steps=7).solve(net, np.zeros(2), 0.25, np.arange(3.0), 4.0)
    rest = [[3, 4], [5, 6], [7, 8]] if arrived else [[np.nan] * 2] * 3
    np.testing.assert_array_equal([*states, final], [[1, 2], *rest])
    np.testing.assert_allclose(asked["velocity"], -0.5 + np.tanh(1) * np.array([2, 1]))
    assert (asked["t0"], asked["t1"], asked["max_steps"], asked["rtol"], asked["atol"]) == (0.25, 4, 7, 1e-3, 1e-4)
    np.testing.assert_array_equal(asked["times"], np.arange(3))
