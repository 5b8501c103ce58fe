"""Adaptive steps, from diffrax: a reference for the fixed-step schemes, and implicit solvers for stiff networks."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arguments import require_whole
from .._results import one_line
from .network import RateNetwork


class Adaptive(eqx.Module):
    """A `scheme` for networks without noise: steps as long as the local error allows, rtol |x| + atol.

    The `solver` is one of diffrax, such as the implicit `diffrax.Kvaerno5()` for time constants that lie far apart.
    A trajectory that needs more than `max_steps` steps is NaN from there on.

    Raises `ValueError` for tolerances that are not positive and `max_steps` below 1.
    """

    __repr__ = one_line

    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    rtol: float = 1e-6
    atol: float = 1e-9
    max_steps: int = 100_000

    def __check_init__(self):
        if not isinstance(self.solver, diffrax.AbstractSolver):
            raise ValueError(f"`solver` must be a solver of diffrax, such as `diffrax.Tsit5()`, got {self.solver!r}")
        for name in ("rtol", "atol"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be a number > 0, got {getattr(self, name)!r}")
        require_whole("max_steps", self.max_steps)

    def solve(
        self, net: RateNetwork, x0: Float[Array, " n"], t0: Float[Array, ""], times: Float[Array, " K"], t1: float
    ) -> tuple[Float[Array, "K n"], Float[Array, " n"]]:
        """States of one network `net` at `times` and at `t1`, from `x0` at `t0`; NaN where they were not reached."""
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, net: net.drift(t, x)),
            self.solver,
            t0,
            t1,
            None,
            x0,
            net,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            max_steps=self.max_steps,
            throw=False,
        )
        states, final = solution.ys  # pyright: ignore[reportGeneralTypeIssues]  (as `saveat` has it)
        reached = solution.result == diffrax.RESULTS.successful
        # diffrax leaves infinity at times it did not reach; the rate there, phi(inf), would look healthy.
        states = jnp.where(jnp.isfinite(states), states, jnp.nan)
        return states, jnp.where(reached, final[-1], jnp.nan)
