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
# # What does a wide synaptic window do to stored sequences?
#
# Synapses change when two neurons fire together *or shortly after each other*. If patterns $\xi^1, \xi^2, \dots$ of
# random signs come one after the other while a network learns, such a window couples each pattern to itself and to
# those that follow:
#
# $$ J_{ij} = \frac1N \sum_\mu \Big[ c\, \xi_i^\mu \xi_j^\mu + \sum_{r=1}^{d} \gamma_r\, \xi_i^{\mu + r} \xi_j^\mu
#    \Big]. $$
#
# The first term holds a pattern where it is; the term $\gamma_r$ pushes activity $r$ patterns ahead. What the network
# $\tau \dot x = -x + J \phi(x)$ recalls is read from its **overlaps** $m_\mu = \frac1N \sum_i \xi_i^\mu \phi(x_i)$,
# near 0 for a pattern that is absent. We begin with few patterns and a large network, where the overlaps obey a closed
# equation.

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
patterns = jn.memory.binary(3000, 60, key=jax.random.key(0), dtype=jnp.float32)  # 60 patterns of 3000 units
recorder = jn.observables.online.Overlaps(patterns)

fig, axes = plt.subplots(3, 1, figsize=(5.6, 5.4), sharex=True)
for ax, window in zip(axes, ((1.5,), (0.75, 0.75), (0.5, 0.5, 0.5)), strict=True):
    net = jn.dynamics.RateNetwork(jn.memory.hebbian(patterns, 0.0, window, ring=False), tanh)
    run = jn.dynamics.simulate(net, patterns[0], duration=30.0, save_every=4, record=recorder, progress=False)
    jn.plotting.raster(run.times, np.asarray(run.records)[:, :40], ax, label="overlap", top=0.3)
    ax.set(xlabel="time (τ)", ylabel="pattern")
    ax.set_title(f"window γ = {', '.join(map(str, window))}", fontsize="medium", loc="left")
    ax.label_outer()
plt.show()

# %% [markdown]
# The networks start at the first pattern. With a window of one step the sequence is replayed at one pattern per time
# constant; a window of two or three steps, of the same strength in all, replays the same sequence faster. The packet of
# overlap is wider, too: several patterns are present at once.
#
# ## How fast?
#
# While the load is small, the overlaps drive each other as
# $\dot m_\mu \approx -m_\mu + a(t) \big( c\, m_\mu + \sum_r \gamma_r m_{\mu - r} \big)$, where the factor $a$ stands
# for the saturation of $\phi$. In the long run growth and decay balance, $a\, (c + \sum_r \gamma_r) = 1$, and the
# centre of the packet moves with the **mean step of the window**,
#
# $$ v = \frac{\sum_r r\, \gamma_r}{c + \sum_r \gamma_r} \quad \text{patterns per } \tau. $$
#
# We measure the speed for windows of many shapes.

# %%
windows = {  # c, (gamma_1, gamma_2, ...)
    "flat": [(0.0, (1.5,) * d) for d in (1, 2, 3, 4)],
    "decaying": [(0.0, (2.0, 1.0)), (0.0, (2.0, 1.0, 0.5))],
    "with auto-coupling": [(0.5, (1.5,)), (1.0, (1.5,)), (1.0, (1.0, 1.0)), (0.5, (1.0, 1.0, 1.0))],
}
fig, ax = plt.subplots(figsize=(5.6, 3.4))
jn.plotting.profile(np.array([0.5, 2.6]), np.array([0.5, 2.6]), ax, color=jn.plotting.VERMILLION, label="theory")
markers = zip("os^", jn.plotting.shades(3), strict=True)
for (name, group), (marker, color) in zip(windows.items(), markers, strict=True):
    step, speed = [], []
    for auto, hetero in group:
        net = jn.dynamics.RateNetwork(jn.memory.hebbian(patterns, auto, hetero, ring=False), tanh)
        found = jn.memory.retrieve(net, patterns, duration=60.0, dt=0.1, save_every=1, ring=False, progress=False)
        step.append(sum(r * gamma for r, gamma in enumerate(hetero, start=1)) / (auto + sum(hetero)))
        speed.append(float(found.speed))
    jn.plotting.profile(np.array(step), np.array(speed), ax, color=color, style=marker, label=name)
ax.set(xlabel="mean step of the window", ylabel="speed (patterns / τ)")
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Line: theory; points: a network of 3000 units. Whatever the shape of the window, the mean step sets the speed. The
# time scale of recall is not the time scale of learning: it is a property of the window, in units of $\tau$.
#
# ## What do all the others do?
#
# With $P = \alpha N$ patterns, those that are absent still overlap with the present state, by order $1/\sqrt N$ each,
# and call their successors with that. Let the network be at pattern $\mu$, $\phi_i = \xi_i^\mu$. The field of a unit is
#
# $$ \sum_j J_{ij} \xi_j^\mu = \sum_r \gamma_r\, \xi_i^{\mu + r} + \text{noise}, \qquad
#    \text{of variance } \alpha \sum_r \gamma_r^2. $$

