"""What can be typed: one function a command, whose signature makes the options and whose docstring makes the help.

Nothing here imports JAX, so that help and refusals come at once. A command checks what can be checked without JAX, and
returns its work, which `main` does: it imports the module of the same name, which computes, writes and prints.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from .inference_commands import infer
from .refusals import InputError, require_counts, require_file, require_seed
from .source import measured
from .sweep_commands import SWEEP
from .words import Floats, Integers, MaybeFloat, MaybeInteger, MaybePath, MaybeText, Texts, Work

SPECTRUM_ENSEMBLE, SPECTRUM_N, NUM_SAMPLES = "DeepHebbian(load=.8, auto=.3, hetero=(.6,.6,.6))", 1000, 20
SIMULATED_ENSEMBLE, SIMULATED_N = "RandomModes.of_rank(3, .25)", 2000
G = (1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0)
EFFECTIVE_RANKS = (float("inf"), 1.0, 0.25, 0.1)
TRANSIENT_ENSEMBLE = "IID(2.)"
LOADS = (0.02, 0.06, 0.1, 0.2, 0.3, 0.5, 0.7)
PAPERS = (
    "2208.11411",
    "2103.14324",
    "2103.14317",
    "2409.01969",
    "2207.12373",
    "2210.03241",
    "2208.09859",
    "2102.03740",
    "2111.13302",
    "2007.08093",
    "2006.11569",
    "2007.02047",
    "2405.13854",
    "2006.02427",
)
# Steps, units, and rate of each task of `learn`; the modes and the ensemble count for some of them alone.
LEARNED = {
    "digits": (840, 50, 5e-3),
    "digit-rows": (560, 50, 5e-3),
    "mnist-1d": (2000, 50, 5e-3),
    "multisensory": (500, 150, 1e-3),
    "match": (600, 60, 3e-3),
    "sine": (600, 60, 3e-3),
}
PERCEPTRON_N = 2000  # weights of the largest sample of `learn perceptron`
LEARNED_ENSEMBLE = "IID(1.2)"
STRENGTHS = (0.6, 0.8, 1.0, 1.25, 1.6, 2.2, 3.0)


def spectrum(
    *,
    ensemble: str = SPECTRUM_ENSEMBLE,
    n: int = SPECTRUM_N,
    num_samples: int = NUM_SAMPLES,
    gains: MaybeText = None,
    variance: MaybeFloat = None,
    matrix: MaybeText = None,
    scale: float = 1.0,
    transpose: bool = False,
    name: MaybeText = None,
    kind: MaybeText = None,
    types: MaybeText = None,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Eigenvalues of random or measured couplings, with the theory over them.

    Writes spectrum.png and spectrum.zarr (eigenvalues, boundary, density, all parameters) and prints a table. Outputs
    of an earlier run are replaced; files of these names that jaxnets did not write are left alone, and nothing is run.

    Args:
        ensemble: Couplings in the notation of the Python API, as in "IID(g=.5) + 0.5 * Elliptic(symmetry=-.3)".
        n: Neurons of each network.
        num_samples: Number of networks.
        gains: Transfer function, as in "Tanh()", whose slopes at Gaussian inputs multiply the columns of J.
        variance: Variance of these inputs.
        matrix: Measured couplings in place of an ensemble: a table of text, a list of edges, a .npy, .npz, .mat or .mtx
            file, larva-left or larva-right.
        scale: Factor of the measured couplings.
        transpose: Rows of the file are the presynaptic neurons. The spectrum and its theory are the same without gains.
        name: Name of the matrix in a .npz or .mat file of several, as in "data.W".
        kind: What a table of text is, matrix or edges, if it looks like the other.
        types: The type of each neuron, for theory with cell types: a text file with one type for each, or with neurons
            and types in two columns; larva-left or larva-right.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    require_counts(n=n, num_samples=num_samples)
    require_seed(seed)
    if (gains is None) != (variance is None):
        raise InputError("`--gains` and `--variance` go together: the transfer function and the variance of its input")
    if variance is not None and not 0 < variance < math.inf:
        raise InputError(f"`--variance` must be a positive number, got {variance}")
    given = (ensemble, n, num_samples) != (SPECTRUM_ENSEMBLE, SPECTRUM_N, NUM_SAMPLES)
    options = "`--ensemble`, `--n` and `--num-samples`"
    source = measured(matrix, scale, transpose, name, kind, types=types, given=given, options=options)

    def work() -> int | None:
        from . import spectrum

        return spectrum.run(ensemble, n, num_samples, gains, variance, source, seed, out)

    return work


def simulate(
    *,
    ensemble: str = SIMULATED_ENSEMBLE,
    n: int = SIMULATED_N,
    matrix: MaybeText = None,
    scale: float = 1.0,
    transpose: bool = False,
    name: MaybeText = None,
    kind: MaybeText = None,
    types: MaybeText = None,
    transfer: str = "Tanh()",
    noise: float = 0.0,
    duration: float = 300.0,
    discard: float = 100.0,
    dt: float = 0.05,
    save_every: int = 4,
    num_trajectories: int = 4,
    num_units: int = 100,
    single: bool = False,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Activity of one random or measured network, tau dx/dt = -x + J phi(x) + noise, from random initial states.

    Writes simulation.png (rates, autocovariance, principal components) and simulation.zarr (rates of some units, means
    and variances of all, autocovariances, principal variances, final states, all parameters) and prints a table. Times
    are in units of tau. Outputs of an earlier run are replaced; files of these names that jaxnets did not write are
    left alone, and nothing is run.

    Args:
        ensemble: Couplings in the notation of the Python API, as in "IID(g=2.) + 0.5 * Elliptic(symmetry=-.3)".
        n: Neurons.
        matrix: Measured couplings in place of an ensemble, row = postsynaptic neuron: a table of text, a list of edges,
            a .npy, .npz, .mat or .mtx file, larva-left or larva-right.
        scale: Factor of the measured couplings.
        transpose: Rows of the file are the presynaptic neurons.
        name: Name of the matrix in a .npz or .mat file of several, as in "data.W".
        kind: What a table of text is, matrix or edges, if it looks like the other.
        types: The type of each neuron, whose activity is then shown by type: a text file with one type for each, or
            with neurons and types in two columns; larva-left or larva-right.
        transfer: Transfer function phi, as in "Erf()".
        noise: Standard deviation that white noise alone would give to a neuron.
        duration: Length of each trajectory.
        discard: First part of each trajectory, which is not kept.
        dt: Step of Heun's scheme, at most 1/2.
        save_every: Steps between kept times.
        num_trajectories: Initial states, all of the same network; they are run together.
        num_units: Neurons whose rates are stored (and up to 40 drawn), evenly spaced in the order of the network.
        single: Compute in single precision, which is faster: chaotic trajectories differ, their statistics do not.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    require_counts(n=n, num_trajectories=num_trajectories, num_units=num_units, save_every=save_every)
    require_seed(seed)
    given = (ensemble, n) != (SIMULATED_ENSEMBLE, SIMULATED_N)
    options = "`--ensemble` and `--n`"
    source = measured(matrix, scale, transpose, name, kind, types=types, given=given, options=options)

    def work() -> int | None:
        from . import simulate

        return simulate.run(
            simulate.Options(
                ensemble,
                n,
                source,
                transfer,
                noise,
                duration,
                discard,
                dt,
                save_every,
                num_trajectories,
                num_units,
                single,
                seed,
                out,
            )
        )

    return work


def meanfield(
    *,
    g: Floats = G,
    effective_ranks: Floats = EFFECTIVE_RANKS,
    matrix: MaybeText = None,
    scale: float = 1.0,
    transpose: bool = False,
    name: MaybeText = None,
    kind: MaybeText = None,
    types: MaybeText = None,
    transfer: str = "Tanh()",
    noise: float = 0.0,
    transient: bool = False,
    ensemble: str = TRANSIENT_ENSEMBLE,
    duration: float = 20.0,
    step: float = 0.1,
    variance: float = 1.0,
    input: float = 0.0,
    onset: float = 0.0,
    replica: MaybeFloat = None,
    cue: MaybeFloat = None,
    num_paths: int = 2000,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Mean-field theory of tau dx/dt = -x + J phi(x) + noise: the stationary state, its chaos and its dimension.

    J is a sum of independent random modes of equal amplitude, or has independent weights. Only the strength g and the
    effective rank PR^D of J matter: the theory is the same for any ensemble without overlaps and sequences. Prints two
    tables: single units, which depend on g alone, and dimensions. Writes meanfield.png (autocovariance, dimension
    against g and against PR^D) and meanfield.zarr (all numbers, with all parameters). Times are in units of tau.
    Outputs of an earlier run are replaced. If a file of one of these names was not written by jaxnets, nothing is run.

    A measured matrix with `types` is taken as weights that are independent but for the types, and how much neurons of
    one type send and receive. Its state is printed and drawn by type, with onset, Lyapunov exponent and dimension.

    With `transient`, one ensemble is followed from a random start: variance, covariance of all pairs of times, and the
    distance of a second start or the overlap with a stored pattern, in transient.png and transient.zarr.

    Args:
        g: Strengths of the couplings, g^2 = N Var J_ij, up to 50.
        effective_ranks: Effective ranks PR^D in units of N; inf for independent weights.
        matrix: Measured couplings in place of g and ranks, row = postsynaptic neuron: a table of text, a list of edges,
            a .npy, .npz, .mat or .mtx file, larva-left or larva-right.
        scale: Factor of the measured couplings.
        transpose: Rows of the file are the presynaptic neurons.
        name: Name of the matrix in a .npz or .mat file of several, as in "data.W".
        kind: What a table of text is, matrix or edges, if it looks like the other.
        types: The type of each neuron: a text file with one type for each, or with neurons and types in two columns;
            larva-left or larva-right. All are of one type without.
        transfer: Transfer function phi, which must be odd, as in "Erf()".
        noise: Standard deviation that white noise alone would give to a neuron.
        transient: Follow a network from a random start, in place of stationary states.
        ensemble: The couplings of `transient`, as in "DeepHebbian(.1, 2., (0.,))".
        duration: How long to follow it.
        step: Time step.
        variance: Variance of the start.
        input: Input to all neurons.
        onset: When the input begins.
        replica: Correlation of a second start in the same network.
        cue: Amplitude of a stored pattern in the start.
        num_paths: Sampled neurons, where a memory kernel or a cue needs them.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise InputError(f"`--noise` must be a finite number >= 0, got {noise}")
    given = (g, effective_ranks) != (G, EFFECTIVE_RANKS)
    if transient:
        if given or matrix is not None:
            raise InputError("`--transient` takes its couplings from `--ensemble`")
        require_counts(num_paths=num_paths)
        require_seed(seed, 32)
    options = "`--g` and `--effective-ranks`"
    source = measured(matrix, scale, transpose, name, kind, types=types, given=given, options=options)

    def work() -> int | None:
        if transient:
            from . import meanfield_in_time as in_time

            drive = (duration, step, variance, input, onset, replica, cue, num_paths, seed)
            return in_time.run(in_time.Options(ensemble, transfer, noise, *drive, out))
        if source is not None:
            from . import meanfield_of_matrix

            return meanfield_of_matrix.run(source, transfer, noise, out)
        from . import meanfield

        return meanfield.run(g, effective_ranks, transfer, noise, out)

    return work


def memory(
    *,
    n: int = 500,
    loads: Floats = LOADS,
    strengths: Floats = STRENGTHS,
    window: Floats = (1.0,),
    auto: float = 0.0,
    lengths: Integers = (1, 2, 3),
    conversion: float = 0.7,
    num_spins: int = 100_000,
    transfer: str = "Tanh()",
    num_trials: int = 1,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Associative memory in deep-Hebbian networks: sequences in time, and correlated patterns in equilibrium.

    Networks tau dx/dt = -x + J phi(x) that store P = load n binary patterns as a sequence, with weights `auto` from a
    pattern to itself and gamma window_r to its r-th successor, are started at a pattern and told apart by what follows.
    Ising networks with the symmetric window (1, gamma, ..., gamma), gamma = `conversion` / length, turn a pattern into
    a state that overlaps with its neighbours, known exactly for few patterns and sampled here. Writes memory.png
    (overlaps of a retrieved sequence, regimes with the lines of theory, overlaps after conversion) and memory.zarr (all
    of it, with all parameters) and prints the regimes. Times are in units of tau. Outputs of an earlier run are
    replaced; files of these names that jaxnets did not write are left alone, and nothing is run. When it is stopped,
    the same command goes on with the diagram.

    Args:
        n: Number of neurons of a network.
        loads: Loads P / n, of the diagram.
        strengths: Strengths gamma of the couplings between patterns, of the diagram; the sequence drawn has the one
            nearest to 1.5 at the smallest load.
        window: Profile of the synaptic window, one number a step along the sequence.
        auto: Strength of the coupling of a pattern to itself.
        lengths: Lengths d of the symmetric windows of conversion.
        conversion: Strength of these windows in all, d gamma, to one side; patterns stay pure below 1/2.
        num_spins: Number of spins of the networks of conversion.
        transfer: Transfer function phi.
        num_trials: Networks at each point of the diagram, which shows their most frequent regime.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    require_counts(n=n, num_trials=num_trials, num_spins=num_spins)
    require_seed(seed, 32)
    if not window:
        raise InputError("`--window` must have one number or more")

    def work() -> int | None:
        from . import memory

        options = memory.Options(
            n, loads, strengths, window, auto, lengths, conversion, num_spins, transfer, num_trials, seed, out
        )
        return memory.run(options)

    return work


def multistable(
    *,
    n: int = 12,
    num_patterns: int = 8,
    active: float = 0.5,
    matrix: MaybeText = None,
    scale: float = 1.0,
    transpose: bool = False,
    name: MaybeText = None,
    kind: MaybeText = None,
    bias: float = 0.0,
    num_starts: int = 4000,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Multistability of x' = -x + J H(x) + b, H(x) = 1 for x > 0: every stable pattern, and how they are connected.

    Stores random patterns by the smallest weights of margin 1, or says which of them conflict; or takes the J of
    `--matrix`. Finds all stable patterns (to 28 units each of 2^n is looked at; beyond, a programme is given a minute),
    the basins of all attractors from random starts by the exact flow, and where the flip of a single unit leads. Writes
    multistable.png (patterns, graph of states, margins against basins) and multistable.zarr (all of it, with all
    parameters) and prints a table. Outputs of an earlier run are replaced; files of these names that jaxnets did not
    write are left alone, and nothing is run.

    Args:
        n: Number of units.
        num_patterns: Number of random patterns to store.
        active: Share of units that are on in them.
        matrix: J from a file (text, edges, .npy, .npz, .mat, .mtx), J_ij from j to i, or larva-left, larva-right;
            nothing is stored then.
        scale: Factor of this matrix.
        transpose: The file holds J_ij from i to j.
        name: Name of the matrix in a .npz or .mat file of several, as in "data.W".
        kind: What a table of text is, matrix or edges, if it looks like the other.
        bias: Bias b of all units.
        num_starts: Random starts of the flow.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    require_counts(n=n, num_patterns=num_patterns, num_starts=num_starts)
    require_seed(seed)
    if not 0 < active < 1:
        raise InputError(f"`--active` must be between 0 and 1, got {active}")
    if not math.isfinite(bias):
        raise InputError(f"`--bias` must be a finite number, got {bias}")
    source = measured(matrix, scale, transpose, name, kind)

    def work() -> int | None:
        from . import multistable

        options = multistable.Options(n, num_patterns, active, source, bias, num_starts, seed)
        return multistable.run(options, out)

    return work


def fit(
    recording: Positional[MaybePath] = None,
    *,
    interval: MaybeFloat = None,
    columns: Texts = (),
    transpose: bool = False,
    name: MaybeText = None,
    population_size: MaybeInteger = None,
    z_scored: bool = False,
    transfer: str = "Tanh()",
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Fits the strength g, the effective rank PR^D and the time constant of the network behind a recording.

    The theory describes networks tau dx/dt = -x + J phi(x) with independent weights or random modes, above the onset
    of chaos; rates are phi(x). Writes fit.png (autocovariance of data and fit) and fit.zarr (all numbers) and prints a
    table with standard errors, and what the data cannot tell. Without a file, a network of known parameters is
    simulated and fitted. Outputs of an earlier run are replaced; files of these names that jaxnets did not write are
    left alone.

    Args:
        recording: A file of rates, time x units: a table of text, which may begin with a line of names, or a .npy, .npz
            or .mat file.
        interval: Time between samples, if the file has no column of times; the time constant is found in the same unit.
        columns: Names (or numbers, from 0) of the units to take; all if none is given.
        transpose: The file holds units x time.
        name: Name of the rates in a .npz or .mat file of several arrays, as in "data.rates".
        population_size: Number of units in the whole network, of which those recorded are a random part.
        z_scored: Rates are in units of their standard deviations, or in unknown units: only the shape counts.
        transfer: Transfer function phi, which must be odd, as in "Erf()".
        seed: Seed of the simulation.
        out: Folder for the outputs, made if it is missing.
    """
    if recording is not None:
        require_file(recording)
    else:
        named = {"interval": interval is not None, "name": name is not None}
        belonging = named | {"columns": bool(columns), "transpose": transpose}
        for option, given in belonging.items():
            if given:
                raise InputError(f"`--{option}` belongs to a recording: give a file")

    def work() -> int | None:
        from . import fit

        source = None if recording is None else fit.Source(recording, columns, transpose, name)
        return fit.run(source, interval, population_size, z_scored, transfer, seed, out)

    return work


