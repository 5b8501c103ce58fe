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
# # What do excitation and inhibition change?
#
# Neurons of a cortex are excitatory or inhibitory: all that one neuron sends has one sign (Dale's law). Connections are
# sparse, inhibitory neurons are fewer, and their synapses stronger and slower. A **cell type** is a group of units with
# statistics of their own: from type $b$ to type $a$ a connection exists with probability $p_{ab}$, and all weights, the
# missing ones included, have a mean and a variance,
#
# $$ N\, \mathrm{E} J_{ij} = M_{ab}, \qquad N\, \mathrm{Var} J_{ij} = g_{ab}^2. $$
#
# We build such networks, look at their eigenvalues and their activity, and end at the types of a real connectome.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

N, tanh = 800, jn.transfer.Tanh()
# 80 % excitatory units, one connection in ten, inhibitory weights six times as strong and of the other sign.
weights = 0.075 * np.array([[1.0, -6.0], [1.0, -6.0]])
types = jn.couplings.CellTypes.from_weights([0.8, 0.2], weights, size=N, probability=0.1, spread=0.5)
labels = types.labels(N)
tau = np.array([1.0, 2.5])  # time constants of E and I
J = types.sample(N, key=jax.random.key(0)).dense()
print("means M\n", types.means.round(1), "\nstrengths g\n", types.g.round(2))

# %% [markdown]
# ## Eigenvalues: a bulk, and modes of the means
#
# Close to rest activity obeys $\dot x = A x$ with $A = \mathrm{diag}(1/\tau_i)(-1 + J)$. Two parts of its spectrum have
# two causes. The **bulk** comes from the random part of the weights, and does not know the means. The means are strong,
# since all weights of a column have one sign: they act as one small network of two units, E and I, whose eigenvalues
# stand beside the bulk. Slow inhibition answers excitation late, and such a mode turns: its eigenvalues are complex.

# %%
law = jn.spectra.law(types, tau=tau)
found = jn.spectra.outliers(types, tau=tau).values
values = np.linalg.eigvals((np.asarray(J) - np.eye(N)) / tau[labels][:, None])

ax = jn.plotting.eigenvalues(values, label="eigenvalues of one network")
jn.plotting.boundary(law.boundary(128), ax, label="theory: bulk")
jn.plotting.marks(found[jnp.isfinite(found)], ax, label="theory: modes of the means")
ax.axvline(0, color=jn.plotting.BLACK, lw=0.6)
jn.plotting.legend(ax)
plt.show()
print(f"theory: {found[jnp.argmax(found.imag)]:.3f}, network: {values[np.argmax(values.imag)]:.3f}")

# %% [markdown]
# One network of 800 units. The boundary of the bulk and the pair of modes come from a few numbers: shares, means,
# strengths and time constants. The network's pair is not exactly at its place: the means are so strong that chance
# moves it by some 15 %. Both lie beyond the line at 0, so that rest is unstable twice: against fluctuations of single
# units, and against an oscillation of all.
#
# ## Activity: each type has its own
#
# Mean field has one autocovariance for each type, since a unit hears all types with the weights of its own. Without
# means and with one time constant it would be the theory of [the notebook on chaos](02_transition_to_chaos.ipynb).

# %%
fast, scales = [1.0, 1.0], (1.5, 2.0, 2.5, 3.0)
types_g = jn.couplings.CellTypes([0.8, 0.2], [[0.9, 2.6], [0.6, 1.2]], means=[[4.0, -16.0], [5.0, -16.0]])
states = [jn.meanfield.stationary(s * types_g, tanh, tau=fast) for s in scales]
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))
K = types_g.sample(N, key=jax.random.key(1)).dense()
start = jax.random.normal(jax.random.key(2), (4, N))
for s, state in zip(scales, states, strict=True):
    net = jn.dynamics.RateNetwork(s * K, tanh)
    run = jn.dynamics.simulate(net, start, duration=150.0, discard=50.0, dt=0.1, save_every=5, progress=False)
    for k, color in enumerate((jn.plotting.VERMILLION, jn.plotting.BLUE)):
        of_type = run.states[:, :, labels == k]
        left.plot(s, jnp.mean(of_type**2), "o", color=color, mfc="none")
        if s == scales[-1]:
            measured = jn.observables.autocovariance(of_type, run.interval, max_lag=8.0, centre=False)
            jn.plotting.autocovariance(measured.lags[::2], measured.values[::2], right, color=color, style="o")
            shown = state.lags < 8
            jn.plotting.autocovariance(state.lags[shown], state.c_x[k][shown], right, color=color, label="EI"[k])
