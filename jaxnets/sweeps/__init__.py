"""Grids of parameters times realisations: days of work on many machines, of which nothing is lost.

A sweep is a TOML file, or the same as a `Sweep`. This one, edges.toml, calls a function of one point in edges.py,

    def largest(g, *, n, key):
        return jn.spectra.eigenvalues(jn.couplings.IID(g=g).sample(n, key=key)).real.max()

at 40 points, and 16 times each:

    function = "edges:largest"              # module:name, of the package or your own
    realisations = 16                       # another key each
    output = "edges"                        # a folder

    [axes]                                  # floating-point scalars
    g = {linspace = [0.5, 2.0, 20]}      # or a list, logspace = [...], zip = {name = [...], other = [...]}

    [static]                                # values that change shapes: compiled once each
    n = [100, 200]

    [fixed]                                 # arguments that stay

`run(read(path))` computes the missing points, and `open(output)` gives the results as an `xarray.Dataset`, also while
the sweep runs. On a cluster, any tool may start the workers; with dask-jobqueue on SLURM:

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=1, processes=1, memory="8GB", walltime="24:00:00",
                           job_script_prologue=["export OPENBLAS_NUM_THREADS=1 NPROC=1"])
    cluster.scale(32)
    jn.sweeps.run(jn.sweeps.read("edges.toml"), scheduler=cluster.scheduler_address)

All workers must see the folder. After a kill, running the same sweep again goes on from the chunks that are there.

This room knows no physics: it takes functions and gives arrays. To sweep something new, write a function of one point;
nothing here has to change.
"""

from .._public import public
from .estimation import Estimate, estimate
from .results import Failure, Status, Verification, assemble, open, status, verify
from .running import Interrupted, run
from .specification import Sweep, parse, read

__all__ = [
    "Estimate",
    "Failure",
    "Interrupted",
    "Status",
    "Sweep",
    "Verification",
    "assemble",
    "estimate",
    "open",
    "parse",
    "read",
    "run",
    "status",
    "verify",
]

__dir__ = public(__name__)
