"""Code blocks of Markdown pages, and how they are run: a page's Python is one script, its commands are processes."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language, in order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run_python(source: str, name: str) -> dict:
    """Executes a script, compares what it prints with the numbers in its comments, and returns its names.

    A comment after `print(...)` that starts with numbers, as in `print(a, b)  # 0.667, 2`, promises what is printed, to
    half a unit of the last digit shown.
    """
    shown = promised(source)
    printed: dict[int, str] = {}

    def record(*args, **kwargs):
        line = sys._getframe(1).f_lineno
        printed[line] = " ".join([*filter(None, [printed.get(line)]), *map(str, args)])
        print(*args, **kwargs)

    names = {"__name__": name, "print": record}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "one singular mode of value")  # of the connectome, as the pages say
            exec(compile(source, name, "exec"), names)
    finally:
        plt.close("all")
    for line, numbers in shown.items():
        found = [float(number) for number in re.findall(NUMBER, printed.get(line, ""))]
        assert len(found) >= len(numbers), f"{name}, line {line} prints {printed.get(line)!r}, not {numbers}"
        for number, value in zip(numbers, found, strict=False):
            assert abs(float(number) - value) <= 0.5001 * last_place(number), (
                f"{name}, line {line}: {value}, not {number}"
            )
    return names


NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"

BETWEEN = r"(?:, and |, | and )"


def promised(source: str) -> dict[int, list[str]]:
    """Line -> the numbers with which the comment after a `print(...)` on it starts."""
    found = {}
    for number, line in enumerate(source.splitlines(), start=1):
        match = re.search(rf"^\s*print\(.*\)  # ({NUMBER}(?:{BETWEEN}{NUMBER})*)(?![\w.])", line)
        if match:
            found[number] = re.split(BETWEEN, match[1])
    return found


def last_place(number: str) -> float:
    """Size of a unit in the last digit of a number as written: .001 of 2.776, 1e-7 of 1.5e-6."""
    digits, _, exponent = number.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def commands(page: Path) -> list[list[str]]:
    """Every command in the bash blocks of a page, in order, as its words."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&") if part.strip()]


def run_command(words: list[str], folder: Path) -> str:
    """Runs `jaxnets ...` of this checkout in a folder; what it printed."""
    assert words[0] == "jaxnets"
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    program = "import sys; from jaxnets.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_sweeps(page: Path, folder: Path) -> None:
    """Writes every toml block of a page, under the name.toml that the text next to it gives."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```toml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        before, after = text[: match.start()].rstrip().rpartition("\n")[2], text[match.end() :].lstrip()
        named = re.findall(r"`(\w+\.toml)`", before) or re.findall(r"`(\w+\.toml)`", after.partition("\n")[0])
        assert named, f"no name for the sweep in {page.name}"
        (folder / named[-1]).write_text(match[1], encoding="utf-8")
