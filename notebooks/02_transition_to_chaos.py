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
# # When does a random network start to fluctuate by itself, and does structure move that point?
#
# A network $\tau \dot x = -x + J \phi(x)$ with $\phi = \tanh$ and no input can always rest, at $x = 0$. Small
# deviations from rest obey $\tau \dot x = (-1 + J) x$ and grow as soon as an eigenvalue of $J$ has a real part above
# $1$. Linear theory does not tell where the growth ends. In large random networks it is **chaos**: activity that never
# repeats, although nothing drives it (Sompolinsky, Crisanti & Sommers 1988). Times are in units of $\tau$ throughout.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

tanh = jn.transfer.Tanh()
key_network, key_start = jax.random.split(jax.random.key(0))
start = jax.random.normal(key_start, (4, 400))  # four initial states of 400 units


def simulate(ensemble):
    """200 time constants of one network of the ensemble, from four initial states, after 100 to settle."""
    net = jn.dynamics.RateNetwork(ensemble.sample(400, key=key_network), tanh)
    return net, jn.dynamics.simulate(net, start, duration=300.0, discard=100.0, dt=0.1, save_every=5, progress=False)


fig, axes = plt.subplots(3, 1, figsize=(5.6, 4.2), sharex=True, sharey=True)
for ax, g in zip(axes, (0.9, 1.5, 3.0), strict=True):
    _, run = simulate(jn.couplings.IID(g))
    for unit, color in enumerate(jn.plotting.shades(4)):
        jn.plotting.profile(run.times[:120], run.states[:120, 0, unit], ax, color=color)
    ax.set(xlabel="time (τ)", ylabel="state x")
    ax.set_title(f"g = {g}", fontsize="medium", loc="left")
    ax.label_outer()
plt.show()

# %% [markdown]
# Four units of three networks with independent weights of variance $g^2/N$. At $g = 0.9$ the network is at rest;
# at $g = 1.5$ it wanders slowly, at $g = 3$ fast and far.
#
# ## What one unit does, and how fast trajectories part
#
# For $N \to \infty$ the input to a unit is a Gaussian process, and its statistics must agree with the outputs that such
# inputs cause. This **mean field** is one equation for the autocovariance $C(t) = \langle x(s)\, x(s + t) \rangle$,
#
# $$ \ddot C = C - g^2 \langle \phi(x(s))\, \phi(x(s + t)) \rangle, $$
#
# solved by `jn.meanfield.stationary`. The largest Lyapunov exponent, the rate at which two nearby trajectories part,
# follows from the ground state of a quantum particle in a potential made of $C$ (`largest_lyapunov`). None of these
# equations contains the networks that we simulate.

# %%
gains = jnp.linspace(0.7, 3.0, 70)


@jax.jit
@jax.vmap
def mean_field(g):
    state = jn.meanfield.stationary(jn.couplings.IID(g), tanh)
    return state.variance, jnp.where(g > 1, jn.meanfield.largest_lyapunov(state).value, g - 1)


variances, exponents = mean_field(gains)

fig, (above, below) = plt.subplots(2, 1, figsize=(5.6, 5.0), sharex=True)
jn.plotting.estimates(gains, variances, above, color=jn.plotting.VERMILLION, style="-", label="theory, N → ∞")
jn.plotting.estimates(gains, exponents, below, color=jn.plotting.VERMILLION, style="-")
for i, g in enumerate((0.8, 1.2, 1.6, 2.2, 3.0)):
    net, run = simulate(jn.couplings.IID(g))
    variance = jnp.mean(run.states**2)
    options = dict(duration=250.0, dt=0.1, key=key_start, progress=False)
    found = jn.dynamics.lyapunov_spectrum(net, run.final[0], num_exponents=1, **options)
    label = "one network, N = 400" if i == 0 else None
    jn.plotting.estimates([g], [variance], above, style="o", label=label)
    below.errorbar(g, found.exponents[0], 2 * found.error[0], fmt="o", ms=3.5, color=jn.plotting.BLUE)
for ax in (above, below):
    jn.plotting.level(1.0, ax, color=jn.plotting.BLACK, style=":", label="onset of chaos" if ax is above else None)
above.set(xlabel="", ylabel="variance of x")
below.set(xlabel="strength g of the weights", ylabel="largest Lyapunov\nexponent (1/τ)")
jn.plotting.legend(above)
plt.show()

