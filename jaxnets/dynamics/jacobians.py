"""Spectra of the Jacobian at many states, such as the states along an orbit."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float
from tqdm import tqdm

from .._arguments import require_whole
from .._numerics import is_concrete
from ..eigen import host_eigenvalues
from .network import RateNetwork, states_of

# Entries of all matrices that are handled at once: 32 MiB in float64, so that a batch of copies stays in memory.
# Smaller batches cost more calls, larger ones make the progress bar coarse.
_ENTRIES = 2**22

# Entries of the matrices of one call on a CPU, and how many there are at most. The number is the same for any number of
# states, so that it compiles once; 64 states of 20 units cost .2 ms, of which .1 is the call.
_FEW_ENTRIES = 2**19
_FEW = 64


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
        parts = [np.zeros((0, net.size), np.result_type(net.dtype, np.complex64))]
        with tqdm(total=len(flat), desc="Jacobians", unit="state", delay=1, disable=not progress) as bar:
            for start in range(0, len(flat), batch):
                chunk = flat[start : start + batch]
                parts.append(_many(net, chunk))
                bar.update(len(chunk))
    return jax.device_put(np.concatenate(parts).reshape(states.shape))


def _many(net: RateNetwork, states: Float[Array, "m n"]) -> Complex[np.ndarray, "m n"]:
    if jax.default_backend() != "cpu":
        return np.asarray(_eigenvalues(net, states))
    # LAPACK by way of NumPy needs no program for each number of states.
    found, size = [], few_matrices(net.size)
    for first in range(0, len(states), size):
        few = np.asarray(states)[first : first + size]
        # Copies fill up the last part.
        J, gains, shift = _as_product(net, np.resize(few, (size, net.size)))
        found.append(host_eigenvalues(J, gains, num=len(few)) + np.asarray(shift))
    return np.concatenate(found)


@eqx.filter_jit
def _as_product(net, x):
    return net.jacobian(x).as_product()


@eqx.filter_jit
def _eigenvalues(net: RateNetwork, x: Float[Array, "*batch n"]) -> Complex[Array, "*batch n"]:
    return net.jacobian(x).eigenvalues()


def matrices_at_once(n: int) -> int:
    """The number of n x n matrices that are handled in one call, at least one."""
    return max(1, _ENTRIES // n**2)


def few_matrices(n: int) -> int:
    """The number of n x n matrices in one call of a loop on the host; it depends on n alone."""
    return min(_FEW, max(1, _FEW_ENTRIES // n**2))
