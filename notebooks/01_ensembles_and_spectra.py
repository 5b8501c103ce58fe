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
# # What can the eigenvalues of a network tell about how it was built?
#
# A network of $N$ rate units follows $\tau \dot x = -x + J \phi(x)$. Near $x = 0$ it is linear, and the eigenvalues
# $\lambda$ of $J$ decide everything: a mode grows or decays as $e^{(\lambda - 1) t / \tau}$ and turns with the
# frequency $\mathrm{Im}\,\lambda / 2\pi\tau$. Here $J$ is random but *structured*: it is one draw of an **ensemble**,
# a recipe for matrices of any size.
#
# An ensemble has two faces. `ensemble.sample(n, key=key)` is a matrix, and we can compute its eigenvalues. The
# R-transform of the ensemble tells where the eigenvalues lie for $N \to \infty$, and no matrix is ever formed. Below,
# points are always samples and lines always theory, so that each checks the other.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)  # theory wants double precision
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

ensembles = {
    "independent weights": jn.couplings.IID(g=1.0),
    "elliptic, symmetry 0.5": jn.couplings.Elliptic(g=1.0, symmetry=0.5),
    "modes with overlap 0.8": jn.couplings.RandomModes.flat(0.5**-0.5, load=0.5, overlap=0.8),
    "sequence of 0.5 N patterns": jn.couplings.DeepHebbian(load=0.5, hetero=(0.5**-0.5,)),
}
for name, ensemble in ensembles.items():
    print(f"{name:28s} N Var J = {ensemble.variance():.2f}   effective rank / N = {ensemble.effective_rank():.2f}")

# %% [markdown]
# ## One variance, four spectra
#
# All four have weights of variance $1/N$. From single synapses they are hard to tell apart; they differ in how weights
# go together:
#
# - *independent* weights have no structure at all,
# - *elliptic* ones correlate the two directions of a pair, $\mathrm{corr}(J_{ij}, J_{ji}) = 1/2$,
# - *modes* $J = L D R^\top / N$ have rank $N/2$, and a mode writes ($L$) a direction similar to the one it reads ($R$),
# - a *sequence* of random patterns $\xi^\mu$, where each calls its successor:
#   $J_{ij} = \frac{\gamma}{N} \sum_\mu \xi_i^{\mu+1} \xi_j^\mu$.
#
# For $N \to \infty$ two functions of a complex number $t$ say what an ensemble is, $r(t)$ and $\kappa(t)$: the two
# parts of its R-transform. The boundary of the spectrum is the image of a curve,
#
# $$ \kappa(t)\, |t|^2 = 1, \qquad z = \frac1t + r(t). $$
#
# Independent weights have $r = 0$, $\kappa = g^2$: the circle $|z| = g$.

# %%
keys = jax.random.split(jax.random.key(1), 4)
fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.4))
for ax, (name, ensemble) in zip(axes.flat, ensembles.items(), strict=True):
    J = jax.vmap(lambda key, ensemble=ensemble: ensemble.sample(300, key=key))(keys)
    jn.plotting.eigenvalues(jn.spectra.eigenvalues(J), ax)
    law = jn.spectra.law(ensemble)
    jn.plotting.boundary(law.boundary(), ax)
    ax.set(xlim=(-1.9, 3.5), ylim=(-1.9, 1.9))
    ax.set_title(f"{name}\n({law.zero_mass():.0%} exactly 0)", fontsize="medium")
    ax.label_outer()
plt.show()

# %% [markdown]
# Points: eigenvalues of four networks of 300 units; lines: boundary for $N \to \infty$. Positive correlation of
# $J_{ij}$ and $J_{ji}$ stretches the disc along the real axis. Overlapping modes push all that is not zero to the
# right, to growth without rotation. The sequence leaves a **void**: with fewer patterns than units its eigenvalues lie
# on a ring, and the others are exactly 0, because $J$ has no more independent directions than patterns. Edges, holes
# and zeros are traces of a structure that the variance of weights does not show.
#
# ## How many eigenvalues lie where?
#
# For the sequence the density depends on the radius alone, and the fraction $n$ of eigenvalues within the radius
# $|\lambda|$ is known in closed form, with the load $\alpha = P/N$:
# $|\lambda| = \gamma (2n - 1 + \alpha) \sqrt{n/(n + \alpha)}$. We integrate the density of the general theory over
# rings, and count in samples.

# %%
ensemble = ensembles["sequence of 0.5 N patterns"]
law = jn.spectra.law(ensemble)

edges = jnp.linspace(0, 1.9, 951)
radii = (edges[1:] + edges[:-1]) / 2
within = law.zero_mass() + jnp.cumsum(2 * jnp.pi * radii * law.density(radii + 0j) * jnp.diff(edges))
n = np.linspace(0.5, 1, 100)
closed_form = 0.5**-0.5 * (2 * n - 0.5) * np.sqrt(n / (n + 0.5))

