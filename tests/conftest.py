"""The setting of every test: float64, no silent promotion of types or ranks, no window, one BLAS thread a process."""

import os

# Before NumPy is imported: small eigenproblems are far slower with several threads, and the tests run in parallel.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import matplotlib
import pytest

matplotlib.use("Agg")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    # Quick tests mostly wait for the compiler, slow ones for compiled programs. Read when JAX first computes.
    if config.option.markexpr == "not slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """A process holds only so many compiled programs (memory maps) before the compiler crashes."""
    yield
    jax.clear_caches()
