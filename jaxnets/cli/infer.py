"""`jaxnets infer`: the low-rank network with noise behind a recording, and its dynamics."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from .. import __version__, inference, plotting
from .. import transfer as transfers
from .._progress import stage
from ..inference import LowRankFit, RankChoice, StochasticLowRank
from .infer_dynamics import Dynamics, Moments, compared, dynamics_of
from .infer_figure import draw
from .inputs import evaluate, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError

FIGURE, STORE, CHECKPOINT = "infer.png", "infer.zarr", "infer-checkpoint"
# The network that is found again without a file: rank 2, which oscillates; half of its trials are held out.
UNITS, LEAK, STRENGTH, ANGLE, NOISE, SEEN = 40, 0.9, 3.0, 1.0, 0.1, 0.3
TRIALS, STEPS = 20, 100
# Arguments of `read_recording`, which are options here; `inputs_file` before its beginning, `inputs`.
READING = (
    *("interval", "bin_width", "start", "smoothing", "trial_length", "kind", "name", "columns", "transpose"),
    *("inputs_file", "inputs", "same_units"),
)
PIECES = 10  # of a recording of one trial


@dataclass(frozen=True)
class Options:
    """Files and how they are read, ranks, phi, and the options of fits."""

    files: tuple[Path, ...]
    reading: dict[str, Any]
    ranks: tuple[int, ...]
    transfer: str
    fitting: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class Subject:
    """A recording, what it was taken for, and the network that made it, if that is known."""

    title: str
    data: tuple[Float[np.ndarray, "_ M"], ...]
    interval: float
    labels: tuple[str, ...]
    counts: bool
    inputs: tuple[Float[np.ndarray, "_ I"], ...] | None
    said: tuple[tuple[str, str], ...]
    teacher: StochasticLowRank | None = None
    latents: Float[np.ndarray, "B T R"] | None = None


def run(options: Options, out: Path) -> None:
    check_replaceable(out, (FIGURE, STORE))
    words = vocabulary(transfers, transfers.Transfer)
    phi = evaluate(options.transfer, words, transfers.Transfer, "--transfer")
    subject = _read(options) if options.files else _simulated(options.seed)
    print(table(subject.title, subject.said))
    began = time.perf_counter()
    kept = _checkpoint(out, subject, options)
    choice = _chosen(subject, phi, options, kept)
    seconds = time.perf_counter() - began
    fit = choice.fit
    with stage("looking at the dynamics"):
        drive = None if subject.inputs is None else np.concatenate(subject.inputs).mean(0)
        dynamics = dynamics_of(fit.model, np.asarray(fit.filtered.latents), drive)
        moments = compared(fit, subject.data, subject.inputs, jax.random.key(options.seed))
    with replacing(out, (FIGURE, STORE)) as folder:
        attributes = {"source": subject.title, "interval": subject.interval, "transfer": options.transfer}
        attributes |= {"said": json.dumps(subject.said), "seed": options.seed, "rank": choice.rank}
        data = _dataset(choice, dynamics, moments, subject)
        data.assign_attrs(attributes | made_by("infer")).to_zarr(folder / STORE, zarr_format=2)
        axes = draw(choice, dynamics, moments, subject.interval, subject.data)
        plotting.save(axes, folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"}, dpi=120)
    _clear(out)
    print(table(f"network of rank {choice.rank}", _rows(choice, subject)))
    print(table("dynamics without noise", dynamics.rows(subject.interval)))
    print(table("data and model", moments.rows(subject.interval)))
    if subject.teacher is not None:
        print(table("the network that made it", _against_teacher(subject, fit, dynamics)))
    if not bool(fit.converged):
        print("note: the bound was still rising: take more `--updates`")
    print(f"{seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}")


# --- the recording


def _read(options: Options) -> Subject:
    note: tuple[tuple[str, str], ...] = ()
    try:
        found = inference.read_recording(options.files, **options.reading)
        if len(found.data) == len(options.files) and options.reading["trial_length"] is None:
            steps = -(-max(map(len, found.data)) // PIECES)
            if steps >= PIECES:
                whole: dict[str, Any] = options.reading | {"trial_length": steps * found.interval}
                found = inference.read_recording(options.files, **whole)
                note = (
                    ("cut", f"each session, one trial, into pieces of {steps} steps, for trials that are held out"),
                )
    except ValueError as error:
        raise InputError(_in_options(str(error))) from error
    title = ", ".join(map(str, options.files))
    said = found.said + note
    return Subject(title, found.data, found.interval, found.labels, found.kind == "counts", found.inputs, said)


def _in_options(text: str) -> str:
    """The words of a refusal, with options in place of arguments."""
    text = text.replace("say which by its name", "say which by `--name`").replace('`kind="values"`', "`--kind values`")
    arguments = (*READING, "rank", "window", "batch_size", "held_out")
    for argument in arguments:
        text = text.replace(f"`{argument}`", f"`--{argument.replace('_', '-')}`")
    return text.replace("`held_out=0`", "`--trial-length`").replace("`recording`", "the recording")


def _simulated(seed: int) -> Subject:
    keys = jax.random.split(jax.random.key(seed))
    m = jax.random.normal(keys[0], (UNITS, 2))
    c, s = np.cos(ANGLE), np.sin(ANGLE)
    n = (1 - LEAK) * STRENGTH * jnp.array([[c, -s], [s, c]]) @ m.T / UNITS
    teacher = StochasticLowRank(m, n, LEAK, NOISE, observation=inference.Gaussian(SEEN))
    trials = teacher.sample(TRIALS, STEPS, key=keys[1])
    data = tuple(np.asarray(trials.recording))
    labels = tuple(map(str, range(UNITS)))
    title = f"simulated network of rank 2, N = {UNITS}"
    said = (
        ("trials", f"{TRIALS} of {STEPS} steps"),
        ("numbers", f"currents, with Gaussian noise of standard deviation {SEEN:g}"),
        ("modes", f"strength {STRENGTH:g}, turned by {ANGLE:g} rad; leak {LEAK:g}, noise {NOISE:g} of each variable"),
    )
    return Subject(title, data, 1.0, labels, False, None, said, teacher, np.asarray(trials.latents))


# --- the fit


def _chosen(subject: Subject, phi, options: Options, checkpoint: Path) -> RankChoice:
    settings = dict(options.fitting)
    if subject.teacher is not None:
        settings["observation"] = inference.Gaussian(0.5)  # of currents in their own unit
        settings["held_out"] = settings["held_out"] or TRIALS // 2
    if subject.counts:
        settings |= {"observation": inference.Poisson(), "learning_rates": (2e-2, 1e-3)}
    try:
        return inference.choose_rank(
            list(subject.data),
            options.ranks,
            transfer=phi,
            inputs=None if subject.inputs is None else list(subject.inputs),
            checkpoint=checkpoint,
            key=jax.random.key(options.seed),
            **settings,
        )
    except ValueError as error:
        raise InputError(_in_options(str(error))) from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop).replace("the same call", "the same command")) from None


def _checkpoint(out: Path, subject: Subject, options: Options) -> Path:
    """The file in which the fit of these data with these options is kept; the rank is added to its name."""
    versions = {name: value for name, value in made_by("infer").items() if name.endswith("_version")}
    found = hashlib.sha256(json.dumps([options.transfer, options.fitting, options.seed, versions]).encode())
    for trial in (*subject.data, *(subject.inputs or ())):
        found.update(f"{trial.shape}".encode() + np.ascontiguousarray(trial).tobytes())
    return out / f"{CHECKPOINT}-{found.hexdigest()[:12]}"


def _clear(out: Path) -> None:
    for pattern in (f"{CHECKPOINT}-*-rank*", f".{CHECKPOINT}-*-rank*"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)


# --- what is written and printed


def _rows(choice: RankChoice, subject: Subject) -> list[tuple[str, ...]]:
    fit, model = choice.fit, choice.fit.model
    error = float(fit.held_out_elbo_error)
    rows: list[tuple[str, ...]] = [
        ("bound, nats per number, of fitted trials", f"{float(fit.elbo):.4f}"),
        ("of trials held out", _with_error(float(fit.held_out_elbo), error, 4)),
        ("variance of held-out data predicted a step ahead", f"{float(fit.held_out_prediction):.3f}"),
        ("effective part of particles", f"{float(jnp.mean(fit.filtered.ess)) / _particles(fit):.2f}"),
        ("leak per step; time constant", f"{float(model.leak):.4f}; {subject.interval / (1 - float(model.leak)):.4g}"),
        ("strengths of modes, singular values of J", _numbers(_strengths(model))),
        ("noise of latent variables, per step", _numbers(np.sqrt(np.diag(model.noise @ model.noise.T)))),
    ]
    noise = getattr(model.observation, "noise", None)
    if noise is not None:
        rows.append(("noise of a measurement, mean over units", f"{float(jnp.mean(noise)):.4g}"))
    if len(choice.ranks) > 1:
        for k, rank in enumerate(choice.ranks.tolist()):
            lack = _with_error(choice.lacks[k], choice.lacks_error[k], 4)
            best = " (chosen)" if rank == choice.rank else ""
            rows.append((f"rank {rank}{best}", f"{choice.held_out_elbo[k]:.4f}, below the best by {lack}"))
    return rows


def _particles(fit: LowRankFit) -> int:
    """The number of particles of the evaluation: what is effective in the first step, at most."""
    return int(np.ceil(float(jnp.max(fit.filtered.ess)) - 1e-6))


def _strengths(model: StochasticLowRank) -> np.ndarray:
    product = np.linalg.qr(np.asarray(model.m))[1] @ np.asarray(model.n)
    return np.linalg.svd(product, compute_uv=False) / (1 - float(model.leak))


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in np.asarray(values))


def _with_error(value: float, error: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")


def _against_teacher(subject: Subject, fit: LowRankFit, found: Dynamics) -> list[tuple[str, ...]]:
    teacher, z = subject.teacher, subject.latents
    assert teacher is not None and z is not None
    data, held = np.stack(subject.data), np.asarray(fit.held_out)
    key = jax.random.key(0)
    known = inference.smc(teacher, data[held], num_particles=64, key=key)
    true = dynamics_of(teacher, z, None)
    bound = float(np.sum(np.asarray(known.log_likelihood)) / np.sum(np.asarray(known.num_observed)))
    r2 = [_r2(z[held], np.asarray(latents)) for latents in (known.latents, fit.filtered.latents[held])]
    noise = [float(np.mean(getattr(one.observation, "noise", np.nan))) for one in (teacher, fit.model)]
    return [
        ("", "known", "found"),
        ("bound of trials held out", f"{bound:.4f}", f"{float(fit.held_out_elbo):.4f}"),
        ("R² of latent variables, after a linear map", *(f"{value:.4f}" for value in r2)),
        ("leak", f"{float(teacher.leak):.4f}", f"{float(fit.model.leak):.4f}"),
        ("noise of a measurement", *(f"{value:.4f}" for value in noise)),
        ("frequency without noise, per step", f"{true.frequency:.5f}", f"{found.frequency:.5f}"),
        ("strengths of modes", _numbers(_strengths(teacher)), _numbers(_strengths(fit.model))),
    ]


def _r2(z: Float[np.ndarray, "B T R"], other: Float[np.ndarray, "B T S"]) -> float:
    """The part of the variance of z that a linear map of the other gives."""
    z, other = z.reshape(-1, z.shape[-1]), other.reshape(-1, other.shape[-1])
    z, other = z - z.mean(0), other - other.mean(0)
    miss = z - other @ np.linalg.lstsq(other, z, rcond=None)[0]
    return 1 - float(np.sum(miss**2) / np.sum(z**2))


def _dataset(choice: RankChoice, dynamics: Dynamics, moments: Moments, subject: Subject) -> xr.Dataset:
    fit, model = choice.fit, choice.fit.model
    filtered, readout = fit.filtered, model.observation.readout
    each = lambda values: np.broadcast_to(np.asarray(values), (model.size,))
    variables: dict[str, Any] = {
        "m": (("unit", "mode"), np.asarray(model.m)),
        "n": (("mode", "unit"), np.asarray(model.n)),
        "leak": ((), float(model.leak)),
        "threshold": (("unit",), each(model.threshold)),
        "noise": (("mode", "source"), np.asarray(model.noise)),
        "initial_mean": (("mode",), np.asarray(model.initial_mean)),
        "initial_noise": (("mode", "source"), np.asarray(model.initial_noise)),
        "latents": (("trial", "step", "mode"), np.asarray(filtered.latents)),
        "latents_error": (("trial", "step", "mode"), np.asarray(filtered.latents_error)),
        "prediction": (("trial", "step", "unit"), np.asarray(filtered.prediction)),
        "ess": (("trial", "step"), np.asarray(filtered.ess)),
        "log_likelihood": (("trial",), np.asarray(filtered.log_likelihood)),
        "num_observed": (("trial",), np.asarray(filtered.num_observed)),
        "held_out": (("trial",), np.isin(np.arange(len(subject.data)), np.asarray(fit.held_out))),
        "bound": (("update",), np.asarray(fit.bounds)),
        "held_out_bound": (("rank",), choice.held_out_elbo),
        "lack": (("rank",), choice.lacks),
        "lack_error": (("rank",), choice.lacks_error),
    }
    for name in ("gain", "bias"):
        if hasattr(readout, name):
            variables[f"readout_{name}"] = (("unit",), each(getattr(readout, name)))
    if isinstance(model.observation, inference.Gaussian):
        variables["observation_noise"] = (("unit",), each(model.observation.noise))
    if model.input_weights is not None:
        variables["input_weights"] = (("unit", "input"), np.asarray(model.input_weights))
    coords = {"rank": choice.ranks, "label": ("unit", np.array(subject.labels))}
    return xr.Dataset(variables | dynamics.variables() | moments.variables(subject.interval), coords=coords)
