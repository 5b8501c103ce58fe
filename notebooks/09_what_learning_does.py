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
# # What did learning do to the ensemble?
#
# A random network is drawn from an ensemble, whose law predicts the eigenvalues and the activity of all its networks.
# Training takes one of these networks and changes it. Is it still a network of the ensemble? And where training shapes
# the *law* of each weight, does the law still hold its networks? We train a rate network through its simulation, look
# at its couplings with the tools of the other notebooks before and after, and end with weights that are laws.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

N = 60
task = jn.learning.Sine(periods=(4.0, 8.0), duration=12.0)
ensemble = jn.couplings.IID(g=1.2)
J = ensemble.sample(N, key=jax.random.key(0))
start = jn.learning.RecurrentNetwork.gaussian(J, task.num_inputs, task.num_outputs, key=jax.random.key(1), dt=task.dt)


def loss(network, batch, key):
    trials = task.batch(key=key)
    return jn.learning.squared_error(jax.vmap(network)(trials.inputs), trials)


found = jn.learning.train(loss, start, optax.adam(3e-3), jnp.zeros(400), key=jax.random.key(2))
network = found.params
print("loss", found.losses[0], "->", found.losses[-1])

# %% [markdown]
# The network should play one of two sines, of period 4 or 8, when the level of its input says so, after a pulse. All is
# trained at once: couplings, weights from inputs and to outputs, and the state that it starts from. The simulation
# keeps few of its states for the slopes and computes the others twice.

# %%
trials = task.batch(key=jax.random.key(3))
outputs = jax.jit(lambda x: jax.vmap(network)(x))(trials.inputs)
times = task.dt * np.arange(1, task.num_steps + 1)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
left.semilogy(found.losses, color=jn.plotting.BLUE)
left.set(xlabel="step of training", ylabel="loss")
for k, color in enumerate((jn.plotting.BLUE, jn.plotting.VERMILLION)):
    label = "what it should play" if k == 0 else None
    jn.plotting.profile(times, trials.targets[k, :, 0], right, color=jn.plotting.BLACK, style="--", label=label)
    jn.plotting.profile(times, outputs[k, :, 0], right, color=color, label=f"period {task.periods[k]:g}")
right.set(xlabel="time (τ)", ylabel="output")
jn.plotting.legend(right)
plt.show()

# %% [markdown]
# ## Eigenvalues: the bulk stays, a few leave it
#
# The law of the ensemble says that the eigenvalues of $J$ fill a disk of radius $g$. Training moves all weights a
# little, and yet the disk is as full as before: to most eigenvalues the change is one more random matrix. A few have
# left. The singular values of the change tell the same story: it has few large ones, so that the trained network is
# its random start plus a few modes.

# %%
before, after = start.operator().dense(), network.operator().dense()
change = np.linalg.svd(np.asarray(after - before), compute_uv=False)
law = jn.spectra.law(ensemble)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
jn.plotting.eigenvalues(jn.spectra.eigenvalues(before), left, color=jn.plotting.BLACK, label="before")
jn.plotting.eigenvalues(jn.spectra.eigenvalues(after), left, color=jn.plotting.VERMILLION, label="after")
jn.plotting.boundary(law.boundary(128), left, label="law of the ensemble")
jn.plotting.legend(left)
jn.plotting.profile(np.arange(1, N + 1), change, right, color=jn.plotting.VERMILLION, style="o-")
right.set(xlabel="number", ylabel="singular value of the change", yscale="log")
plt.show()
for name, matrix in (("before", before), ("after", after)):
    share = jn.spectra.coverage(jn.spectra.eigenvalues(matrix), law.boundary(128), margin=0.1)
    print(f"{name}: g = {float(jnp.sqrt(jnp.sum(matrix**2) / N)):.3f}, outside the disk {share.outside:.3f}")
print("modes of the change (participation ratio):", np.sum(change**2) ** 2 / np.sum(change**4))

