"""One update of a low-rank network fitted to a recording, against the same update in PyTorch.

    python benchmarks/inference.py [--quick]

The bound of particles and its gradient, for a network of N = 40 tanh units and rank 2, 10 trials of 100 steps and
K = 32 particles in float32: Gaussian currents by the optimal proposal, and counts by one step of Fisher scoring. The
script in PyTorch is written as one would write it: batched over trials and particles, with a loop over time. Both
bounds must agree to 1%.
"""

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from table import Row
from timing import timed

from jaxnets.inference import Currents, Gaussian, Poisson, StochasticLowRank
from jaxnets.inference.climbing import Batch, Loss, fitted_space

N, RANK, TRIALS, STEPS, PARTICLES, LEAK, NOISE = 40, 2, 10, 100, 32, 0.9, 0.1


def network(counts: bool) -> StochasticLowRank:
    m = np.random.default_rng(0).standard_normal((N, RANK))
    turn = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    law = Poisson(readout=Currents(2.0, -1.5)) if counts else Gaussian(0.3)
    return StochasticLowRank(m, 0.3 * turn @ m.T / N, LEAK, NOISE, observation=law)


def ours(model, y, repeats):
    """Seconds to compile, seconds of an update, and the bound."""
    space = fitted_space(model, None, False, False)
    loss = Loss(space, y, None, jnp.asarray(PARTICLES), PARTICLES, STEPS)
    batch = Batch(jnp.arange(TRIALS), jnp.zeros(TRIALS, int))
    options = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
    update = eqx.filter_jit(
        lambda loss, u, key: jax.value_and_grad(lambda u: loss(u, batch, key))(u), compiler_options=options
    )
    compiling, seconds, (value, _) = timed(update, loss, space.at_values(), jax.random.key(1), repeats=repeats)
    return compiling, seconds, -float(value)


def in_torch(model, y, counts, repeats):
    """Seconds of an update and the bound, in PyTorch; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    tensor = lambda a: torch.tensor(np.asarray(a), dtype=torch.float32)
    free = [tensor(a).requires_grad_() for a in (model.m, model.n, np.log(LEAK), np.log(np.full(RANK, NOISE)))]
    bias = tensor(np.full(N, -1.5 if counts else 0.0)).requires_grad_()
    noise = tensor(np.log(np.full(N, 0.3))).requires_grad_()
    y = tensor(y)
    eye = torch.eye(RANK)

    def log_density(y, x):
        if counts:
            rate = torch.nn.functional.softplus(2 * x + bias)
            return (y * torch.log(rate) - rate - torch.lgamma(y + 1)).sum(-1)
        return (-(((y - x - bias) / noise.exp()) ** 2) / 2 - noise - np.log(2 * np.pi) / 2).sum(-1)

    def proposal(y, mean, precision):
        """The mean and the Cholesky factor of the precision."""
        m = free[0]
        if counts:
            eta = 2 * mean @ m.T + bias
            rate, slope = torch.nn.functional.softplus(eta), torch.sigmoid(eta)
            score, information = 2 * slope * (y / rate - 1), 4 * slope**2 / rate
            information = torch.einsum("bkn,nr,ns->bkrs", information, m, m)
        else:
            score = (y - mean @ m.T - bias) / (2 * noise).exp()
            information = (m.T / (2 * noise).exp()) @ m
        factor = torch.linalg.cholesky(precision + information)
        moved = torch.cholesky_solve((score @ m)[..., None], factor.expand(*mean.shape[:2], RANK, RANK))[..., 0]
        return mean + moved, factor

    def bound():
        m, n, leak, spread = free
        z, log_w, total = None, None, 0.0
        for t in range(STEPS):
            at = y[:, t, None]
            if z is None:
                mean, scale = torch.zeros(TRIALS, PARTICLES, RANK), torch.ones(RANK)
            else:
                weights = torch.softmax(log_w.detach(), 1)
                points = (torch.arange(PARTICLES) + torch.rand(TRIALS, 1)) / PARTICLES
                index = torch.searchsorted(weights.cumsum(1), points).clamp(max=PARTICLES - 1)
                z = torch.gather(z, 1, index[..., None].expand(-1, -1, RANK))
                mean, scale = leak.exp() * z + torch.tanh(z @ m.T) @ n.T, spread.exp()
            centre, factor = proposal(at, mean, eye / scale**2)
            xi = torch.randn(TRIALS, PARTICLES, RANK)
            lower = factor.expand(TRIALS, PARTICLES, RANK, RANK)
            z = centre + torch.linalg.solve_triangular(lower.mT, xi[..., None], upper=True)[..., 0]
            log_w = log_density(at, z @ m.T) - (((z - mean) / scale) ** 2).sum(-1) / 2 - scale.log().sum()
            log_w = log_w + (xi**2).sum(-1) / 2 - torch.log(torch.diagonal(lower, dim1=-2, dim2=-1)).sum(-1)
            total = total + (torch.logsumexp(log_w, 1) - np.log(PARTICLES)).mean()
        return total / (STEPS * N)

    def update():
        value = bound()
        value.backward()
        return value.detach()

    _, seconds, value = timed(update, repeats=repeats)
    return seconds, float(value)


def main(quick: bool) -> list[Row]:
    repeats, rows = 2 if quick else 8, []
    for counts in (False, True):
        model = network(counts)
        y = model.sample(TRIALS, STEPS, key=jax.random.key(0)).recording
        compiling, seconds, value = ours(model, y, repeats)
        theirs = in_torch(model, y, counts, repeats)
        if theirs is not None:
            assert abs(theirs[1] / value - 1) < 0.01, (theirs[1], value)
        name, other = ("counts" if counts else "currents"), ("" if theirs is None else "PyTorch")
        rows.append(
            Row(f"update of a low-rank network, {name}, K = 32", seconds, compiling, other, theirs and theirs[0])
        )
    for row in rows:
        print(row.markdown(), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs")
    main(parser.parse_args().quick)
