"""Adaptive steps, from diffrax: a reference for the fixed-step schemes, and implicit solvers for stiff networks."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arguments import require_whole
from .network import RateNetwork


class Adaptive(eqx.Module):
    """Steps as long as the local error allows, rtol |x| + atol: the `scheme` of `simulate` for networks without noise.

    `solver` is a solver of diffrax, such as the implicit `diffrax.Kvaerno5()` for time constants that lie far apart.
    A trajectory that would need more than `max_steps` steps is given up: it is NaN from there on.

    Raises `ValueError` for tolerances that are not positive and `max_steps` below 1.
    """

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
        self, net: RateNetwork, x0: Float[Array, " n"], start: Float[Array, ""], times: Float[Array, " K"], end: float
    ) -> tuple[Float[Array, "K n"], Float[Array, " n"]]:
        """States at `times` and at `end`, of one network from one state at `start`; NaN where they were not reached."""
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, net: net.drift(t, x)),
            self.solver,
            start,
            end,
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
        # diffrax leaves infinity where it did not get to, at which a bounded transfer function would look healthy.
        states = jnp.where(jnp.isfinite(states), states, jnp.nan)
        return states, jnp.where(reached, final[-1], jnp.nan)