# %% [markdown]
# ## Activity: from rest to a limit cycle
#
# With a constant input the start comes to rest: all its Lyapunov exponents are negative. After training the same input
# keeps an orbit going that returns, for much longer than the 12 time constants of a trial. Its largest exponent is 0,
# along the orbit, all others are negative, and activity fills little more than the two dimensions of a circle. Its
# period is the one that was asked for only at first: beyond the trials nothing taught the network to keep it.

# %%
level = [jnp.array([size, 0.0]) for size in (0.5, 1.0)]  # without the pulse
for name, net in (("before", start), ("after", network)):
    for k in range(2):
        steady = net.network(input=level[k])
        x0 = 0.1 * jax.random.normal(jax.random.key(4), (2, N))
        run = jn.dynamics.simulate(steady, x0, duration=120.0, discard=60.0, dt=0.1, progress=False)
        spectrum = jn.dynamics.lyapunov_spectrum(
            steady, run.final[0], num_exponents=3, duration=100.0, dt=0.1, key=jax.random.key(5), progress=False
        )
        C = np.cov(np.asarray(run.rates[:, 0]).T)
        played = np.asarray(run.rates[:, 0] @ net.outputs[0])
        said = f"{name}, input {k + 1}: exponents {np.asarray(spectrum.exponents).round(2)}, "
        if np.trace(C) < 1e-6:
            print(said + "at rest")
            continue
        dimension, turns = np.trace(C) ** 2 / np.sum(C * C), np.sum(np.diff(np.sign(played - played.mean())) != 0)
        print(said + f"dimension PR {dimension:.2f}, period {2 * 60 / turns:.1f}")

# %% [markdown]
# ## Weights that are laws
#
# In a spike-and-slab network each weight has a law of its own: absent with a probability, else Gaussian. Training
# shapes these laws, on rows of digits here, so that the trained object *is* an ensemble. Its law of the spectrum takes
# the mean and the variance of each weight, and must hold the networks that are drawn from it.

# %%
data = jn.learning.digit_rows()
laws = jn.learning.SpikeSlabRNN.gaussian(8, 30, 10, key=jax.random.key(6), leak=0.5)
decayed = optax.adamw(5e-3, weight_decay=1e-4, mask=jn.learning.except_sparsity)


def reading(network, batch, key):
    keys = jax.random.split(key, len(batch))
    outputs = jax.vmap(lambda x, key: network(x, key=key)[-1])(data.train.inputs[batch], keys)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, data.train.labels[batch]).mean()


batches = jn.learning.minibatches(1347, 96, 10, key=jax.random.key(7))
trained = jn.learning.train(reading, laws, jn.learning.projected(decayed), batches, key=jax.random.key(8)).params
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
for ax, name, one in zip(axes, ("before", "after"), (laws, trained), strict=True):
    weights = one.recurrent
    draws = jax.vmap(lambda key, weights=weights: weights.draw(key=key))(jax.random.split(jax.random.key(9), 20))
    values, curves = jn.spectra.eigenvalues(draws), jn.spectra.law(weights).boundary(64)
    jn.plotting.eigenvalues(values, ax, label=name)
    jn.plotting.boundary(curves, ax, label="law")
    jn.plotting.legend(ax)
    share = float(jn.learning.accuracy(lambda x, one=one: one(x)[-1], data.test))
    print(f"{name}: accuracy {share:.3f}, outside {jn.spectra.coverage(values.ravel(), curves).outside:.3f}")
plt.show()

# %% [markdown]
# Before training every unit keeps its own rate, so that the eigenvalues lie in a disk around 1. Learning narrows the
# disk, as slabs lose variance, and draws a few eigenvalues out of it to the left. The law follows: what was learned is
# in the means and variances of single weights. One in twenty eigenvalues lies outside, as before: 30 units are few.
#
# ## Exercises
#
# 1. Start from `jn.couplings.RandomModes.flat(1.2, .2)`: training now moves modes, and their number is a wall. How many
#    does one sine need, and two?
# 2. `jn.learning.Signed(matrix)` keeps the signs of a network with excitatory and inhibitory units. What does training
#    do to the modes of the means?
# 3. `jaxnets learn multisensory` trains on two senses. Does the network judge both better than each alone?
