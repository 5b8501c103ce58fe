"""Seconds to import jaxnets, and to the first figure of the command line, without and with its compilation cache.

    python benchmarks/startup.py [--quick]

In processes of their own, the best of five (of two with --quick). The rooms are imported when they are first named:
`import jaxnets` alone loads none; measured is what most sessions need, couplings, spectra, mean field and dimension.
The limit of an import is the import of the libraries underneath.
"""

import argparse
import subprocess
import sys
import tempfile
import time

from table import Row

AIM = 1.3
LIBRARIES = "import jax, equinox, optimistix"
ROOMS = "import jaxnets as jn; jn.couplings, jn.spectra, jn.meanfield, jn.population"
COMMAND = "import sys; from jaxnets.cli import main; sys.exit(main())"


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def main(quick: bool) -> list[Row]:
    repeats = 2 if quick else 5
    # In turns, for the machine's speed wanders.
    libraries, rooms, alone = (
        min(times)
        for times in zip(
            *([seconds(code) for code in (LIBRARIES, ROOMS, "import jaxnets")] for _ in range(repeats)), strict=True
        )
    )
    print(f"{LIBRARIES}: {libraries:.2f} s; with four rooms {rooms:.2f} s, {rooms / libraries:.2f} times as long")
    print(f"(aim: below {AIM}); import jaxnets alone {alone:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        words = ("spectrum", "--n", "200", "--num-samples", "4", "--out", folder, "--cache", f"{folder}/compiled")
        first, again = seconds(COMMAND, *words), seconds(COMMAND, *words)
    print(f"jaxnets spectrum, small: {first:.1f} s, and {again:.1f} s with what the first one compiled")
    return [
        Row("import of jaxnets and four rooms", rooms, None, "", None, "jax, equinox, optimistix", libraries),
        Row("jaxnets spectrum, again with --cache", again, None, "the first time", first),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two imports each")
    main(parser.parse_args().quick)
