"""Fixed-step schemes: one step of dx/dt = f(t, x) from t to t + dt, for any shape of x.

`stepping` lets white noise enter as an input that is constant within each step. For noise that does not depend on x
this is the stochastic Heun scheme, of strong order 1 with both schemes; Stratonovich and Ito agree. A new scheme is
one more function of this signature, which evaluates f as often as it needs.
"""

from collections.abc import Callable

from jaxtyping import Array, Float

Drift = Callable[[Float[Array, ""], Float[Array, "..."]], Float[Array, "..."]]
Scheme = Callable[[Drift, Float[Array, ""], Float[Array, "..."], Float[Array, ""]], Float[Array, "..."]]


def euler(f: Drift, t: Float[Array, ""], x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    """The state x(t + dt) from dx/dt = f(t, x), to first order: a step of a network in discrete time."""
    return x + dt * f(t, x)


def heun(f: Drift, t: Float[Array, ""], x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    """The state x(t + dt) from dx/dt = f(t, x), to second order by two evaluations; stable for dt < 2 tau."""
    k1 = f(t, x)
    k2 = f(t + dt, x + dt * k1)
    return x + dt / 2 * (k1 + k2)


def rk4(f: Drift, t: Float[Array, ""], x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    """The state x(t + dt) to fourth order by four evaluations of f (Runge-Kutta); stable for dt < 2.7 tau."""
    k1 = f(t, x)
    k2 = f(t + dt / 2, x + dt / 2 * k1)
    k3 = f(t + dt / 2, x + dt / 2 * k2)
    k4 = f(t + dt, x + dt * k3)
    return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