J = jax.vmap(lambda key: ensemble.sample(300, key=key))(keys)
counted = np.sort(np.abs(jn.spectra.eigenvalues(J)).ravel())
ax = jn.plotting.profile(edges[1:], within, color=jn.plotting.VERMILLION, label="theory, density integrated")
jn.plotting.profile(closed_form, n, ax, color=jn.plotting.BLACK, style=":", label="theory, closed form")
shown = slice(10, None, 50)
share = np.arange(1, counted.size + 1) / counted.size
jn.plotting.profile(counted[shown], share[shown], ax, color=jn.plotting.BLUE, style="o", label="four networks, N = 300")
ax.set(xlabel="radius |λ|", ylabel="share of eigenvalues within", ylim=(0, 1.05))
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Half of all eigenvalues are 0, and then none come until the edge of the void, at $\gamma (1 - \alpha)^{3/2} = 0.5$.
#
# ## How much noise hides a sequence?
#
# Independent ensembles add: the sum has the sum of samples and the sum of R-transforms. We add independent weights of
# strength $g$ to the sequence.

# %%
noises = (0.1, 0.3, 0.5)
fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.5), sharey=True)
for ax, g in zip(axes, noises, strict=True):
    mixed = ensemble + jn.couplings.IID(g)
    jn.plotting.eigenvalues(jn.spectra.eigenvalues(mixed.sample(600, key=keys[0])), ax)
    jn.plotting.boundary(jn.spectra.law(mixed).boundary(), ax)
    ax.set_title(f"noise g = {g}", fontsize="medium")
    ax.label_outer()
plt.show()


@jax.jit
@jax.vmap
def within_radii(g):
    density = jn.spectra.law(ensemble + jn.couplings.IID(g)).density(radii + 0j)
    return jnp.cumsum(2 * jnp.pi * radii * density * jnp.diff(edges))


fig, ax = plt.subplots(figsize=(5.6, 3.2))
shades = jn.plotting.shades(3, jn.plotting.WARM)
for g, theory, color in zip(noises, within_radii(jnp.array(noises)), shades, strict=True):
    J = jax.vmap(lambda key, g=g: (ensemble + jn.couplings.IID(g)).sample(300, key=key))(keys)
    counted = np.sort(np.abs(jn.spectra.eigenvalues(J)).ravel())
    jn.plotting.profile(edges[1:], theory, ax, color=color, label=f"g = {g}")
    jn.plotting.profile(counted[shown], share[shown], ax, color=color, style="o")
ax.set(xlabel="radius |λ|", ylabel="share of eigenvalues within\n(points: samples)", ylim=(0, 1.05))
jn.plotting.legend(ax, num_columns=3)
plt.show()

# %% [markdown]
# Noise spreads the zeros over a disc, and the ring thickens. A plateau of the count is a void, a range of radii without
# eigenvalues. The plateau shortens and is gone before $g = 0.5$, when disc and ring have met. From then on the spectrum
# is one disc, as for independent weights, and only its uneven density still tells of the sequence.
#
# ## One eigenvalue alone
#
# A few modes, however many units there are, leave the bulk of the spectrum as it is, and add **outliers**. Let $m$ be
# the overlap between the direction that a mode reads and the direction that it writes. The mode has an outlier at $m$
# if $m$ lies outside the bulk, and none if $m$ lies inside.

# %%
mixed = jn.couplings.IID(0.8) + jn.couplings.LowRank(np.array([[1.2, -0.9], [0.9, 1.2]])) + jn.couplings.LowRank(0.5)
J = jax.vmap(lambda key: mixed.sample(400, key=key))(keys)
fig, ax = plt.subplots(figsize=(4.6, 4.2))
jn.plotting.eigenvalues(jn.spectra.eigenvalues(J), ax, label="four networks, N = 400")
jn.plotting.boundary(jn.spectra.law(mixed).boundary(), ax, label="boundary of the bulk")
isolated = jn.spectra.outliers(mixed).values
jn.plotting.marks(isolated[jnp.isfinite(isolated)], ax, label="outliers in theory")
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# A pair of modes that call each other gives two outliers that turn; the third mode, with $m = 0.5$, is swallowed by the
# bulk. Outliers scatter by order $1/\sqrt N$.
#
# ## Exercises
#
# 1. Give the sequence a window of two steps, `hetero=(0.5, 0.5)`, at load 0.3. How many voids are there now, and why?
# 2. Draw the boundary of `RandomModes.flat(..., overlap=0.8)` for rising loads at fixed variance. Towards which
#    ensemble does it go?
# 3. Multiply the columns of $J$ by gains $\phi'(x_j)$ with `law(ensemble, gains=jn.transfer.Tanh(), variance=1.0)`. By
#    how much does the right edge fall, and why does activity stabilise a network?
#
# Next: [when such a network starts to fluctuate by itself](02_transition_to_chaos.ipynb).