# %%
loads = np.linspace(0.05, 0.6, 12)
fig, ax = plt.subplots(figsize=(5.6, 3.2))
for window, color, marker in zip(((1.5,), (0.75, 0.75), (0.5, 0.5, 0.5)), jn.plotting.shades(3), "os^", strict=True):
    variance = []
    for k, load in enumerate(loads):
        J = jn.couplings.DeepHebbian(load=load, hetero=window).sample(1000, key=jax.random.key(k))
        present = J.left[:, :20]  # each of twenty patterns in turn
        called = sum(gamma * J.left[:, r : 20 + r] for r, gamma in enumerate(window, start=1))
        variance.append(jnp.var(J @ present - called))
    label = f"γ = {', '.join(map(str, window))}"
    jn.plotting.profile(loads, loads * np.sum(np.square(window)), ax, color=color, label=label)
    jn.plotting.profile(loads, np.array(variance), ax, color=color, style=marker)
ax.set(xlabel="load α = P / N", ylabel="variance of the noise\n(points: networks)")
jn.plotting.legend(ax, num_columns=3)
plt.show()

# %% [markdown]
# Lines: theory; points: networks of 1000 units, each at twenty of its patterns. All windows call with the same strength
# in all, 1.5; but contributions of absent patterns add up as squares, so that the noise of a window of $d$ steps is
# smaller by a factor of $d$. This is not yet more memory. The packet of a wide window is spread over more patterns,
# with lower overlaps (first figure), so that the signal falls as well: which of the two wins is a question for a
# simulation (exercise 3).
#
# ## A window that looks both ways
#
# If the order of neurons within the window does not matter, couplings are symmetric: each pattern is coupled to itself
# with $c = 1$ and to its $d$ neighbours on *both* sides with $\gamma$. Nothing moves then, and the network has an
# energy. But it need not keep the pattern that it was given: from $\gamma = c/2d$ on that is converted into a state
# which overlaps with patterns nearby in the sequence. Order in time becomes similarity in space, as seen in the
# temporal cortex of monkeys (Miyashita 1988; Griniasty, Tsodyks & Amit 1993). We take a chain of 17 patterns, for
# $N \to \infty$ and in a network of 30000 spins at zero temperature, and start in the middle.

# %%
reach = 8
distance = np.arange(reach + 1)
apart = np.abs(np.subtract.outer(np.arange(2 * reach + 1), np.arange(2 * reach + 1)))
spins = jn.memory.binary(30_000, 2 * reach + 1, key=jax.random.key(2), dtype=jnp.float32)

fig, ax = plt.subplots(figsize=(5.6, 3.2))
windows = ((0.4,), (0.7,), (0.35, 0.35))
for window, color, marker in zip(windows, jn.plotting.shades(3), "os^", strict=True):
    core = np.concatenate([[1.0], window, np.zeros(2 * reach)])[apart]
    theory = jn.memory.zero_load_overlaps(core, np.eye(2 * reach + 1)[reach]).value
    jn.plotting.profile(distance, theory[reach:], ax, color=color, label=f"γ = {', '.join(map(str, window))}")

    J = jn.memory.hebbian(spins, 1.0, window, ring=False, symmetric=True)
    run = jn.memory.glauber(J, spins[reach], temperature=0.0, num_sweeps=40, key=jax.random.key(3), patterns=spins)
    sampled = np.asarray(run.overlaps[-1])
    jn.plotting.profile(distance, (sampled[reach:] + sampled[reach::-1]) / 2, ax, color=color, style=marker)
ax.set(xlabel="distance along the sequence", ylabel="overlap (points: network)")
jn.plotting.legend(ax, num_columns=3)
plt.show()

# %% [markdown]
# A weak window keeps the pattern as it is. Beyond $\gamma = 1/2$, a window of one step makes a state that reaches four
# patterns far, with overlaps of 77, 51, 13, 3 and 1 over 128, although it couples neighbours alone. A window of two
# steps spreads the state until the ends of this chain stop it.
#
# ## Exercises
#
# 1. A negative $\gamma_2$ pushes patterns two steps ahead down. Is `(1.5, -0.3)` slower or faster than `(1.5,)`?
#    Does the mean step of the window still give the speed?
# 2. Below which $\gamma$ does the symmetric window with $d = 1$ keep a pattern pure? The answer is $c / 2d$: find it in
#    `zero_load_overlaps`, and in a network at load 0.01 with `jn.memory.correlation_profile`.
# 3. With `jn.memory.retrieve(..., length=12)`, find the loads at which sequences are lost, for the three windows of
#    the first figure and rising $N$. A sweep of `jn.computations.regime` maps more of what happens after a cue, as the
#    command `jaxnets memory` does.
#
# Next: [which patterns threshold units can hold](05_multistable_patterns.ipynb).
