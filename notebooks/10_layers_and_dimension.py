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
# # What do weakly correlated synapses do to the dimension of a deep network?
#
# Each layer of a deep network sees the activity of the one before, $h' = \phi(W h + b)$. Over many inputs the activity
# of a layer has a covariance $C$, and the dimension $\mathrm{PR} / N = (\mathrm{tr}\, C)^2 / (N\, \mathrm{tr}\, C^2)$.
# Two weights from one unit have the correlation $r / \sqrt N$: far too weak to be seen in a pair, and yet they change
# the dimension as much as depth does. For many units theory needs four numbers for each layer.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

TANH, N, NETWORKS, DEPTH = jn.transfer.Tanh(), 300, 4, 5
layer = np.arange(1, DEPTH + 1)


def closures(layers):
    """Covariances in sampled networks over white inputs, without noise of samples."""
    sample = lambda key: layers.sample(N, DEPTH, key=key, binary=True).closure()
    return [sample(key) for key in jax.random.split(jax.random.key(0), NETWORKS)]


fig, ax = plt.subplots(figsize=(5, 3))
networks = {}
for k, r in enumerate((0.0, 0.5, 1.0)):
    layers = jn.layers.Layers(TANH, g=1.5, r=r)
    networks[r] = closures(layers)
    ax.plot(layer, layers.recursion(DEPTH).dimension, color=f"C{k}", label=f"r = {r}")
    measured = np.array([one.statistics.dimension for one in networks[r]])
    ax.errorbar(layer, measured.mean(0), 2 * measured.std(0) / NETWORKS**0.5, fmt="o", mfc="none", color=f"C{k}")
ax.set(xlabel="layer", ylabel="dimension PR / N", ylim=(0, 0.6), xticks=layer)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Lines are theory for $N \to \infty$, and points four networks of 300 units. Where did the dimension go? Into a few
# directions: each layer makes one eigenvalue of order $\sqrt N$, and those of the layers before go on. Marks are the
# eigenvalues of one network, which scatter about theory.

# %%
fig, ax = plt.subplots(figsize=(5, 3))
law = jn.layers.Layers(TANH, g=1.5, r=1.0)
outliers = law.outliers(N, DEPTH)
for l in range(3):
    values = np.linalg.eigvalsh(np.asarray(networks[1.0][0].covariances[l]))
    ax.plot(values, np.full(N, l + 1), "k|", ms=8)
    ax.plot(outliers[l, : l + 1], np.full(l + 1, l + 1) + 0.25, "v", color="C3", label="theory" if l == 0 else None)
ax.set(xlabel="eigenvalue of C", ylabel="layer", yticks=[1, 2, 3], ylim=(0.5, 3.6))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Is depth always the end of signals? Two inputs come together (order) or part (chaos), and the number of layers that
# this takes diverges at the edge between the two. It is the same recursion, without correlations.

# %%
bias = 0.3
edge = jn.layers.edge_of_chaos(TANH, bias).value
gs = jnp.linspace(1.0, 2.0, 81)
signals = jax.vmap(lambda g: jn.layers.Layers(TANH, g, bias=bias).propagation())(gs)
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
left.plot(gs, signals.correlation, "C0")
right.semilogy(gs, signals.correlation_depth, "C1")
for ax, name in ((left, "correlation of two signals, far down"), (right, "layers that this takes")):
    ax.axvline(edge, color="k", ls=":")
    ax.set(xlabel="strength g", ylabel=name)
plt.show()
print(f"edge of chaos at g = {edge:.4f}")

# %% [markdown]
# And gradients? The Jacobian of the network is a product of weights and slopes, free of each other, so that it is an
# ensemble like any other (`couplings.Product`). Its singular values say how much errors grow on their way down: shares
# above a scale, of networks with Gaussian and with orthogonal weights.

# %%
scales, depth = np.geomspace(0.01, 10, 40), 8
deep = jn.layers.Layers(TANH, g=1.1)
fig, ax = plt.subplots(figsize=(5, 3))
for k, orthogonal in enumerate((False, True)):
    jacobian = deep.jacobian(depth, orthogonal=orthogonal)
    name = "orthogonal weights" if orthogonal else "Gaussian weights"
    ax.semilogx(scales, jn.spectra.singular_profile(jacobian, scales).counts, color=f"C{k}", label=name)
network = deep.sample(N, depth, key=jax.random.key(1))
x = jax.random.normal(jax.random.key(2), (N,))
values = np.linalg.svd(jax.jacfwd(lambda x: network(x)[-1])(x), compute_uv=False)
sampled = jn.spectra.observed_singular_profile(values, np.zeros(N), N, scales[::3])
ax.semilogx(sampled.scales, sampled.counts, "o", mfc="none", color="C0")
ax.set(xlabel="scale", ylabel="share of singular values above", ylim=(0, 1))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# A last lesson, of weights rather than activity. All binary weights of 15 inputs that solve a small perceptron are
# counted, and the pairwise (Ising) model with the same means and correlations is fitted to them. Half of the solutions
# stand alone: no other one differs in a single weight. The fit cannot say so. It gives every configuration a weight,
# and sees neighbours everywhere; two fifths of its weight are on configurations that solve nothing.

# %%
patterns = np.sign(np.random.default_rng(3).standard_normal((8, 15)))
solved = jn.learning.solutions(patterns).weights
fit = jn.learning.maximum_entropy(solved.mean(0), solved.T @ solved / len(solved), shrinkage=0.1)
signs = 2 * (np.arange(2**15)[:, None] >> np.arange(15) & 1) - 1  # all configurations
energy = np.einsum("si,ij,sj->s", signs, np.asarray(fit.model.J) / 2, signs) + signs @ np.asarray(fit.model.h)
solves = np.all(patterns @ signs.T > 0, axis=0)
places = np.flatnonzero(solves)
beside = places[:, None] ^ 2 ** np.arange(15)  # the 15 configurations next to each solution
fig, ax = plt.subplots(figsize=(5, 3))
for weights, name, color in ((solves, "solutions", "C0"), (np.exp(energy), "pairwise fit", "C1")):
    near = weights[beside].sum(1)
    share = np.sort(near / (near + weights[places]))
    ax.plot(np.arange(1, len(places) + 1), share, "o", mfc="none", color=color, label=name)
ax.set(xlabel="solution, in order", ylabel="weight of its neighbours", ylim=(-0.05, 1))
ax.legend(frameon=False)
plt.show()
alone = np.sum(jn.learning.clusters(solved).sizes == 1)
known = np.exp(energy)[solves].sum() / np.exp(energy).sum()
print(f"{len(places)} solutions, {alone} of them alone; the fit gives the solutions a weight of {known:.2f}")