def learn(
    task: Positional[str] = "digits",
    *,
    steps: MaybeInteger = None,
    n: MaybeInteger = None,
    modes: MaybeInteger = None,
    ensemble: MaybeText = None,
    rate: MaybeFloat = None,
    seed: int = 0,
    out: Path = Path("."),
) -> Work:
    """Trains a network on a task, and shows what learning did to its couplings.

    TASK is one of digits and mnist-1d (layers of modes), digit-rows and multisensory (recurrent spike-and-slab weights)
    and match and sine (a rate network, trained through its simulation). The loss is shown while it falls. Writes
    learn.png (loss, what was learned, eigenvalues of the couplings before and after) and learn.zarr (losses, weights,
    state of the optimiser, all parameters) and prints a table. A run that is stopped at any moment, even killed, goes
    on with the same command, to the numbers of a run that was not stopped. Nothing is downloaded; digits need
    scikit-learn. Outputs of an earlier run are replaced; files of these names that jaxnets did not write are left
    alone, and nothing is run.

    The task perceptron trains nothing: it is the entropy of solutions of a binary perceptron against the load, where it
    ends, and the same from messages of samples of n / 4, n / 2 and n weights.

    Args:
        task: digits, digit-rows, mnist-1d, multisensory, match, sine or perceptron.
        steps: Number of steps of training; without it the number that the task was tried with.
        n: Number of units, of each hidden layer or of the recurrent network.
        modes: Number of modes of each layer, for digits and mnist-1d; 12 without it.
        ensemble: Couplings that a rate network starts with, for match and sine, in the notation of the Python API, as
            in "IID(1.2)" or "RandomModes.flat(1.2, .1)".
        rate: Rate of learning; multisensory has its own rates.
        seed: Seed of all that is random.
        out: Folder for the outputs, made if it is missing.
    """
    if task == "perceptron":
        return _perceptron(PERCEPTRON_N if n is None else n, seed, out, (steps, modes, ensemble, rate))
    if task not in LEARNED:
        raise InputError(f"`TASK` must be one of {', '.join(LEARNED)} or perceptron, got {task}")
    layered, house = task in ("digits", "mnist-1d"), task in ("match", "sine")
    if modes is not None and not layered:
        raise InputError(f"`--modes` belongs to digits and mnist-1d, got the task {task}")
    if ensemble is not None and not house:
        raise InputError(f"`--ensemble` belongs to match and sine, got the task {task}")
    if rate is not None and task == "multisensory":
        raise InputError("`--rate` has no meaning for multisensory, whose parameters have rates of their own")
    usual_steps, usual_n, usual_rate = LEARNED[task]
    steps, n = usual_steps if steps is None else steps, usual_n if n is None else n
    modes, rate = 12 if modes is None else modes, usual_rate if rate is None else rate
    require_counts(steps=steps, n=n, modes=modes)
    require_seed(seed)
    if not 0 < rate < math.inf:
        raise InputError(f"`--rate` must be a positive number, got {rate}")

    def work() -> int | None:
        from . import learn

        start = (ensemble or LEARNED_ENSEMBLE) if house else ""
        return learn.run(learn.Options(task, steps, n, modes if layered else 0, start, rate, seed), out)

    return work


