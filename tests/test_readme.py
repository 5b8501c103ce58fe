"""The README's Python runs, each block on its own, and the README stays short."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("source", BLOCKS, ids=lambda source: source.strip().splitlines()[-1])
def test_python_blocks_run(source):
    exec(compile(source, "README.md", "exec"), {})
    plt.close("all")


def test_there_are_blocks():
    assert len(BLOCKS) >= 2


def test_readme_is_short():
    assert len(README.splitlines()) <= 110
