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
# # Which activity patterns can a network of threshold units hold, and who forbids the others?
#
# Units that are either on or off, $h_i = H(x_i)$, make a network whose dynamics can be solved exactly:
#
# $$ \dot x = -x + J H(x), \qquad H(x) = 1 \text{ for } x > 0, \text{ else } 0. $$
#
# As long as no unit crosses 0, $x$ relaxes to $f = J s$, where $s$ is the present pattern of 0 and 1. So $s$ stays for
# ever if and only if $f$ has the signs that $s$ asks for,
#
# $$ (2 s_i - 1) \sum_j J_{ij} s_j > 0 \quad \text{for all } i. $$
#
# These are linear inequalities for the weights $J_{ij}$ onto each unit, one for each pattern: a **linear programme**
# per unit finds the weights, or proves that there are none. Diagonals are 0 throughout: a unit that may excite itself
# holds anything.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import comb

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

rng = np.random.default_rng(5)
wanted = rng.integers(0, 2, (6, 12))  # six patterns of twelve units
storage = jn.learning.store_widest(wanted, progress=False)  # smallest weights with drives of at least 1
held = jn.multistability.stable_patterns(storage.weights)
print(f"all {len(wanted)} stored: {storage.stored};  stable patterns in all: {len(held.patterns)} ({held.reason})")

# %% [markdown]
# ## More than was asked for
#
# The network holds the six patterns, and some that nobody asked for. Are those as good? We start from random states,
# follow the exact flow, and count where it ends; and from each stable pattern we flip one unit after the other and
# watch whether the network comes back.

# %%
graph = jn.multistability.state_graph(storage.weights, patterns=held.patterns, num_starts=2000, key=jax.random.key(0))
stable = graph.activities[: graph.num_stable] > 0.5
stored = np.array([np.any(np.all(s == wanted, axis=1)) for s in stable])
order = np.lexsort([-graph.shares[: graph.num_stable], ~stored])
names = [str(k + 1) for k in range(len(order))]
colors = [jn.plotting.BLUE if stored[k] else jn.plotting.VERMILLION for k in order]

fig, (above, below) = plt.subplots(2, 1, figsize=(5.6, 6.4), height_ratios=(1, 1.5))
jn.plotting.patterns(stable[order], names, above)
for tick, color in zip(above.get_xticklabels(), colors, strict=True):
    tick.set_color(color)
above.set(xlabel="stable pattern (blue: stored, red: not asked for)", yticks=[1, 4, 8, 12])
edges = graph.edges[:, : graph.num_stable][np.ix_(order, order)]
jn.plotting.graph(graph.shares[order], edges, names, below, colors=colors)
plt.show()

returns = np.diag(edges)
print(
    f"flips that return, of 12: stored {returns[stored[order]].mean():.1f}, others {returns[~stored[order]].mean():.1f}"
)
print(
    f"share of random starts: stored {graph.shares[order][stored[order]].sum():.3f}, stable in all "
    f"{graph.shares[order].sum():.3f}"
)

# %% [markdown]
# Above: the patterns, black is on. Below: areas of discs are shares of random starts, arrows lead from a pattern to
# where the flip of one unit may take it (wider if more units do). The
# stored patterns come back from every flip, because they have a margin; the others lie between them, and give way to a
# few flips. Yet a quarter of random starts ends there: a network with memories has more states than memories.
#
# ## Who forbids a pattern?
#
# Let four patterns obey $s^1 + s^2 = s^3 + s^4$ on the units that send to unit $i$. Then so do the drives of unit $i$,
# whatever the weights. If it is on in the first two its drive there is positive, and it cannot be off in both others.
# Any such identity, with non-negative coefficients, forbids something, and by Gordan's theorem nothing else forbids:
# either there are weights, or there is such a certificate.

