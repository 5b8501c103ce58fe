# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How many dimensions does the activity fill, and what does a neuron's autocovariance not tell?
#
# Record the rates $\phi_i(t)$ of all $N$ units of a network. Their covariance matrix $C_{ij}$ says along which
# directions activity varies, and the **participation ratio**
#
# $$ \mathrm{PR} = \frac{(\mathrm{tr}\, C)^2}{\mathrm{tr}\, C^2} $$
#
# counts them: it is $N$ if all units vary independently and equally, and 1 if all follow one mode. To change it, we
# change not the strength of weights but their **effective rank**. A sum of $P = \alpha N$ random modes with amplitudes
# $D_a$, $J = L D R^\top / N$, has
#
# $$ g^2 = N\, \mathrm{Var} J_{ij} = \alpha \langle D^2 \rangle, \qquad
#    \mathrm{PR}^D = \alpha\, \frac{\langle D^2 \rangle^2}{\langle D^4 \rangle}, $$
#
# and $\mathrm{PR}^D = \alpha$ if all amplitudes are equal. Independent weights are the limit $\mathrm{PR}^D \to \infty$
# (Clark et al. 2024).

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

N, NETWORKS, INTERVAL = 1000, 2, 0.5  # INTERVAL: time between samples, in units of tau


def modes(g, rank):
    """Random modes of strength g and effective rank PR^D = `rank`; None stands for independent weights."""
    return jn.couplings.IID(g) if rank is None else jn.couplings.RandomModes.of_rank(g, rank)


def record(g, rank):
    """Rates of two networks, (network, time, trajectory, unit): four trajectories each, over 200 time constants."""
    key_networks, key_start = jax.random.split(jax.random.key(0))
    ensemble = modes(g, rank)
    sample = jax.vmap(lambda key: ensemble.sample(N, key=key, dtype=jnp.float32))
    net = jn.dynamics.RateNetwork(sample(jax.random.split(key_networks, NETWORKS)), jn.transfer.Tanh())
    start = jax.random.normal(key_start, (NETWORKS, 4, N), jnp.float32)
    run = jn.dynamics.simulate(net, start, duration=240.0, discard=40.0, dt=0.125, save_every=4, progress=False)
    return np.moveaxis(run.rates, 1, 0)


cases = {
    "independent weights": (None, jn.plotting.BLUE, "o"),
    "modes, PR$^D$ = 1": (1.0, jn.plotting.GREEN, "s"),
    "modes, PR$^D$ = 1/4": (0.25, jn.plotting.PURPLE, "^"),
}
recorded = {name: record(3.5, rank) for name, (rank, _, _) in cases.items()}

# %% [markdown]
# ## One unit sees the strength and nothing else
#
# Three kinds of networks at the same strength $g = 3.5$. The mean field of a unit contains only $g$, so that for
# $N \to \infty$ the autocovariance of its rate must be the same function in all three.

# %%
state = jn.meanfield.stationary(jn.couplings.IID(3.5), jn.transfer.Tanh())
near = state.lags <= 12
ax = jn.plotting.autocovariance(state.lags[near], state.c_phi[near], color=jn.plotting.VERMILLION, label="theory")
for name, (_, color, marker) in cases.items():
    C = jax.vmap(lambda rates: jn.observables.autocovariance(rates, INTERVAL, max_lag=12.0, centre=False).values)
    lags = INTERVAL * np.arange(25)
    mean = np.mean(C(recorded[name]), axis=0)
    jn.plotting.autocovariance(lags[::2], mean[::2], ax, color=color, style=marker, label=name)
ax.set(xlabel="lag (τ)", ylabel="autocovariance of rates")
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Points: mean of two networks of 1000 units each; line: theory. What differs at long lags is the finite size, most of
# all at low rank, where fewer modes carry the activity. Whoever records single units of a large network cannot tell
# these ensembles apart, however long the recording is.
#
# ## The population sees more
#
# We look at the same rates again, along their principal components.

