"""`jaxnets learn`: trains a network on a task, keeps what it has reached, and shows what learning did to its couplings.

Training runs in parts, one compiled program. Between parts the weights and the state of the optimiser are written to a
checkpoint, in a folder that gets its name when it is whole. A run that was stopped at any moment goes on from the last
one, with the numbers of a run that was never stopped: keys depend on the number of the step alone.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from .. import __version__, eigen, learning, plotting
from .._progress import moving, stage
from .learn_problems import Options, Problem, problem
from .outputs import MAKER, check_replaceable, made_by, replacing, table

FIGURE, STORE, CHECKPOINT = "learn.png", "learn.zarr", "learn-checkpoint-{:08d}.zarr"
PARTS = 50  # of a run, at least, between which the loss is shown and a checkpoint may be written
LONGEST = 20  # steps of a part, at most
EVERY = 2.0  # seconds between checkpoints, at least: so much work is lost at most, beside a part


def run(options: Options, out: Path) -> None:
    check_replaceable(out, (FIGURE, STORE))
    subject = problem(options)
    began = time.perf_counter()
    with _Folder(out, options) as folder:
        found = _trained(subject, options, folder)
    seconds = time.perf_counter() - began
    with stage("measuring"):
        rows = [
            ("steps", str(options.steps)),
            ("loss, first and mean of the last tenth", f"{found.losses[0]:.4g}  {_last(found.losses):.4g}"),
            *subject.scores(found.params),
            *_radii(subject, found.params),
        ]
        curves = subject.shown(found.params)
    data = _dataset(found, options)
    with replacing(out, (FIGURE, STORE)) as stage_folder:
        data.to_zarr(stage_folder / STORE, zarr_format=2)
        axes = _draw(subject, found, curves)
        plotting.save(axes, stage_folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    folder.clear()
    print(table(f"{options.task}, seed {options.seed}", rows))
    print(f"{seconds:.1f} s; wrote {out / FIGURE} and {out / STORE}")


def _trained(subject: Problem, options: Options, folder: "_Folder") -> learning.Trained:
    part = max(1, min(LONGEST, options.steps // PARTS))
    trainable = eqx.filter(subject.start, eqx.is_inexact_array)
    found = learning.Trained(subject.start, jnp.zeros(0), subject.optimiser.init(trainable))
    found, done = folder.latest(found)
    key = jax.random.fold_in(jax.random.key(options.seed), 2)
    written = time.perf_counter()
    with moving(tqdm(total=options.steps, initial=done, unit="step", delay=0.1, smoothing=0)) as bar:
        for begin in range(done, options.steps, part):
            batches = subject.batches[begin : begin + part]
            new = learning.train(
                subject.loss, found.params, subject.optimiser, batches, key=key, start=begin, state=found.state
            )
            losses = np.concatenate([np.asarray(found.losses), np.asarray(new.losses)])
            found = eqx.tree_at(lambda one: one.losses, new, losses)
            bar.set_postfix_str(f"loss {float(losses[-len(batches) :].mean()):.4g}", refresh=False)
            bar.update(len(batches))
            if time.perf_counter() - written > EVERY and len(losses) < options.steps:
                folder.write(found)
                written = time.perf_counter()
    return found


def _last(losses) -> float:
    return float(np.mean(np.asarray(losses)[-max(1, len(losses) // 10) :]))


# --- what is kept


class _Folder:
    """The checkpoints of one run in the folder of its outputs; those of other options are left out and removed."""

    def __init__(self, out: Path, options: Options):
        self.out, self.options = out, options

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is KeyboardInterrupt:
            at = max((step for step, _ in self._own()), default=0)
            kept = f"the same command goes on from step {at}" if at else "nothing written"
            raise KeyboardInterrupt(f"interrupted, {kept}") from None

    def _all(self) -> Iterator[tuple[int, Path]]:
        before, after = CHECKPOINT.split("{:08d}")
        for path in self.out.glob(f"{before}*{after}"):
            middle = path.name.removeprefix(before).removesuffix(after)
            if middle.isdigit():
                yield int(middle), path

    def _own(self) -> list[tuple[int, Path]]:
        return [(step, path) for step, path in self._all() if _asked_for(path) == _signature(self.options)]

    def latest(self, start: learning.Trained) -> tuple[learning.Trained, int]:
        """The last checkpoint in the shape of `start`, and its step; `start` itself without one."""
        own = sorted(self._own())
        if not own:
            return start, 0
        step, path = own[-1]
        with xr.open_zarr(path, chunks=None) as data:
            return _filled(start, data), step

    def write(self, found: learning.Trained) -> None:
        """A checkpoint in place of the earlier ones; a name stands for a whole one."""
        step = len(found.losses)
        old = [path for _, path in self._all()]
        self.out.mkdir(parents=True, exist_ok=True)
        making = self.out / f".{MAKER}-learn-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        _dataset(found, self.options).to_zarr(making, zarr_format=2)
        making.rename(self.out / CHECKPOINT.format(step))
        for path in old:
            shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        for _, path in self._all():
            shutil.rmtree(path, ignore_errors=True)
        for path in self.out.glob(f".{MAKER}-learn-*"):
            shutil.rmtree(path, ignore_errors=True)


def _signature(options: Options) -> str:
    """What must be the same for a run to go on."""
    versions = {name: value for name, value in made_by("learn").items() if name.endswith("_version")}
    return json.dumps(options.attributes() | versions, sort_keys=True)


def _asked_for(path: Path) -> str | None:
    try:
        return json.loads((path / ".zattrs").read_bytes()).get("signature")
    except (OSError, ValueError, AttributeError):
        return None


def _leaves(found: learning.Trained) -> dict[str, tuple[Any, Any]]:
    """Arrays of the weights and of the state, by their places in the tree."""
    leaves = {}
    for name, tree in (("weights", eqx.filter(found.params, eqx.is_array)), ("optimiser", found.state)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            leaves[name + jax.tree_util.keystr(path)] = leaf
    return leaves


def _dataset(found: learning.Trained, options: Options) -> xr.Dataset:
    variables: dict[str, Any] = {"loss": (("step",), np.asarray(found.losses))}
    for name, leaf in _leaves(found).items():
        # Axes of their own, since `/` and equal lengths mean nothing here.
        at = name.replace("/", "|")
        variables[at] = (tuple(f"{at}:{k}" for k in range(np.ndim(leaf))), np.asarray(leaf))
    attributes = {"signature": _signature(options)} | options.attributes() | made_by("learn")
    return xr.Dataset(variables, attrs=attributes)


def _filled(start: learning.Trained, data: xr.Dataset) -> learning.Trained:
    """The tree of `start` with the arrays of the data."""

    def read(name: str, tree):
        def one(path, leaf):
            at = (name + jax.tree_util.keystr(path)).replace("/", "|")
            return jnp.asarray(data[at].values, leaf.dtype) if eqx.is_array(leaf) else leaf

        return jax.tree_util.tree_map_with_path(one, tree)

    arrays, others = eqx.partition(start.params, eqx.is_array)
    params = eqx.combine(read("weights", arrays), others)
    return learning.Trained(params, data.loss.values, read("optimiser", start.state))


# --- what is printed and drawn


def _spectra(subject: Problem, params) -> tuple[np.ndarray, np.ndarray]:
    before, after = (np.asarray(eigen.eigenvalues(subject.weights(one))) for one in (subject.start, params))
    return before, after


def _radii(subject: Problem, params) -> list[tuple[str, str]]:
    before, after = _spectra(subject, params)
    radii = [np.abs(values).max() for values in (before, after)]
    return [("largest eigenvalue of the couplings, before and after", f"{radii[0]:.3f}  {radii[1]:.3f}")]


COLORS = (plotting.BLUE, plotting.VERMILLION, plotting.GREEN)


def _draw(subject: Problem, found: learning.Trained, curves) -> plotting.Axes:
    loss, learned, spectrum = plotting.table(1, 3)[0]
    losses = np.asarray(found.losses)
    plotting.profile(np.arange(1.0, len(losses) + 1), losses, loss, color=plotting.BLUE)
    loss.set(xlabel="step", ylabel="loss", yscale="log")
    lines, x, y = curves
    colors = iter(COLORS)
    for line in lines:
        color = plotting.BLACK if line.wanted else next(colors)
        if line.error is None:
            style = "--" if line.wanted else "-"
            plotting.profile(line.x, line.values, learned, color=color, style=style, label=line.label or None)
        else:
            plotting.estimates(line.x, line.values, learned, error=line.error, color=color, label=line.label)
    learned.set(xlabel=x, ylabel=y)
    plotting.legend(learned)
    before, after = _spectra(subject, found.params)
    plotting.eigenvalues(before, spectrum, color=plotting.BLACK, label="couplings before")
    plotting.eigenvalues(after, spectrum, color=plotting.VERMILLION, label="after")
    plotting.legend(spectrum)
    return loss