for k, color in enumerate((jn.plotting.VERMILLION, jn.plotting.BLUE)):
    left.plot(scales, [state.variance[k] for state in states], color=color)
left.set(xlabel="scale of the weights", ylabel="variance of x", ylim=(0, None))
right.set(xlabel="lag (τ)", ylabel="autocovariance of x")
jn.plotting.legend(right)
plt.show()

# %% [markdown]
# Points: one network at four scales of its weights. Lines: theory for $N \to \infty$. Excitatory units fluctuate more
# than inhibitory ones, though all units are alike: they receive stronger weights from the inhibitory ones. The network
# forgets more slowly than theory says, because 800 units fluctuate in a dozen directions: the next number is small.
# What would a theory without types say? It knows the mean strength only.

# %%
g = float(jnp.sqrt(types_g.variance()))
print("onset of chaos, at the scale", float(jn.meanfield.chaos_onset(types_g, tanh).value), "and without types", 1 / g)
state = states[1]
for name, ensemble in (("types", state), ("one type", jn.meanfield.stationary(jn.couplings.IID(2 * g), tanh))):
    dimension = jn.population.dimension(ensemble)
    print(f"{name}: dimension of the rates PR / N = {float(dimension.phi):.4f}")

# %% [markdown]
# The onset follows from the feedback of fluctuations through types, the largest eigenvalue of $g_{ab}^2 f_b$, and not
# from the mean of all $g_{ab}^2$: between the two scales the network rests, and independent weights of the same
# variance would fluctuate. Beyond, activity fills fewer directions than without types.
#
# ## The types of a connectome
#
# In the mushroom body of a fly larva every synapse and the type of every neuron is known: projection neurons (P) bring
# smells to Kenyon cells (K), which speak to output (O) and modulatory (I) neurons. How much of the circuit is in its
# types? `weight_statistics` measures them, and `null_models` draws networks that keep them and nothing else, or that
# also keep how much neurons send and receive.

# %%
larva, other = (jn.couplings.larva_connectome(side) for side in ("left", "right"))
kinds = jn.couplings.larva_types("left")
print(jn.couplings.weight_statistics(larva, kinds))
models = jn.fitting.null_models(larva, kinds)
del models["types, modes"], models["types, modes, overlaps"]
key = jax.random.key(0)
scores = jn.fitting.score_models(models, {"left": larva}, key=key, num_samples=24, progress=False)

edge = scores.observables.index("right edge")
fig, ax = plt.subplots(figsize=(5.6, 2.6))
for m in range(len(scores.models)):
    ax.errorbar(m, scores.predicted[0, m, edge], 2 * scores.scatter[0, m, edge], fmt="o", color=jn.plotting.VERMILLION)
jn.plotting.profile([-0.4, 2.4], 2 * [scores.measured[0, edge]], ax, color=jn.plotting.BLUE, label="left")
right_side = jn.fitting.of_spectrum(other)["right edge"]
jn.plotting.profile([-0.4, 2.4], 2 * [right_side], ax, color=jn.plotting.BLACK, style="--", label="right")
ax.set(xticks=range(3), xlabel="what networks keep of the left side", ylabel="largest eigenvalue", ylim=(90, 185))
ax.set_xticklabels(scores.models)
jn.plotting.legend(ax, num_columns=2)
plt.show()

# %% [markdown]
# Points: networks drawn from numbers of the left side, with two standard deviations. Types alone do not explain the
# largest eigenvalue. With the degrees of neurons it is there: Kenyon cells that receive much also send much (`chain`),
# and so a signal that comes back is larger than types tell. The right side has more synapses in its loops.
#
# ## Exercises
#
# 1. Make inhibition slower (`tau = [1, 8]`) and follow the modes of the means: when does rest end in an oscillation?
# 2. `print(states[3])` shows the growth rates of the means in the fluctuating state. What does `phase` say if the means
#    of `types_g` are three times as strong, with slow inhibition?
# 3. Put your own matrix and types in: `jn.couplings.read_matrix`, `jn.couplings.read_types`.
