"""The setting of every test: float64, no silent promotion of types or ranks, no window, one BLAS thread a process."""

import gc
import os
import pathlib
import tempfile

# Before NumPy is imported: small eigenproblems are far slower with several threads, and the tests run in parallel.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# All processes of a run share what they compile, and keep nothing beyond it, in the user's cache folder neither.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="jaxnets-programs-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    # With a limit, JAX locks the folder while it reads or writes.
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**32)

import jax
import matplotlib
import pytest

matplotlib.use("Agg")
# JAX traces into hundreds of thousands of small objects that live on. To look through them all at every few thousand
# new ones takes a tenth of the time of the quick suite.
gc.set_threshold(200_000, 20, 100)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    # Quick tests mostly wait for the compiler, slow ones for compiled programs. Read when JAX first computes.
    if config.option.markexpr == "not slow":
        flags = "--xla_backend_optimization_level=0"
        if jax.__version_info__ < (0, 11):  # an unknown flag ends the process; these two save a quarter of the time
            flags += " --xla_cpu_use_fusion_emitters=false --xla_llvm_disable_expensive_passes=true"
        os.environ.setdefault("XLA_FLAGS", flags)


# Linux lets a process hold 65530 memory maps, and the compiler crashes beyond. Each compiled program takes a few. A
# worker of the quick suite with 16,000 of them took 4.6 GB.
_MOST_MAPS = 8_000


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Programs are kept from file to file, since most files use the same small ones, until there are too many."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists() or maps.read_text().count("\n") > _MOST_MAPS:
        jax.clear_caches()
