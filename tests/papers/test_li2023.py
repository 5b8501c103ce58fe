"""Li & Huang 2023 (arXiv 2208.09859): the published on-line run, D = 30, with 8 units and 3 modes."""

import jax
import numpy as np
import pytest

from jaxnets.papers.learned2023 import INPUTS, committees, online


def test_the_start_is_the_published_one():
    student, teacher = committees(jax.random.key(0))
    assert student.right.shape == (3, 30) and student.left.shape == (8, 3)
    np.testing.assert_array_equal(student.left, teacher.left)
    np.testing.assert_array_equal(student.amplitudes, teacher.amplitudes)
    assert not np.array_equal(student.right, teacher.right)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_long_run(seed):
    """Closed equations and 32 descents, to 30,000 samples; the mean over streams differs by O(1/D)."""
    theory, streams = online(jax.random.key(seed), np.array([0.0, 10.0, 100.0, 1000.0]), 32)
    error = streams.std(0, ddof=1) / 32**0.5
    np.testing.assert_array_less(np.abs(streams.mean(0) - theory), 4 * error + theory / INPUTS)
    # The student shares three modes with its teacher, and stops on the way where these alone are not enough.
    assert theory[3] < 0.1 * theory[0] and np.all(np.diff(theory) < 0)