# %%
s1, s2, s3 = [1, 1, 0, 0, 1], [0, 0, 1, 1, 1], [1, 0, 1, 0, 0]
s4 = [0, 1, 0, 1, 0]  # s1 + s2 = s3 + s4 on the first four units
found = jn.multistability.compatibility([s1, s2, s3], s4, progress=False)
for unit in np.flatnonzero(~found.allowed):
    state = s4[unit]
    certificate = (found.on_certificates if state else found.off_certificates)[unit]
    print(f"unit {unit} may not be {'on' if state else 'off'} in the candidate, pattern 3, by the certificate")
    print(f"    patterns {certificate.patterns}, weights {certificate.weights}")
    print("   ", jn.learning.explain(certificate, np.array([s1, s2, s3, s4]), unit))

# %% [markdown]
# A certificate is a proof that can be checked by hand: mixed with these whole numbers, the conditions on the weights
# contradict each other. It says *which* patterns are in conflict, and at which unit.
#
# ## How many patterns fit?
#
# Patterns with random states are $K$ random dichotomies of points in as many dimensions as a unit has inputs, $n$.
# Cover (1965) counted those that a plane can separate: for points in general position the chance is
#
# $$ P(K, n) = 2^{1 - K} \sum_{k=0}^{n - 1} \binom{K - 1}{k}, $$
#
# which falls from 1 to 0 near $K = 2n$, the sharper the larger $n$. If the sign of every weight is given beforehand, as
# when neurons are excitatory or inhibitory (Dale's law), the limit for $n \to \infty$ is $K = n$ (Amit, Wong & Campbell
# 1989): a sign costs as much as half of the weights.

# %%
n, trials = 40, 40
lower, upper = np.full(n, -1.0), np.full(n, 1.0)
excitatory = np.arange(n) % 2 == 0
cases = {
    "any signs": (lower, upper, jn.plotting.BLUE, "o"),
    "Dale's law": (np.where(excitatory, 0.0, lower), np.where(excitatory, upper, 0.0), jn.plotting.GREEN, "s"),
}


def feasible(K, lower, upper):
    """Whether a unit can be on and off as it is told in K patterns of its inputs, half of them active."""
    drives = rng.choice([-1, 1], (K, 1)) * rng.integers(0, 2, (K, n))
    return jn.learning.largest_margin(drives, lower, upper).margin > 1e-9


K = np.arange(1, 121)
cover = np.array([np.sum(comb(k - 1, np.arange(n))) * 2.0 ** (1 - k) for k in K])
fig, ax = plt.subplots(figsize=(5.6, 3.2))
jn.plotting.profile(K / n, cover, ax, color=jn.plotting.VERMILLION, label="any signs (Cover)")
jn.plotting.level(1.0, ax, color=jn.plotting.BLACK, style=":", label="Dale's law, n → ∞")
for name, (low, high, color, marker) in cases.items():
    numbers = np.arange(20, 121, 10) if name == "any signs" else np.arange(12, 73, 6)
    share = [np.mean([feasible(k, low, high) for _ in range(trials)]) for k in numbers]
    jn.plotting.profile(numbers / n, np.array(share), ax, color=color, style=marker, label=f"{name}, {trials} units")
ax.set(xlabel="patterns per input K / n", ylabel="share of units that can", ylim=(-0.05, 1.05))
jn.plotting.legend(ax, num_columns=2)
plt.show()

# %% [markdown]
# Points: shares of forty units with forty inputs each. Without signs they follow Cover's count, a curve without a free
# parameter; with signs half as many patterns fit. A whole network holds what its poorest unit can, so that it fails
# earlier than a typical unit.
#
# ## Exercises
#
# 1. Add noise to the weights that `store_widest` found. How large may it be until a pattern is lost, compared with the
#    drive of 1 that was asked for? Try `store(..., weight_noise=...)`, which is safe by construction.
# 2. Let every weight be excitatory, `signs=np.ones(n)`. Which patterns are left? What do `check_topology` and a free
#    threshold, `bias=jn.learning.FREE`, say to that?
# 3. Draw symmetric weights at random, and count stable patterns. Their mean number is $1 - 2^{-N}$, for all $N$.
#
# Next: [fitting ensembles to data](06_fitting_and_a_connectome.ipynb).
