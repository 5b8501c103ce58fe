r"""Posteriors of parameters: the theory as a likelihood, and samples of what the data leave open.

$$ p(x | \mathrm{data}) \propto e^{-L(x)}\, \pi(x), \qquad
   \ln p(u) = -L(x(u)) + \ln \pi(x(u)) + \ln \Big|\frac{\partial x}{\partial u}\Big|, $$

with L minus the logarithm of the likelihood, as `fitting.fit` takes it, and u the free numbers of the transforms. The
No-U-turn sampler of blackjax moves in u; its chains run side by side in one program.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, PyTree
from tqdm import tqdm

from .._arguments import positive, real_array, require, require_key, require_whole, scalar
from .._progress import moving, stage
from .._results import Result
from ..fitting.parameters import Space, Transforms, space_of, stacked_starts

Prior = Callable[[Float[Array, "..."]], Float[Array, "..."]]
# Draws between two looks at the bar.
_CHUNK = 50
# With so many components or less the metric is a full matrix, which follows correlated parameters.
_MOST_DENSE = 50
# What counts as converged: as Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021 advise.
_LARGEST_R_HAT, _FEWEST = 1.01, 400


class Posterior(Result, axes={"c": "chain", "s": "draw", "n": "component"}):
    """Samples of parameters, made by `posterior`.

    `params` is a tree like the parameters whose fitted leaves have two more axes in front, chains and draws, and
    `values` has the same components side by side, in the order of `names`. `mean` and `error` are their means and
    standard deviations, `r_hat` the rank-normalised ratio of variances between and within halves of chains, and `ess`
    the effective number of draws, the smaller of bulk and tails. `log_density` is ln p(u). `num_divergent` counts steps
    that left the path of the sampler: where there are any, some part of the posterior is not reached.

    `converged` asks for r_hat <= 1.01 and ess >= 400 of every component, and for no divergent step. Source: as
    `posterior`.
    """

    params: PyTree
    values: Float[Array, "c s n"]
    mean: Float[Array, " n"]
    error: Float[Array, " n"]
    r_hat: Float[Array, " n"]
    ess: Float[Array, " n"]
    log_density: Float[Array, "c s"]
    num_divergent: Int[Array, ""]
    converged: Bool[Array, ""]
    names: tuple[str, ...] = eqx.field(static=True)

    def quantile(self, q: Float[ArrayLike, "*q"]) -> Float[Array, "*q n"]:
        """The quantiles of each component, over all chains.

        Raises `ValueError` for q outside [0, 1].
        """
        q = real_array("q", q).astype(self.values.dtype)
        require("q", q, lambda q: (q >= 0) & (q <= 1), "between 0 and 1")
        return jnp.quantile(self.values.reshape(-1, self.values.shape[-1]), q, axis=0)


class _Problem(eqx.Module):
    """ln p(u)."""

    loss: Any
    priors: Any  # of each float leaf
    space: Space
    data: Any

    def __call__(self, u: Float[Array, " p"]) -> Float[Array, ""]:
        x = jax.tree.leaves(self.space.floats(u))
        prior = sum(
            (jnp.sum(of(leaf)) for of, leaf in zip(self.priors, x, strict=True) if of is not None),
            jnp.zeros((), u.dtype),
        )
        return (prior - self.loss(self.space.params(u), *self.data) + self.space.log_volume(u)).astype(u.dtype)


def posterior(
    loss: Callable[..., Float[Array, ""]],
    params: PyTree,
    *data: PyTree,
    key: PRNGKeyArray,
    priors: Mapping[str, Prior] | None = None,
    transforms: Transforms | None = None,
    starts: PyTree | None = None,
    num_samples: int = 1000,
    num_warmup: int = 500,
    num_chains: int = 4,
    spread: Float[ArrayLike, ""] = 0.1,
    target_acceptance: Float[ArrayLike, ""] = 0.9,
    progress: bool = True,
) -> Posterior:
    r"""Samples of the posterior of parameters by the No-U-turn sampler, with `loss(params, *data)` = -ln likelihood.

    $$ p(x | \mathrm{data}) \propto e^{-L(x)}\, \pi(x) $$

    `params`, `transforms` and `data` are as in `fitting.fit`, and its result is the natural start. For residuals r in
    units of their errors, as `fitting.least_squares` takes them, the loss is |r|^2 / 2. `priors` are ln pi by path,
    functions of the parameter such as `numpyro.distributions.LogNormal(0., 1.).log_prob`, whose values are summed over
    its components; a parameter without one has a flat prior within its constraint, which is proper only in an
    `Interval` or a `Simplex`. Chains begin at Gaussian draws around `params` of the standard deviation `spread` in the
    free numbers, or at `starts`, a tree like `params` with one more axis in front, a start for each chain.
    Each of `num_chains` chains adapts its step and its metric in `num_warmup` steps, to an acceptance of
    `target_acceptance`, and then gives `num_samples` draws. Valid for posteriors of one hill, smooth in the free
    numbers.

    A loss that is a module, or a function defined once, is compiled once for data of one shape: pass changing arrays as
    `data`. It must have reverse-mode derivatives. Needs blackjax, the extra `posteriors`.

    Raises:
        ValueError: for `params` and `transforms` as `fitting.fit`, priors of paths that `params` does not have or of
            fixed ones, whole numbers that are not, a spread or acceptance outside their ranges, a posterior that is not
            finite at a start; and without blackjax.

    Source: Hoffman & Gelman 2014; Vehtari et al. 2021 (r_hat, effective number of draws).
    """
    blackjax = _blackjax()
    require_key("key", key)
    for name, value, least in (("num_samples", num_samples, 4), ("num_warmup", num_warmup, 20)):
        require_whole(name, value, least)
    require_whole("num_chains", num_chains)
    require("spread", scalar("spread", spread), positive, "a finite number > 0")
    target = scalar("target_acceptance", target_acceptance)
    require("target_acceptance", target, lambda x: (x > 0) & (x < 1), "between 0 and 1")
    space = space_of(params, transforms)
    problem = _Problem(loss, _priors(priors, space), space, data)
    start_key, warm_key, draw_key = jax.random.split(key, 3)
    at = _starts(problem, starts, num_chains, spread, start_key)

    with stage("adapting", progress), _lenient():
        state, step, metric = jax.block_until_ready(
            _warmed(problem, at, jax.random.split(warm_key, num_chains), num_warmup, float(target))
        )
    keys = jax.vmap(lambda k: jax.random.split(k, num_samples))(jax.random.split(draw_key, num_chains))
    parts = []
    bar = tqdm(total=num_chains * num_samples, desc="sampling", unit="draw", leave=False, disable=not progress)
    with moving(bar):
        for first in range(0, num_samples, _CHUNK):
            some = keys[:, first : first + _CHUNK]
            with _lenient():
                state, part = jax.block_until_ready(_drawn(problem, state, step, metric, some))
            parts.append(part)
            bar.update(some.shape[0] * some.shape[1])
    u, density, divergent = (jnp.concatenate(part, 1) for part in zip(*parts, strict=True))
    with _lenient():
        return _summary(space, u, density, divergent, blackjax.diagnostics)


@contextlib.contextmanager
def _lenient() -> Iterator[None]:
    """blackjax mixes types and shapes, which users of strict promotion forbid for their own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _blackjax() -> Any:
    try:
        import blackjax  # pyright: ignore[reportMissingImports]
        import blackjax.diagnostics  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "`posterior` needs blackjax, which is not installed: pip install 'jaxnets[posteriors]'"
        ) from None
    return blackjax