# %% [markdown]
# Above $g = 1$ units fluctuate, and both the size of fluctuations and the exponent grow from zero. Below, the network
# rests, and the exponent is $g - 1$: the largest real part of the eigenvalues less one. (Bars are two standard errors
# in time. Another network of 400 units differs by more than that: chaos averages over a finite number of units.)
#
# ## Structure moves the point
#
# Take $N/2$ modes, $J = L D R^\top / N$. Rest becomes unstable where the right edge of the spectrum of $g J$ reaches 1
# (the slope of tanh at 0), that is at $g = 1$ / right edge of $J$. With the variance of weights held fixed, we change
# the **overlap** $\rho$ between the directions that a mode reads and writes. In another family we change the
# **symmetry** $s = \mathrm{corr} (J_{ij}, J_{ji})$ of independent pairs; there the right edge is $1 + s$. Points are
# from the eigenvalues of one network of 400 units each.


# %%
def modes(g, overlap):
    return jn.couplings.RandomModes.flat(g * 0.5**-0.5, load=0.5, overlap=overlap)


def critical_gain(ensemble_at):
    return lambda p: 1 / jn.spectra.law(ensemble_at(p)).right_edge()


similarity = jnp.linspace(-0.4, 0.8, 25)
families = {
    "overlap of modes ρ": (lambda p: modes(1.0, p), jn.plotting.BLUE, "-"),
    "symmetry of pairs s": (lambda p: jn.couplings.Elliptic(1.0, p), jn.plotting.VERMILLION, "--"),
}
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for name, (ensemble_at, color, style) in families.items():
    jn.plotting.profile(
        similarity, jax.jit(jax.vmap(critical_gain(ensemble_at)))(similarity), ax, color=color, style=style, label=name
    )
    for p in similarity[::4]:
        values = jn.spectra.eigenvalues(ensemble_at(p).sample(400, key=key_network))
        jn.plotting.profile([p], [1 / values.real.max()], ax, color=color, style="o")
ax.set(xlabel="ρ or s", ylabel="strength g at the onset", yscale="log")
ax.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
ax.minorticks_off()
jn.plotting.legend(ax)
plt.show()

onset = critical_gain(lambda p: modes(1.0, p))
print(f"slope of the onset of modes at ρ = 0: {jax.grad(onset)(0.0):.4f}")

# %% [markdown]
# Without overlap the onset is at $g = 1$, whatever the rank: structure that shows only in the effective rank does not
# move it. Overlap does: where a mode excites itself ($\rho > 0$) weak weights are enough, and where it inhibits itself
# rest is stable up to larger $g$. The line is differentiable, so that its slope is exact and a strength or an overlap
# can be fitted to a wanted onset.
#
# ## Does the network agree?
#
# Eigenvalues are linear theory. We simulate networks of modes on both sides of the onset, at three overlaps.

# %%
strengths = np.geomspace(0.4, 4.0, 9)
fig, ax = plt.subplots(figsize=(5.6, 3.2))
markers = ("s", "o", "^")
for overlap, color, marker in zip((0.3, 0.0, -0.3), jn.plotting.shades(3, jn.plotting.WARM), markers, strict=True):
    measured = [jnp.mean(simulate(modes(g, overlap))[1].states ** 2) for g in strengths]
    jn.plotting.profile(strengths, measured, ax, color=color, style=marker, label=f"ρ = {overlap:g}")
    jn.plotting.level(float(onset(overlap)), ax, color=color)
ax.set(xlabel="strength g of the weights", ylabel="mean square of x", xscale="log")
ax.set_yscale("symlog", linthresh=0.1)  # linear below 0.1, so that 0 has a place
ax.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
ax.set_yticks([0, 0.1, 1, 10], ["0", "0.1", "1", "10"])
ax.set_ylim(-0.03, 60)
ax.minorticks_off()
jn.plotting.legend(ax, num_columns=3)
plt.show()

# %% [markdown]
# Each network comes to life at its own dashed line, the onset in theory. Beyond the onset there need not be chaos: at
# positive overlap the network may come to rest in another fixed point. Linear theory says *when* a network leaves its
# rest. The state after that takes mean field, or a simulation.
#
# ## Exercises
#
# 1. Store a sequence, `jn.couplings.DeepHebbian(load=alpha, hetero=(gamma,))`. Check that its onset is at
#    $\gamma = 1/\sqrt{1 + \alpha}$: more patterns of the same strength mean an earlier onset.
# 2. Add noise, `jn.dynamics.RateNetwork(J, tanh, noise=0.3)` and `jn.meanfield.stationary(ensemble, tanh, 0.3)`. At
#    which $g$ is the exponent zero now?
# 3. Replace tanh by `jn.transfer.Erf()`, which has the same slope at 0. Which of the figures change?
#
# Next: [how many dimensions this activity fills](03_dimension_of_activity.ipynb).
