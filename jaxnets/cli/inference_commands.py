"""What can be typed to find the dynamics behind a recording, as in `commands`: without JAX."""

import math
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from .refusals import InputError, require_counts, require_file, require_seed
from .words import Integers, MaybeFloat, MaybeInteger, MaybePath, MaybeText, Texts, Work

RANK, UPDATES, PARTICLES = 2, 400, 32
TIMES = ("interval", "bin_width", "smoothing", "trial_length")


def infer(
    recording: Annotated[Positional[Texts], arg(metavar="[RECORDING ...]")] = (),
    *,
    rank: int = RANK,
    ranks: Integers = (),
    interval: MaybeFloat = None,
    bin_width: MaybeFloat = None,
    start: MaybeFloat = None,
    smoothing: MaybeFloat = None,
    trial_length: MaybeFloat = None,
    kind: MaybeText = None,
    name: MaybeText = None,
    columns: Texts = (),
    transpose: bool = False,
    inputs: Texts = (),
    inputs_file: MaybePath = None,
    same_units: bool = False,
    transfer: str = "Tanh()",
    updates: int = UPDATES,
    particles: int = PARTICLES,
    window: MaybeInteger = None,
    batch_size: MaybeInteger = None,
    held_out: MaybeInteger = None,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Finds the low-rank network with noise behind a recording, and what its dynamics are.

    The model has few latent variables z that drive all units and are driven by their rates; it is fitted by the bound
    of particles. Counts are Poisson, values are currents with Gaussian noise. Writes infer.png (latent variables, data
    against the model, the flow with its fixed points, the bound) and infer.zarr (all numbers) and prints what the file
    was taken for, the fit and the dynamics. A run that is stopped at any moment, even killed, goes on with the same
    command. Without a file, a network of rank 2 is simulated and found again. Outputs of an earlier run are replaced;
    files of these names that jaxnets did not write are left alone.

    Args:
        recording: A file of activity, (trials,) time x units, or of spike times: a table of text, .npy, .npz, .mat or
            .nwb; several files are sessions, whose units are different ones.
        rank: Number of latent variables.
        ranks: Ranks to choose from by the bound of held-out trials, in place of --rank, as in --ranks 1 2 3.
        interval: Time between samples, if the file has no times; all times are in the same unit.
        bin_width: Width of the bins in which spikes are counted; the file then has spike times.
        start: Where the first bin begins; at the first spike without it.
        smoothing: Standard deviation, in time, of a Gaussian kernel that spreads counts; they are values then.
        trial_length: Length of the pieces into which trials are cut; a single trial is cut into ten without it.
        kind: What the numbers are, counts or values, if they look like the other.
        name: Name of the array of a .npz or .mat file of several, or of the series of an NWB file.
        columns: Names (or numbers, from 0) of the units to take; all if none is given.
        transpose: The file holds units x time.
        inputs: Names of series in the file that drive the network: columns, arrays, or series of an NWB file.
        inputs_file: A table of inputs with a column of times.
        same_units: Units of the same name in several sessions are the same.
        transfer: Transfer function phi, as in "ReLU()"; with one made of lines all fixed points and 2-cycles are found.
        updates: Number of updates of a fit.
        particles: Number of particles.
        window: Steps of the windows that an update is made on, for long trials; whole trials without it.
        batch_size: Trials of an update; all without it.
        held_out: Number of trials that are held out; a fifth without it.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    files = tuple(Path(path) for path in recording)
    reading = {
        "interval": interval,
        "bin_width": bin_width,
        "start": start,
        "smoothing": smoothing,
        "trial_length": trial_length,
        "kind": kind,
        "name": name,
        "columns": columns,
        "transpose": transpose,
        "inputs": inputs,
        "inputs_file": inputs_file,
        "same_units": same_units,
    }
    _check_files(files, reading)
    if ranks and rank != RANK:
        raise InputError("`--rank` and `--ranks` exclude each other: one rank, or some to choose from")
    require_counts(updates=updates, particles=particles, rank=min((rank, *ranks)))
    sizes = {"window": window, "batch_size": batch_size, "held_out": held_out}
    require_counts(**{option: number for option, number in sizes.items() if number is not None})
    require_seed(seed)

    def work() -> int | None:
        from . import infer

        fitting = {"num_particles": particles, "num_updates": updates, **sizes}
        return infer.run(infer.Options(files, reading, tuple(ranks) or (rank,), transfer, fitting, seed), out)

    return work


def _check_files(files: tuple[Path, ...], reading: dict[str, Any]) -> None:
    """Refuses files that are missing, options that need one, and times that are not positive."""
    for path in (*files, *filter(None, [reading["inputs_file"]])):
        require_file(path)
    for option, given in reading.items():
        word = f"--{option.replace('_', '-')}"
        if not files and given not in (None, (), False):
            raise InputError(f"`{word}` belongs to a recording: give a file")
        if option in TIMES and given is not None and not 0 < given < math.inf:
            raise InputError(f"`{word}` must be a positive number, got {given}")
    if reading["kind"] not in (None, "counts", "values"):
        raise InputError(f"`--kind` must be counts or values, got {reading['kind']}")
