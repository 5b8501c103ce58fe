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
# # How does a network answer?
#
# A stationary state says nothing of how a network comes to it, or what it does with an input on the way. Mean field
# at **two times** does: each unit hears a Gaussian field $\eta$, whose covariance at times $t$ and $s$ is made by all
# other units, and the covariance of units is made by the field,
#
# $$ (\partial_t + 1)(\partial_s + 1)\, C(t, s) = g^2 \langle \phi(x(t))\, \phi(x(s)) \rangle. $$
#
# Time goes row by row, from any start and under any input. We follow a chaotic network, silence its chaos by an input,
# and end with a memory that recalls a pattern, or recovers it for a while and loses it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

N, tanh, ensemble = 1000, jn.transfer.Tanh(), jn.couplings.IID(2.0)
on, off = 15.0, 27.0
push = lambda t: jnp.where((t >= on) & (t < off), 2.0, 0.0)  # the same to all units
course = jn.meanfield.transient(ensemble, tanh, duration=40.0, variance=0.5, replica=0.9, input=push)
print(course)

# %% [markdown]
# `replica=0.9` follows a second start in the *same* network, correlated with the first. Four networks of 1000 units do
# the same. An input that is common to all units shifts their mean, so that we look at what is left around it.


# %%
def distances(key):
    key_J, key_x, key_y = jax.random.split(key, 3)
    x, y = (jax.random.normal(k, (N,)) for k in (key_x, key_y))
    starts = jnp.sqrt(0.5) * jnp.stack([x, 0.9 * x + jnp.sqrt(1 - 0.9**2) * y])
    net = jn.dynamics.RateNetwork(ensemble.sample(N, key=key_J), tanh, input=push)
    run = jn.dynamics.simulate(net, starts, duration=40.0, dt=0.1, save_every=10, progress=False)
    apart = run.states - jnp.mean(run.states, -1, keepdims=True)
    return run.times, jnp.mean(apart[:, 0] ** 2, -1), jnp.mean((apart[:, 0] - apart[:, 1]) ** 2, -1)


samples = [distances(key) for key in jax.random.split(jax.random.key(0), 4)]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.9))
for ax, k, line in ((left, 1, course.variance), (right, 2, course.squared_distance())):
    for sample in samples:
        ax.plot(sample[0], sample[k], ".", ms=3, color=jn.plotting.VERMILLION)
    jn.plotting.estimates(course.times, line, ax, style="-")
    ax.axvspan(on, off, color="#dddddd", zorder=0)
left.set(xlabel="time (τ)", ylabel="variance of x")
right.set(xlabel="time (τ)", ylabel="squared distance of two starts")
plt.show()

# %% [markdown]
# Lines: theory for $N \to \infty$. Points: networks. Chaos parts the two starts, in small networks more slowly
# and each at its own pace. While the input lasts (grey) it pushes units to where $\phi$ is flat, and the distance dies
# out: the network is at a fixed point, and it forgets its start. Afterwards chaos comes back from what little is left.
#
# ## What a network remembers of its past

# %%
ax = jn.plotting.heat_map(course.times, course.times, course.c_x, label="C(t, s)")
ax.set(xlabel="s (τ)", ylabel="t (τ)", aspect="equal")
plt.show()

# %% [markdown]
# A free chaotic network remembers some ten time constants: a band around the diagonal. The square is the fixed point
# that the input holds. It is another network state than before, and than after: covariances across its borders are
# small.
#
# ## Networks whose units hear themselves
#
# With partial symmetry, overlaps or stored patterns a unit drives others that drive it back: it hears its own past.
# Then $x$ is not Gaussian, and sampled units are followed in place of a covariance. `transient_by_paths` does it for
# any ensemble: what a unit hears of itself and of others are the two functions $r$ and $\kappa$ that also give spectra,
# here of the operator $S(t, s) = \langle \partial \phi(t) / \partial \eta(s) \rangle$,
#
# $$ \dot x = -x + \eta + r(S)\, \phi(x), \qquad C^\eta = \kappa(S; C^\phi). $$

# %%
symmetries, key = (-0.4, 0.0, 0.4), jax.random.key(1)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.9))
for s, color in zip(symmetries, jn.plotting.shades(3), strict=True):
    run = jn.meanfield.transient_by_paths(
        jn.couplings.Elliptic(1.5, s), tanh, key=key, duration=8.0, num_paths=600, variance=1.0
    )
    error = jnp.diagonal(run.c_x_error)
    jn.plotting.estimates(run.times, run.variance, left, error=error, color=color, style="-", label=f"symmetry {s}")
    lags = np.arange(0, 6, 0.1)
    jn.plotting.profile(lags, run.response(8.0, 8.0 - lags), right, color=color)
left.set(xlabel="time (τ)", ylabel="variance of x")
right.set(xlabel="lag (τ)", ylabel="response S(8, 8 - lag)")
jn.plotting.legend(left)
plt.show()

# %% [markdown]
# Bands are two standard errors. Symmetric couplings answer themselves with the sign of their activity and make it
# stronger and slower; antisymmetric ones turn it down, at the same strength $g = 1.5$.
#
# ## A cue, and what becomes of it
#
# In a Hopfield network $J = \frac{2}{N} \sum_\mu \xi^\mu \xi^{\mu T}$ a start that contains a pattern, $x(0) = 0.5\,
# \xi^1 + 0.5\, z$, is a cue. The overlap $m = \langle \xi^1 \phi \rangle$ tells whether the pattern is recalled.

# %%
fig, ax = plt.subplots(figsize=(5.6, 3.0))
for load, color in ((0.05, jn.plotting.BLUE), (0.2, jn.plotting.VERMILLION)):
    hopfield = jn.couplings.DeepHebbian(load, auto=2.0, hetero=(0.0,))
    found = jn.memory.retrieval_course(
        hopfield, tanh, 0.5, key=key, duration=10.0, step=0.125, num_paths=600, variance=0.25
    )
    jn.plotting.estimates(
        found.times, found.overlaps[0], ax, error=found.overlaps_error[0], color=color, style="-", label=f"load {load}"
    )
    for k in jax.random.split(jax.random.key(2), 3):
        key_J, key_x = jax.random.split(k)
        J = hopfield.sample(N, key=key_J)
        start = 0.5 * J.left.T[0] + 0.5 * jax.random.normal(key_x, (N,))
        net = jn.dynamics.RateNetwork(J, tanh)
        run = jn.dynamics.simulate(net, start, duration=10.0, dt=0.1, save_every=5, progress=False)
        ax.plot(run.times, run.rates @ J.left[:, 0] / N, ".", ms=3, color=color)
    print(f"load {load}: largest overlap {found.largest[0]:.3f} at t = {found.largest_time[0]:.1f}")
ax.set(xlabel="time (τ)", ylabel="overlap with the cued pattern", ylim=(0, 1))
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Points: three networks each. Below capacity the pattern is completed and kept. Above it, it is not lost at once: for
# some two time constants the network completes the cue, before the noise of all other patterns takes it away. What is
# recalled on the way is more than any state that lasts would hold.
#
# ## Exercises
#
# 1. Put the input through classes of units, `weights=np.full(8, 1 / 8)` and `input=lambda t: 3 * jnp.cos(2 * t +
#    phases)`. Does it still kill the chaos?
# 2. Let patterns call each other, `DeepHebbian(0.05, 0.0, (2.0,))` with `length=12`: how fast does the overlap move on?
# 3. Differentiate: `jax.grad` of the distance at the end of the input by its strength.