def _priors(priors: Mapping[str, Prior] | None, space: Space) -> tuple[Prior | None, ...]:
    given = dict(priors or {})
    for path, prior in given.items():
        if path not in space.fitted():
            raise ValueError(f"`priors` must be named by fitted parameters, {', '.join(space.fitted())}, got {path!r}")
        if not callable(prior):
            raise ValueError(f"`priors`: {path} must be a function, the logarithm of a density, got {prior!r}")
    return tuple(given.get(path) for path in space.paths)


def _starts(problem: _Problem, starts: PyTree | None, num_chains: int, spread, key: PRNGKeyArray):
    if starts is None:
        centre = problem.space.at_values()
        noise = jax.random.normal(key, (num_chains, centre.size), centre.dtype)
        at = centre[None] + jnp.asarray(spread, centre.dtype) * noise
    else:
        at = stacked_starts(problem.space, starts)
        if at.shape[0] != num_chains:
            raise ValueError(f"`starts` must have one start for each of {num_chains} chains, got {at.shape[0]}")
    density = np.asarray(_densities(problem, at))
    if not np.isfinite(density).all():
        chain = int(np.flatnonzero(~np.isfinite(density))[0])
        raise ValueError(
            f"`loss` and `priors` must be finite where chains start, got ln p = {density[chain]} for chain {chain} at "
            f"{dict(zip(problem.space.names(), np.asarray(problem.space.vector(at[chain])).tolist(), strict=True))}: "
            "give other `params`, or a smaller `spread`"
        )
    return at


