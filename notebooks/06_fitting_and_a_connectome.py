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
# # Which ensemble made this recording, and what is the larva's connectome like?
#
# So far we chose an ensemble and asked what its networks do. Data ask the other way round. We go back twice: from the
# **activity** of part of a network to the strength and the effective rank of its couplings, which nobody measured; and
# from the **couplings** of a real circuit, of which there is one, to the ensemble that it might be a sample of. In both
# the point is not only the best value but its error: how well can the data know?

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

# Ground truth: 800 units with tau = 20 ms, random modes with g = 4 and PR^D = 1/2.
key_network, key_start, key_units, key_noise = jax.random.split(jax.random.key(0), 4)
truth = jn.couplings.RandomModes.of_rank(4.0, 0.5)
net = jn.dynamics.RateNetwork(truth.sample(800, key=key_network, dtype=jnp.float32), jn.transfer.Tanh())
start = jax.random.normal(key_start, (800,), jnp.float32)
run = jn.dynamics.simulate(net, start, duration=600.0, discard=100.0, dt=0.125, save_every=4, progress=False)

units = jax.random.choice(key_units, 800, (300,), replace=False)
recording = run.rates[:, units] + 0.3 * jax.random.normal(key_noise, (len(run.times), 300))
recording.shape, f"{10 * len(run.times) / 1000:.0f} s"

# %% [markdown]
# ## From a recording to the network
#
# We recorded the rates of 300 of 800 units every 10 ms (half of $\tau$), for ten seconds, and with measurement noise.
# Two things are known of such a network (see [the notebook on dimension](03_dimension_of_activity.ipynb)): the mean
# autocovariance of units is a function of $g$, stretched by $\tau$; and given those, the squared covariances of pairs
# are linear in $1/\mathrm{PR}^D$. `fit_recording` uses both, and finds the noise, which is in the variances and nowhere
# else.

# %%
found = jn.fitting.fit_recording(recording, 10.0, population_size=800)

ax = jn.plotting.autocovariance(found.curve_lags, found.curve, color=jn.plotting.VERMILLION, label="theory, fitted")
lags, values, errors = (np.asarray(a)[1:] for a in (found.lags, found.measured, found.measured_error))
jn.plotting.autocovariance(lags, values, ax, error=errors, style="o", label="recording, ± 2 standard errors")
ax.set(xlabel="lag (ms)", ylabel="autocovariance of rates", xlim=(0, 1.05 * lags[-1]))
jn.plotting.legend(ax, num_columns=2)
plt.show()

rows = {
    "strength g": (found.g, found.g_error, 4.0),
    "time constant (ms)": (found.time_constant, found.time_constant_error, 20.0),
    "1 / PR^D": (found.inverse_rank, found.inverse_rank_error, 2.0),
    "noise / variance": (found.noise, found.noise_error, 0.09 / float(jnp.mean(recording**2))),
}
for name, (value, error, true) in rows.items():
    print(f"{name:20s} {value:7.3f} ± {error:5.3f}   (true: {true:.3f})")

# %% [markdown]
# The strength, the time constant and the noise are found to within their errors, from units alone. The effective rank
# comes from small covariances of pairs, and its error is large: one network of 800 units is one sample of the ensemble,
# and differs from the next. That part of the error would not shrink in a longer recording, only in a larger network.
#
# ## A real connectome
#
# The mushroom body of the fruit fly larva, where smells are learnt, has about 200 neurons on each side, and every
# synapse between them has been counted (Eichler et al. 2017). $J_{ij}$ is the number of synapses from $j$ to $i$. There
# is one such matrix on the left, and another, made by the same genes, on the right. We fit families of ensembles to the
# left and test them on the right:
#
# - independent weights,
# - Gaussian modes whose amplitudes fall exponentially with their rank, with an overlap $\rho$ of the patterns that they
#   read and write.
#
# The mean of counts is one mode that stands far apart, and `num_leading=1` keeps it so.