def _perceptron(n: int, seed: int, out: Path, others: tuple) -> Work:
    for name, value in zip(("steps", "modes", "ensemble", "rate"), others, strict=True):
        if value is not None:
            raise InputError(f"`--{name}` has no meaning for perceptron, which trains nothing")
    require_counts(n=n)
    require_seed(seed)

    def work() -> int | None:
        from . import learn_perceptron

        return learn_perceptron.run(n, seed, out)

    return work


def reproduce(
    numbers: Annotated[Positional[Texts], arg(metavar="[PAPER ...]")] = (),
    *,
    quick: bool = False,
    output: Annotated[Path, arg(aliases=["--out"])] = Path("reproduction"),
) -> Work:
    """Main figures of papers, and a table of their numbers: published, theory here, sample here.

    PAPER is one or more of 2208.11411, 2103.14324, 2103.14317, 2409.01969 (with 2207.12373), 2210.03241, 2208.09859,
    2102.03740, 2111.13302, 2007.08093, 2006.11569, 2007.02047 and 2405.13854; the default is all of them. Writes each
    figure as NUMBER-NAME.png, and reproduction.md, which shows the figures with the table and names the parameters that
    a paper does not give and that were chosen here. Both grow as figures are done, and an interruption keeps the
    finished figures. The exit code is 1 if a number misses its tolerance. Figures and a report of an earlier run are
    replaced; files of these names that jaxnets did not write are left alone, and nothing is run.

    Args:
        numbers: Numbers of papers on arXiv.
        quick: Small networks and coarse grids, for minutes on a laptop; full size takes hours and wants a GPU.
        output: Folder for the outputs, made if it is missing.
    """
    for number in numbers:
        if number not in PAPERS:
            raise InputError(f"`PAPER` must be one of {', '.join(PAPERS)}, got {number}")

    def work() -> int | None:
        from . import reproduce

        return reproduce.run(numbers, quick, output)

    return work


COMMANDS: dict[str, Callable[..., Work] | dict[str, Callable[..., Work]]] = {
    "spectrum": spectrum,
    "simulate": simulate,
    "meanfield": meanfield,
    "memory": memory,
    "multistable": multistable,
    "fit": fit,
    "infer": infer,
    "learn": learn,
    "sweep": SWEEP,
    "reproduce": reproduce,
}