@eqx.filter_jit
def _densities(problem: _Problem, u: Float[Array, "c p"]) -> Float[Array, " c"]:
    return jax.vmap(problem)(u)


@eqx.filter_jit
def _warmed(problem: _Problem, starts: Float[Array, "c p"], keys: PRNGKeyArray, num_steps: int, target: float):
    """The state, the step and the metric of each chain."""
    blackjax = _blackjax()
    nothing = lambda state, info, adaptation: (None, None, None)  # of the history of the adaptation

    def one(start, key):
        adaptation = blackjax.window_adaptation(
            blackjax.nuts,
            problem,
            is_mass_matrix_diagonal=start.size > _MOST_DENSE,
            target_acceptance_rate=target,
            adaptation_info_fn=nothing,
        )
        (state, parameters), _ = adaptation.run(key, start, num_steps)
        return state, parameters["step_size"], parameters["inverse_mass_matrix"]

    return jax.vmap(one)(starts, keys)


@eqx.filter_jit
def _drawn(problem: _Problem, state: Any, step: Float[Array, " c"], metric: Float[Array, "c ..."], keys: PRNGKeyArray):
    """The states after more draws, and the draws: u, ln p and whether a step diverged."""
    kernel = _blackjax().nuts.build_kernel()

    def one(state, step, metric, keys):
        def draw(state, key):
            state, info = kernel(key, state, problem, step, metric)
            return state, (state.position, state.logdensity, info.is_divergent)

        return jax.lax.scan(draw, state, keys)

    return jax.vmap(one)(state, step, metric, keys)


def _summary(space: Space, u: Float[Array, "c s p"], density, divergent, diagnostics: Any) -> Posterior:
    over = lambda f: jax.vmap(jax.vmap(f))
    values = over(space.vector)(u)
    several = values.shape[0] * values.shape[1]
    flat = values.reshape(several, -1)
    # Of one component these are numbers.
    r_hat = jnp.reshape(diagnostics.rhat(values), values.shape[-1:])
    ess = jnp.reshape(jnp.minimum(diagnostics.ess_bulk(values), diagnostics.ess_tail(values)), values.shape[-1:])
    good = jnp.all(r_hat <= _LARGEST_R_HAT) & jnp.all(ess >= _FEWEST) & ~jnp.any(divergent)
    return Posterior(
        params=over(functools.partial(_params, space))(u),
        values=values,
        mean=jnp.mean(flat, 0),
        error=jnp.std(flat, 0, ddof=1),
        r_hat=r_hat,
        ess=ess,
        log_density=density,
        num_divergent=jnp.sum(divergent),
        converged=good,
        names=space.names(),
    )


def _params(space: Space, u: Float[Array, " p"]) -> PyTree:
    """The float leaves alone: `vmap` takes no others."""
    return space.floats(u)