# %%
left, right = jn.couplings.larva_connectome("left"), jn.couplings.larva_connectome("right")
families = [
    jn.fitting.Independent(),
    jn.fitting.GaussianModes(jn.fitting.Exponential(), jn.fitting.ConstantOverlap()),
]
fit = jn.fitting.fit_connectome(left, families, key=jax.random.key(0), num_leading=1, num_replicates=32, progress=False)
print(fit.table())
print()
print(jn.fitting.held_out(fit, right, free_g=True).table())

# %% [markdown]
# The first table is of the left side. `misfit` is how many singular values are out of place at any scale: with modes
# about one, with independent weights many. The second table is of the right side, which no parameter has seen (but for
# the overall number of synapses, which differs between sides): `counts` are singular values out of place, `overlaps`
# the same for the overlaps of modes. The modes fitted to one side describe the other.
#
# ## What the fit compares
#
# Singular values $s_a$ of $J$ and overlaps $o_a = u_a \cdot v_a$ of their vectors are counted softly at a scale $\eta$,
#
# $$ N C(\eta) = \sum_a \frac{s_a^2}{s_a^2 + \eta^2}, \qquad
#    N Q(\eta) = \sum_a \frac{\eta\, s_a\, o_a}{s_a^2 + \eta^2}, $$
#
# since theory knows these sums for every ensemble, and they scatter little between samples.

# %%
scales = jnp.geomspace(2.0, 150.0, 40)
styles = {"modes": (fit.fits[0], "-"), "independent": (fit.fits[1], "--")}
fig, (above, below) = plt.subplots(2, 1, figsize=(5.6, 5.2), sharex=True)
for name, (family, style) in styles.items():
    theory = jn.spectra.singular_profile(family.ensemble(), scales)
    label = f"theory, {name}"
    jn.plotting.profile(scales, 209 * theory.counts, above, color=jn.plotting.VERMILLION, style=style, label=label)
    jn.plotting.profile(scales, 209 * theory.overlaps, below, color=jn.plotting.VERMILLION, style=style)
for name, matrix, style in (("left", left, "o"), ("right", right, "^")):
    n, some = len(matrix), scales[::3]
    u, s, vt = jnp.linalg.svd(matrix)
    s, overlaps = s[1:], jnp.sum(u * vt.T, axis=0)[1:]  # without the mode of the mean
    factor = jnp.sqrt(jnp.sum(s**2) / n) / fit.best.measured.g  # the number of synapses
    data = jn.spectra.observed_singular_profile(s / factor, overlaps, n, some)
    color = jn.plotting.BLUE if name == "left" else jn.plotting.BLACK
    jn.plotting.profile(some, 209 * data.counts, above, color=color, style=style, label=f"larva, {name}")
    jn.plotting.profile(some, 209 * data.overlaps, below, color=color, style=style)
above.set(xlabel="", ylabel="singular values\nabove η (soft)", xscale="log")
below.set(xlabel="scale η (synapses)", ylabel="overlap near η (soft)", xscale="log")
jn.plotting.legend(above)
plt.show()

# %% [markdown]
# Points: the connectome, the right side scaled to the left one's size and number of synapses; lines: theory. Above, two
# parameters, the strength and the decay of amplitudes, carry the modes through the points of both sides over two
# decades. Independent weights have too few large singular values, for all their variance must come from equal entries.
# Below, overlaps are negative on both sides, and of one shape: what a mode reads is unlike what it writes, as where
# neurons that receive much send little. A constant overlap has the right size, though not quite the right scale: a
# reason to try the next family. (Counts of synapses have no sign. Whether a synapse excites or inhibits is not in these
# data.)
#
# ## Exercises
#
# 1. Fit the recording without `population_size`. What can still be said of the rank, and why not more? (`found.notes`,
#    `found.fewest_modes`.)
# 2. Leave `families` out: the fit then compares thirteen of them. Which is the best, and how far are the next?
# 3. `jn.fitting.predict(fit.best, lambda e: jn.spectra.law(e.terms[0]).right_edge())` gives the right edge of the bulk
#    with its error. Compare it with the eigenvalues of the matrix itself.
#
# Next: [thousands of such computations](07_a_sweep.ipynb).
