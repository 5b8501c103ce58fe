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
# # How do I compute a phase diagram that survives the machine?
#
# A phase diagram is one computation at many points. On a laptop the lid closes, on a cluster the time runs out, and the
# more points there are the more surely something fails. A **sweep** of jaxnets is described by a few lines of text,
# writes its results as it goes, and goes on from the results that are there. Numbers do not depend on how often it was
# stopped: the random key of a point is made from its index, and nothing else.
#
# The question here: over the strength $g$ of random modes and the overlap $\rho$ of the directions that they read and
# write, where is a network at rest, and where is it chaotic? We ask for the largest Lyapunov exponent, per $\tau$, of
# two networks at each point.

# %%
import signal
import tempfile
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxnets as jn

jax.config.update("jax_enable_x64", True)
plt.rc("axes.spines", top=False, right=False)
plt.rc("figure.constrained_layout", use=True)

description = """
function = "jaxnets.computations:lyapunov"  # any function of one point, as "module:name"
realisations = 2                            # each point with so many keys
batch = 16                                  # points in one call
chunk = 16                                  # points in one file

[axes]
overlap = {linspace = [-0.4, 0.4, 9]}
g = {logspace = [0.4, 4.0, 8]}

[fixed]
ensemble = "RandomModes.of_rank(g, 0.5, overlap=overlap)"
n = 200
duration = 120.0
discard = 40.0
dt = 0.1
"""
sweep = jn.sweeps.parse(description)
folder = Path(tempfile.mkdtemp()) / "chaos"

# %% [markdown]
# In daily life the description is a file, `chaos.toml`, and `jaxnets sweep run chaos.toml` runs it in a terminal; here
# it is text. Names of axes appear in the text of the ensemble, in the notation of the Python API.
#
# ## A run that is stopped
#
# Something will stop it. We send the signal with which batch systems announce that time is up, as soon as a third of
# the points is there.


# %%
def stop_early():
    while not (folder / "manifest.json").exists() or jn.sweeps.status(folder).done < 48:
        time.sleep(0.05)
    signal.raise_signal(signal.SIGTERM)


threading.Thread(target=stop_early, daemon=True).start()
try:
    jn.sweeps.run(sweep, folder, progress=False)
except jn.sweeps.Interrupted:
    print("stopped")

status = jn.sweeps.status(folder)
print(f"{status.done} of {status.points} points done, {status.missing} missing, {len(list(folder.rglob('*')))} files")

# %% [markdown]
# What was done lies in the folder, each file with a checksum. We may look at it at any time, also while the sweep runs:
# `jn.sweeps.open` gives an `xarray.Dataset` with named axes, in which missing points are marked.
#
# ## The same command again
#
# Running the same sweep computes the missing points, and nothing twice.

# %%
partly = jn.sweeps.open(folder)
status = jn.sweeps.run(sweep, folder, progress=False)
results = jn.sweeps.open(folder)

there = partly.status < 4  # 4: missing
print(f"{status.done} of {status.points} done; failed: {status.failed}")
print("points of the first run unchanged:", bool((partly.lyapunov == results.lyapunov).where(there, True).all()))
print("all files as their checksums say:", jn.sweeps.verify(folder).whole)
print("axes of the results:", dict(results.lyapunov.sizes))

# %% [markdown]
# ## The diagram
#
# The mean over the two networks is one line of xarray. Theory enters as the line on which rest becomes unstable for
# $N \to \infty$, where the right edge of the spectrum is 1; it is computed from the ensemble and knows nothing of the
# sweep.

# %%
exponent = results.lyapunov.mean("realisation")
overlaps = jnp.linspace(-0.4, 0.4, 41)
edge = jax.vmap(lambda p: jn.spectra.law(jn.couplings.RandomModes.of_rank(1.0, 0.5, overlap=p)).right_edge())

fig, ax = plt.subplots(figsize=(5.6, 3.8))
label = "largest Lyapunov exponent (1/τ)"
jn.plotting.heat_map(exponent.overlap.values, exponent.g.values, exponent.values.T, ax, label=label)
jn.plotting.profile(overlaps, 1 / edge(overlaps), ax, color=jn.plotting.VERMILLION, label="rest unstable (theory)")
chaotic = np.argwhere(exponent.values > 0.02)
x, y = exponent.overlap.values[chaotic[:, 0]], exponent.g.values[chaotic[:, 1]]
jn.plotting.profile(x, y, ax, style="o", label="exponent > 0.02")
ax.set(xlabel="overlap ρ", ylabel="strength g", yscale="log")
ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
ax.minorticks_off()
jn.plotting.legend(ax)
plt.show()

# %% [markdown]
# Colour and dots: mean of two networks of 200 units; line: theory. Below the line perturbations of rest decay (the
# exponent is the largest real part of the eigenvalues less 1), and on it the exponent reaches 0. Chaos, dots, begins
# further up: in a strip between, finite networks settle on a cycle or on another fixed point. Without overlap that
# strip vanishes as $N$ grows.
#
# ## On many cores and machines
#
# `jn.sweeps.run(sweep, folder, workers=8)` uses eight processes of this machine, and `scheduler=address` the workers of
# a dask cluster, such as dask-jobqueue starts on SLURM. Every worker writes its own files; one that dies loses the file
# it was at. The results are the same, bit for bit on one kind of device.
#
# ## Exercises
#
# 1. Write `mine.py` with a function `f(g, *, n, key)` of your own that returns a dict of arrays, and sweep
#    `mine:f`. What does `jn.sweeps.estimate` say before you start?
# 2. Let the function raise for one value of g. What do `status(folder).failures` and `results.status` show, and
#    what does `run(..., retry=True)` do?
# 3. Damage a file of the folder with a text editor. What does `verify` say, and what does `run` do about it?