# %%
ax = None
for name, (_, color, _) in cases.items():
    explained = jn.observables.principal_components(recorded[name][0], num_components=100).explained
    size = float(jn.observables.participation_ratio(recorded[name][0], INTERVAL, correlation_time=5.0))
    ax = jn.plotting.components(explained, ax, color=color, label=f"{name}: PR = {size:.1f}")
    jn.plotting.level(size, ax, color=color)
ax.set(ylim=(1e-4, 1))
jn.plotting.legend(ax, num_columns=1)
plt.show()

# %% [markdown]
# With a lower effective rank the same variance lies in fewer directions (dashed: PR, measured without the bias that a
# finite record has). Beyond the first few components the variance falls without a gap: this is no low-rank network,
# and a dimension is a matter of degree.
#
# ## What decides the dimension?
#
# Theory needs the small covariances between *pairs* of units, of order $1/\sqrt N$, which add up over $N^2$ pairs. To
# leading order a linear network has the same covariances, if its units have the response
# $S(\omega) = \langle \phi' \rangle / (1 + i \omega)$. With $S_{1,2} = S(\omega_{1,2})$,
#
# $$ \frac{\mathrm{PR}}{N} = C(0)^2 \Big/ \iint \frac{d\omega_1 d\omega_2}{(2\pi)^2}\, C(\omega_1)\, C(\omega_2)\,
#    \frac{1 + g^4 |S_1 S_2|^2 / \mathrm{PR}^D}{|1 - g^2 \bar S_1 S_2|^2}. $$
#
# `jn.population.dimension` computes it for any ensemble. We compare it with all networks at two strengths.

# %%
gains = jnp.linspace(1.5, 6.5, 26)
tested = (3.5, 6.0)


@jax.jit
@jax.vmap
def theory(g):
    """PR / N at all ranks: the state of a unit does not depend on them."""
    state = jn.meanfield.stationary(jn.couplings.IID(g), jn.transfer.Tanh())
    ranks = jnp.array([1e9, 1.0, 0.25])  # the first as good as infinite
    return jax.vmap(lambda rank: jn.population.dimension(state, modes(g, rank)).phi)(ranks)


def measured(rates):
    """PR / N and its standard error over networks: the mean of 1 / PR, which scatters evenly."""
    inverse = 1 / np.array([jn.observables.participation_ratio(r, INTERVAL, correlation_time=5.0) for r in rates])
    return 1 / (N * inverse.mean()), inverse.std(ddof=1) / (len(inverse) ** 0.5 * N * inverse.mean() ** 2)


fig, ax = plt.subplots(figsize=(5.6, 3.6))
for (name, (rank, color, marker)), line in zip(cases.items(), theory(gains).T, strict=True):
    jn.plotting.dimension(gains, line, ax, color=color, label=name)
    for g in tested:
        value, error = measured(recorded[name] if g == 3.5 else record(g, rank))
        ax.errorbar(g, value, 2 * error, fmt=marker, ms=4, color=color)
ax.set(xlabel="strength g of the weights", ylabel="dimension PR / N of rates")
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Lines: theory for $N \to \infty$; points: two networks of 1000 units, bars two standard errors (rough, since they come
# from two networks). Near the onset of chaos few modes carry the activity, and the dimension grows with the strength;
# even at $g = 6$, with independent weights, it stays below a tenth of the number of units. At a given strength the
# effective rank sets it, by a factor of about four here: a property of the couplings that shows in no single unit.
#
# ## Exercises
#
# 1. Give the modes unequal amplitudes, `jn.couplings.RandomModes.exponential(scale)`, and choose the amplitude so that
#    $g = 3.5$. Check that the dimension depends on `effective_rank()` alone.
# 2. `jn.population.pair_covariance` gives $\frac1N \sum_{ij} C_{ij}(\tau)^2$ against the lag. Do covariances of pairs
#    live longer or shorter than the fluctuations of single units, and how does it change with the rank?
# 3. Take a recording of 100 of the 1000 units. How does its participation ratio relate to the one of all 1000?
#
# Next: [sequences and memory](04_sequences_and_memory.ipynb), and, to run this analysis backwards, [fitting a
# recording](06_fitting_and_a_connectome.ipynb).
