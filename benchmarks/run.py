"""All benchmarks, each in a process of its own, and their common table in README.md.

    python benchmarks/run.py [--quick] [NAME ...]
    python benchmarks/run.py --gpu

A NAME is a script beside this one; the default is all scripts. Prints the tables of the scripts, then the common one.
At full size each script's lines go to table.json as soon as it ends, in place of its last ones, and what stands between
the marks in README.md is written anew: after an interruption, name the scripts that are missing. With --quick
(smaller sizes, some ten minutes) both files are left alone. With --gpu the scripts that matter on a GPU run there,
which should take less than ten minutes, and their lines stand beside the lines of a CPU. A script that fails, or lacks
a package, is reported at the end, and the others go on.
"""

import argparse
import datetime
import importlib
import json
import multiprocessing
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import table

README = Path(__file__).with_name("README.md")
TABLE = README.with_name("table.json")  # per script: the machine, and its lines
BEGIN, END = "<!-- written by run.py -->\n", "<!-- until here -->\n"
SCRIPTS = (
    "startup",
    "eigenvalues",
    "integrate",
    "spectral_law",
    "meanfield",
    "transients",
    "exponents",
    "memory",
    "multistability",
    "fitting",
    "inference",
    "learning",
    "perceptron",
    "precision",
    "sweeps",
    "scaling",
)
ON_GPU = ("eigenvalues", "integrate", "precision")
SCALING = "Time against size, in float64; the exponent is fitted to the upper half of the sizes. ![times](scaling.png)"
PACKAGES = ("jaxlib", "numpy", "scipy", "torch", "diffrax", "matfree")


def measured(name: str, quick: bool, gpu: bool, results) -> None:
    """In a process of its own, so that compilation is not shared; sends the lines, or what went wrong."""
    try:
        script = importlib.import_module(name)
        lines = script.gpu() if gpu else script.main(quick)
        results.send([line.markdown() for line in lines])
    except Exception:
        results.send(traceback.format_exc())


def lines_of(name: str, quick: bool, gpu: bool) -> list[str] | str:
    """The lines of one script for the common table, or what went wrong."""
    context = multiprocessing.get_context("spawn")  # nothing of JAX is shared
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(name, quick, gpu, there))
    print(f"\n--- {name}", flush=True)
    process.start()
    there.close()
    try:
        found = here.recv()
    except EOFError:
        found = "the process died"
    process.join()
    return found


def machine() -> str:
    """Device, cores, versions and day, asked in a process that ends."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        device = pool.apply(table.machine)
    versions = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    return f"{device}; {versions}; {datetime.date.today()}."


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(quick: bool, gpu: bool, names: list[str]) -> None:
    names = names or list(ON_GPU if gpu else SCRIPTS)
    unknown = sorted(set(names) - set(ON_GPU if gpu else SCRIPTS))
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ON_GPU if gpu else SCRIPTS)}")
    around_table()

    on = machine()
    if gpu and on.startswith("cpu"):
        raise SystemExit("--gpu needs a GPU that JAX finds")
    kept = json.loads(TABLE.read_text()) if TABLE.exists() and not quick else {}
    failed = []
    for name in names:
        lines = lines_of(name, quick, gpu)
        if isinstance(lines, str):
            print(lines, flush=True)
            failed.append(name)
            continue
        kept[f"{name}, GPU" if gpu else name] = {"machine": on, "lines": lines}
        if not quick:
            TABLE.write_text(json.dumps(kept, indent=1) + "\n")
            README.write_text(written(kept).join(around_table()))  # which may have been edited since
    print(f"\n{written(kept)}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def around_table() -> tuple[str, str]:
    """What stands before and after the table in README.md, with the marks."""
    head, begin, rest = README.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{README} lacks the marks {BEGIN!r} and {END!r}")
    return head + begin, end + tail


def written(kept: dict[str, dict]) -> str:
    """The common table and the exponents, each under the machines that its lines come from."""
    kept = {key: kept[key] for name in SCRIPTS for key in (name, f"{name}, GPU") if key in kept}
    tables = []
    for title, rule, names in (
        ("", table.HEAD, [name for name in kept if name != "scaling"]),
        (f"{SCALING}\n\n", table.SCALING, [name for name in kept if name == "scaling"]),
    ):
        for on in dict.fromkeys(kept[name]["machine"] for name in names):
            rows = [line for name in names if kept[name]["machine"] == on for line in kept[name]["lines"]]
            tables.append("\n".join((f"{title}{on}\n", rule, *rows)))
    return "\n\n".join(tables) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scripts to run, all by default")
    parser.add_argument("--quick", action="store_true", help="smaller sizes; README.md is left alone")
    parser.add_argument("--gpu", action="store_true", help=f"what a GPU is for: {', '.join(ON_GPU)}")
    arguments = parser.parse_args()
    main(arguments.quick, arguments.gpu, arguments.names)
