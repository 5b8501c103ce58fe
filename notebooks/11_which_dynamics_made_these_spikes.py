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
# # Which dynamics made these spikes?
#
# Spikes of a few neurons, and nothing else: is there a memory in the network, an oscillation, a line of states? A
# **stochastic low-rank network** is a model of such a recording that one can take apart. Few latent variables $z$ drive
# all units and are driven by them,
#
# $$ z_t = a\, z_{t-1} + n\, \phi(m z_{t-1} - h) + \epsilon_t, \qquad
#    y_{ti} \sim \mathrm{Poisson}\big[\log(1 + e^{\gamma\, (m z_t)_i + b_i})\big], $$
#
# and if $\phi$ is made of lines, **all** its fixed points can be listed. We make spikes of a network that we then
# forget, write them to a file, and ask for the network again.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

rng, N, bin_width = np.random.default_rng(3), 24, 0.02
m = rng.choice([-1.0, 1.0], (N, 2)) * rng.uniform(0.7, 1.3, (N, 2))
clipped = jn.transfer.clipped_linear(-1.0, 1.0)
hidden = jn.inference.StochasticLowRank(
    m,
    0.36 * m.T / N,
    leak=0.8,
    noise=0.12,
    transfer=clipped,
    initial_noise=1.0,
    observation=jn.inference.Poisson(readout=jn.inference.Currents(2.0, -1.0)),
)
counts = np.asarray(hidden.sample(20, 60, key=jax.random.key(5)).recording)

# Spike times of a session of 20 trials, one after the other, in two columns.
flat = counts.reshape(-1, N).astype(int)
steps, units = np.repeat(np.argwhere(flat > 0), flat[flat > 0], axis=0).T
times = bin_width * (steps + rng.uniform(0.01, 0.99, len(steps)))
folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "spikes.csv"
np.savetxt(file, np.stack([times, units], 1), "%.6f,%d", header="time,unit", comments="")

# %% [markdown]
# ## The recording
#
# From here on there is only the file. `read_recording` says what it took it for; tables, `.npy`, `.mat` and NWB files
# are read in the same way, and so are several sessions with other units in each.

# %%
recording = jn.inference.read_recording(file, bin_width=bin_width, start=0.0, trial_length=60 * bin_width)
print(recording)
fig, ax = plt.subplots(figsize=(7.4, 2.6))
shown = times < 4 * 60 * bin_width
ax.plot(times[shown], units[shown], "|", ms=3, color=jn.plotting.BLACK)
for trial in range(1, 4):
    ax.axvline(60 * trial * bin_width, color=jn.plotting.VERMILLION, lw=0.8)
ax.set(xlabel="time (s)", ylabel="unit", xlim=(0, 4 * 60 * bin_width))
plt.show()

# %% [markdown]
# ## How many latent variables?
#
# The bound of particles, $\mathcal{L} \le \log p(y)$, of trials that were not fitted. `choose_rank` takes the smallest
# rank that is as good as the best one, within the error of their difference.

# %%
choice = jn.inference.choose_rank(
    recording.data,
    [1, 2],
    transfer=clipped,
    observation=jn.inference.Poisson(),
    learning_rates=(2e-2, 2e-3),
    num_particles=16,
    num_updates=140,
    key=jax.random.key(2),
    progress=False,
)
fit = choice.fit
for rank, bound, lack, error in zip(choice.ranks, choice.held_out_elbo, choice.lacks, choice.lacks_error, strict=True):
    print(f"rank {rank}: {bound:.3f} nats per count, {lack:.3f} ± {error:.3f} below the best")
known = jn.inference.smc(hidden, np.stack(recording.data)[fit.held_out], key=jax.random.key(0))
print(f"the hidden network itself: {known.log_likelihood.sum() / known.num_observed.sum():.3f}")

# %% [markdown]
# ## All that the network can do
#
# `fixed_points` visits every region of the plane of $z$ in which all units are on one of their lines, some thousand of
# them here, and solves a linear equation in each. No start can be forgotten.

# %%
found, true = fit.fixed_points(), jn.inference.fixed_points(hidden)
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.6))
for ax, model, points, title in ((axes[0], fit.model, found, "found"), (axes[1], hidden, true, "hidden")):
    span = 1.35 * np.abs(points.points).max()
    at = np.linspace(-span, span, 31)
    z = np.stack(np.meshgrid(at, at), -1)
    change = np.asarray(jax.vmap(jax.vmap(model.step))(z)) - z
    ax.streamplot(at, at, change[..., 0], change[..., 1], color="#bbbbbb", linewidth=0.7, arrowsize=0.7, density=0.9)
    for kind, color in ((points.stable, jn.plotting.GREEN), (~points.stable, jn.plotting.VERMILLION)):
        ax.plot(*points.points[kind].T, "o", color=color, ms=5)
    ax.set(xlabel="$z_1$", ylabel="$z_2$", title=f"{title}: {len(points.points)} points, {points.stable.sum()} stable")
plt.show()

# %% [markdown]
# Green: stable, vermillion: unstable. Four memories with saddles between them, around an unstable rest. The planes
# differ by a linear map, which no recording can tell: $z \to A z$ is the same network. What both say of the currents
# $m z$ of units can be compared, here at the four memories.

# %%
memories = [model.m @ points.points[points.stable].T for model, points in ((fit.model, found), (hidden, true))]
similar = np.corrcoef(np.asarray(memories[0]).T, np.asarray(memories[1]).T)[:4, 4:]
print("correlation of each found memory with the closest hidden one:", np.round(np.sort(similar.max(1)), 3))
trial = int(fit.held_out[0])
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.9))
for k, color in enumerate((jn.plotting.BLUE, jn.plotting.VERMILLION)):
    z, error = fit.filtered.latents[trial, :, k], fit.filtered.latents_error[trial, :, k]
    jn.plotting.estimates(bin_width * np.arange(60), z, left, error=error, color=color, style="-", label=f"$z_{k + 1}$")
left.set(xlabel="time (s)", ylabel="latent variables")
jn.plotting.legend(left)
new = fit.sample(20, 60, key=jax.random.key(3)).recording
lags = slice(1, 30)
for trials, style, label in ((np.stack(recording.data), "o", "data"), (np.asarray(new), "-", "the fitted network")):
    c = jn.observables.autocovariance(np.swapaxes(trials, 0, 1), bin_width)
    jn.plotting.estimates(c.lags[lags], c.values[lags], right, error=c.error[lags], style=style, label=label,
                          color=jn.plotting.BLUE if style == "o" else jn.plotting.VERMILLION)  # fmt: skip
right.set(xlabel="lag (s)", ylabel="autocovariance of counts")
jn.plotting.legend(right)
plt.show()
folder.cleanup()

# %% [markdown]
# Left: a trial that was not fitted, with two standard errors given its spikes. Right: counts of the recording, and of
# trials that the fitted network makes anew.
#
# ## Exercises
#
# 1. Turn the modes, `n = 0.36 * turn @ m.T / N` with a rotation by 1 rad: four memories become an oscillation. Which
#    multipliers does the rest have?
# 2. Hide every third count (`np.nan`), or record half of the units in each of two files: is the plane the same?
# 3. `jaxnets infer spikes.csv --bin-width .02 --ranks 1 2 3 --transfer "ReLU()"` does all of this for your file. What
#    is a third latent variable good for?
