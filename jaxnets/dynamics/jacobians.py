"""Spectra of the Jacobian at many states, such as the states along an orbit."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float
from tqdm import tqdm

from .._arguments import require_whole
from .._numerics import as_complex, is_concrete
from .network import RateNetwork, states_of

# Entries of all matrices that are decomposed in one call: 32 MiB in float64, so that a batch of copies stays in memory.
# Smaller batches cost more calls, larger ones make the progress bar coarse.
_ENTRIES = 2**22


def jacobian_eigenvalues(
    net: RateNetwork, states: Float[ArrayLike, "*batch n"], *, batch: int | None = None, progress: bool = True
) -> Complex[Array, "*batch n"]:
    r"""The eigenvalues of the Jacobian at each of many states, in no order.

    $$ A(x) = \frac{-1 + \gamma J \operatorname{diag}(\phi'(x))}{\tau} $$

    One state costs O(n^3), or O(n P^2 + P^3) with P < n modes and one time constant. `batch` states are decomposed in
    one call; the default is as many as have 2^22 matrix entries, 32 MiB in float64. `progress` shows a bar after the
    first second.

    Raises:
        ValueError: if the last axis of ``states`` is not n, ``states`` is not finite, ``batch`` is not a whole number
            >= 1, or ``net`` a batch.
    """
    states = states_of(net, "states", states)
    batch = matrices_at_once(net.size) if batch is None else batch
    require_whole("batch", batch)
    flat = states.reshape(-1, net.size)

    with jax.default_matmul_precision("highest"):
        if not is_concrete(net, states):
            return jax.lax.map(lambda x: _eigenvalues(net, x), flat, batch_size=batch).reshape(states.shape)
        parts = [as_complex(jnp.zeros((0, net.size), net.dtype))]
        with tqdm(total=len(flat), desc="Jacobians", unit="state", delay=1, disable=not progress) as bar:
            for start in range(0, len(flat), batch):
                chunk = flat[start : start + batch]
                parts.append(jax.block_until_ready(net.jacobian(chunk).eigenvalues()))
                bar.update(len(chunk))
    return jnp.concatenate(parts).reshape(states.shape)


@eqx.filter_jit
def _eigenvalues(net: RateNetwork, x: Float[Array, " n"]) -> Complex[Array, " n"]:
    return net.jacobian(x).eigenvalues()


def matrices_at_once(n: int) -> int:
    """The number of n x n matrices that are handled in one call, at least one."""
    return max(1, _ENTRIES // n**2)
