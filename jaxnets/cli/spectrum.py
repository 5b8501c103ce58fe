"""`jaxnets spectrum`: eigenvalues of sampled or measured couplings, with the theory for N -> infinity over them."""

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Complex, Float, PRNGKeyArray
from tqdm import tqdm

from .. import __version__, couplings, eigen, plotting, spectra
from .. import transfer as transfers
from .._progress import moving, stage
from .inputs import evaluate, read_weights, vocabulary
from .outputs import MAKER, check_replaceable, made_by, replacing, table
from .refusals import InputError
from .source import Measured

FIGURE, STORE = "spectrum.png", "spectrum.zarr"
MARGIN = 0.02  # boundaries are widened, and voids narrowed, by this fraction before an eigenvalue counts as beyond
GRID = 200  # points a side of a density map; the real line has five times as many
MEMORY = 2**32  # bytes of the matrices that are diagonalised beside each other, of which LAPACK makes copies


def run(
    ensemble: str,
    n: int,
    num_samples: int,
    gains: str | None,
    variance: float | None,
    matrix: Measured | None,
    seed: int,
    out: Path,
) -> None:
    check_replaceable(out, (FIGURE, STORE))
    slopes = _Gains.parse(gains, variance)
    options = {"seed": seed} | ({} if gains is None else {"gains": gains, "variance": variance})
    if matrix is None:
        report = _of_ensemble(ensemble, n, num_samples, slopes, seed)
        options |= {"ensemble": ensemble, "n": n, "num_samples": num_samples}
    else:
        report = _of_matrix(matrix, slopes, seed)
        options |= matrix.attributes()

    with replacing(out, (FIGURE, STORE)) as folder:
        # Format 2 of zarr, because format 3 has no settled form of consolidated metadata and of strings.
        report.data.assign_attrs(options | made_by("spectrum")).to_zarr(folder / STORE, zarr_format=2)
        plotting.save(report.axes, folder / FIGURE, metadata={"Software": f"{MAKER} {__version__}"})
    print(report.table)
    print(f"wrote {out / FIGURE} and {out / STORE}")


@dataclass(frozen=True)
class _Report:
    data: xr.Dataset
    axes: Any
    table: str


@dataclass(frozen=True)
class _Gains:
    """The gains phi'(sqrt(variance) z) of a transfer function at Gaussian inputs, or G = 1."""

    transfer: transfers.Transfer | None
    variance: float | None

    @classmethod
    def parse(cls, text: str | None, variance: float | None) -> "_Gains":
        if text is None:
            return cls(None, None)
        return cls(evaluate(text, vocabulary(transfers, transfers.Transfer), transfers.Transfer, "--gains"), variance)

    def sample(self, n: int, key: PRNGKeyArray) -> Float[jax.Array, " n"] | None:
        if self.transfer is None or self.variance is None:
            return None
        return self.transfer.slope(jnp.sqrt(self.variance) * jax.random.normal(key, (n,)))


# --- the two jobs


def _of_ensemble(text: str, n: int, num_samples: int, gains: _Gains, seed: int) -> _Report:
    ensemble = evaluate(text, vocabulary(couplings, couplings.Ensemble), couplings.Ensemble, "--ensemble")
    key = jax.random.key(seed)
    try:
        jax.eval_shape(lambda key: ensemble.sample(n, key=key), key)  # refuses impossible sizes, at no cost
        law = spectra.law(ensemble, gains.transfer, variance=gains.variance)
    except ValueError as error:
        raise InputError(f"`--ensemble`: {error}") from error

    began = time.perf_counter()
    with moving(tqdm(total=num_samples, desc="diagonalising", unit="sample")) as bar:
        keys = jax.random.split(key, (num_samples, 2))
        with ThreadPoolExecutor(1) as beside, _diagonalised(ensemble, n, keys, gains, bar) as samples:
            # Theory is compiled and computed here while other threads diagonalise. Any grid in the plane needs the same
            # programs, which are compiled beside the boundary.
            if not law.is_symmetric():
                beside.submit(law.density, np.linspace(-1, 1, GRID))
            bar.set_postfix_str("compiling the boundary")
            theory = _Prediction.of("theory", law)
            bar.set_postfix_str("compiling the outliers")
            try:
                isolated = _outliers(ensemble, gains)
            except ValueError as error:
                raise InputError(f"`--ensemble`: {error}") from error
            bar.set_postfix_str("compiling the density")
            window = _Window.around(isolated, theory.curves)
            density = window.density(law)
            known = time.perf_counter()
            bar.set_postfix_str("theory is known")
            values = np.stack([sample.result() for sample in samples])
        if not window.holds(values):
            window = _Window.around(values, theory.curves)
            density = window.density(law)
    finished = time.perf_counter()

    bulk = _off_zero(values)
    x = np.real(values)
    outside, in_voids = theory.misses(bulk)
    deviation = couplings.finite_size(ensemble, n, with_gains=gains.transfer is not None).edge
    rows = [
        ("", "theory", "samples"),
        ("right edge", f"{theory.right:.4f}", _mean_and_sd(x.max(1))),
        (
            "  may be off by, in one network",
            f"{abs(theory.right) * deviation:.4f}",
            _root_mean_square(x.max(1) - theory.right),
        ),
        ("left edge", f"{theory.left:.4f}", _mean_and_sd(x.min(1))),
        ("eigenvalues at zero", f"{theory.zero_mass:.4f}", f"{1 - bulk.size / values.size:.4f}"),
        (f"outside the boundary by {MARGIN:.0%}", "0", f"{outside:.4f}"),
        (f"inside voids by {MARGIN:.0%}", "0", f"{in_voids:.4f}"),
        ("seconds", f"{known - began:.2f}, compiling included", f"{finished - began:.2f}, beside the theory"),
    ]
    if isolated.size:
        rows.insert(-1, ("outliers", _list(isolated), ""))

    ax = _draw(values, [theory], window, density)
    if isolated.size and not law.is_symmetric():
        plotting.marks(isolated, ax, label="predicted outliers")
    parameters = {"parameters": eqx.tree_pformat(ensemble, short_arrays=False)}
    data = _dataset(values, [theory], window, density).assign_attrs(parameters | theory.numbers())
    return _Report(data, plotting.legend(ax), table(f"{text}, N = {n}, {num_samples} networks", rows))


@contextmanager
def _diagonalised(
    ensemble: couplings.Ensemble, n: int, keys: PRNGKeyArray, gains: _Gains, bar: tqdm
) -> Iterator[list[Future]]:
    """The eigenvalues of networks to come, a core each; no more of them are begun when the caller stops."""

    def sample(key_network: PRNGKeyArray, key_gains: PRNGKeyArray) -> Complex[np.ndarray, " n"]:
        values = eigen.host_eigenvalues(ensemble.sample(n, key=key_network), gains.sample(n, key_gains))
        bar.update()
        return values

    beside = min(os.cpu_count() or 1, max(1, MEMORY // (32 * n**2)))
    pool = ThreadPoolExecutor(beside)
    try:
        yield [pool.submit(sample, *pair) for pair in keys]
    finally:
        pool.shutdown(cancel_futures=True)


def _of_matrix(source: Measured, gains: _Gains, seed: int) -> _Report:
    found = read_weights(source)
    if found.types is not None:
        return _of_types(source.matrix, found.matrix, found.types, gains, seed)
    weights = found.matrix
    n = len(weights)
    key_modes, key_gains, key_mismatch = jax.random.split(jax.random.key(seed), 3)
    began = time.perf_counter()
    with stage("diagonalising"):
        values = eigen.host_eigenvalues(weights, gains.sample(n, key_gains))[None]
    diagonalised = time.perf_counter()
    with stage("singular values") as line:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", couplings.DominantMode)
            haar = couplings.from_matrix(weights)
        gaussian = couplings.random_modes_from_matrix(weights, key=key_modes)
        mismatch = couplings.singular_mismatch(gaussian, weights, key=key_mismatch)
        laws = [spectra.law(ensemble, gains.transfer, variance=gains.variance) for ensemble in (haar, gaussian)]
        line.set_description_str("compiling the boundary of the ring")
        ring = _Prediction.of("ring of its singular values", laws[0])
        line.set_description_str("compiling the boundary of Gaussian modes")
        modes = _Prediction.of("Gaussian modes with its overlaps", laws[1])
        line.set_description_str("compiling the density")
        window = _Window.around(values, ring.curves + modes.curves)
        density = window.density(laws[0])
    finished = time.perf_counter()

    bulk = _off_zero(values)
    beyond = bulk[np.abs(bulk) > (1 + MARGIN) * ring.right]  # the ring is round: its modes prefer no direction
    outliers = beyond[np.argsort(-np.abs(beyond))]
    found = _statistics(weights, haar)
    described = [
        ("neurons N", f"{n}", ""),
        ("non-zero weights", f"{found['nonzero_fraction']:.4f}", ""),
        ("g = sqrt(N <J_ij^2>)", f"{found['g']:.4f}", "root mean square singular value"),
        ("sqrt(N Var J_ij)", f"{found['g_without_mean']:.4f}", "g without the mean weight"),
        ("effective rank PR^D", f"{found['effective_rank']:.4f}", "in units of N; inf for i.i.d. weights"),
        ("overlaps u_a . v_a", f"{found['rank']}", "of the non-zero singular values"),
        ("  mean", f"{found['overlap_mean']:+.4f}", f"{found['overlap_mean_z']:+.1f} s.e. from chance, 0"),
        ("  sd", f"{found['overlap_sd']:.4f}", f"{found['overlap_sd_z']:+.1f} s.e. from chance, {n**-0.5:.4f}"),
        ("outliers", f"{outliers.size}", _list(outliers)),
    ]
    fractions = [prediction.misses(bulk) for prediction in (ring, modes)]
    deviations = [
        f"{abs(prediction.right) * couplings.finite_size(law, n, with_gains=gains.transfer is not None).edge:.4f}"
        for prediction, law in ((ring, haar), (modes, gaussian))
    ]
    compared = [
        ("", "measured", "ring", "Gaussian modes"),
        ("right edge", f"{np.real(values).max():.4f}", f"{ring.right:.4f}", f"{modes.right:.4f}"),
        ("  may be off by, in one network", "", *deviations),
        ("left edge", f"{np.real(values).min():.4f}", f"{ring.left:.4f}", f"{modes.left:.4f}"),
        ("at zero", f"{1 - bulk.size / n:.4f}", f"{ring.zero_mass:.4f}", f"{modes.zero_mass:.4f}"),
        (f"outside the boundary by {MARGIN:.0%}", "", *(f"{outside:.4f}" for outside, _ in fractions)),
        (f"inside voids by {MARGIN:.0%}", "", *(f"{in_voids:.4f}" for _, in_voids in fractions)),
        ("singular values missed by", "", "0", f"{mismatch:.4f}"),
        ("seconds", f"{diagonalised - began:.2f}", f"{finished - diagonalised:.2f}, compilation included", ""),
    ]
    ax = _draw(values, [ring, modes], window, density)
    plotting.marks(outliers, ax, label="outside the ring")
    data = _dataset(values, [ring, modes], window, density).assign_attrs(found | ring.numbers())
    data["outliers"] = ("outlier", outliers)
    data["overlaps"] = ("mode", np.asarray(haar.overlaps))
    data["singular_values"] = ("mode", np.asarray(haar.values))
    notes = "".join(f"\nnote: {warning.message}" for warning in caught)
    text = table(source.matrix, described) + "\n\n" + table("", compared).lstrip("\n") + notes
    return _Report(data, plotting.legend(ax), text)


def _of_types(
    name: str, weights: Float[np.ndarray, "n n"], types: tuple[str, ...], gains: _Gains, seed: int
) -> _Report:
    """A measured matrix beside the theory of its types, and of types whose units send and receive unequally."""
    n = len(weights)
    began = time.perf_counter()
    with stage("diagonalising"):
        values = eigen.host_eigenvalues(weights, gains.sample(n, jax.random.key(seed)))[None]
    diagonalised = time.perf_counter()
    with stage("compiling the boundary of types") as line:
        plain, unequal = (couplings.from_matrix(weights, types=types, beyond=beyond) for beyond in (None, "degrees"))
        try:
            law = spectra.law(plain, gains.transfer, variance=gains.variance)
        except ValueError as error:
            raise InputError(f"`--types`: {error}") from error
        theory = _Prediction.of("theory of types", law)
        line.set_description_str("compiling the outliers")
        # Outliers of many parts are followed from the means alone: to count them takes a minute.
        outliers = [_outliers(plain, gains), _outliers(unequal, gains, counted=False)]
        edges = [(theory.left, theory.right)]
        other = spectra.law(unequal, gains.transfer, variance=gains.variance)
        edges.append((float(other.left_edge()), float(other.right_edge())))
        window = _Window.around(np.concatenate([values.ravel(), *outliers]), theory.curves)
        line.set_description_str("compiling the density")
        density = window.density(law)
    finished = time.perf_counter()
    bulk = _off_zero(values)
    x, outside = np.real(values), theory.misses(bulk)[0]
    rights = [max([right, *np.real(z)]) for (_, right), z in zip(edges, outliers, strict=True)]
    lefts = [min([left, *np.real(z)]) for (left, _), z in zip(edges, outliers, strict=True)]
    rows = [
        ("", "measured", "types", "types, degrees"),
        ("right edge", f"{x.max():.4f}", *(f"{right:.4f}" for right in rights)),
        ("left edge", f"{x.min():.4f}", *(f"{left:.4f}" for left in lefts)),
        ("right edge of the bulk", "", *(f"{right:.4f}" for _, right in edges)),
        ("at zero", f"{1 - bulk.size / n:.4f}", f"{theory.zero_mass:.4f}", ""),
        (f"outside the boundary by {MARGIN:.0%}", "", f"{outside:.4f}", ""),
        ("outliers", "", *(_list(z) for z in outliers)),
        ("seconds", f"{diagonalised - began:.2f}", f"{finished - diagonalised:.2f}, compilation included", ""),
    ]
    ax = _draw(values, [theory], window, density)
    if not law.is_symmetric():
        plotting.marks(outliers[1], ax, label="outliers, types with degrees")
    data = _dataset(values, [theory], window, density).assign_attrs(theory.numbers())
    data["outliers"], data["outliers_with_degrees"] = ("outlier", outliers[0]), ("outlier_2", outliers[1])
    statistics = couplings.weight_statistics(weights, types).table()
    return _Report(data, plotting.legend(ax), f"{table(name, rows)}\n\n{statistics}")


# --- theory


def _outliers(ensemble: couplings.Ensemble, gains: _Gains, counted: bool = True) -> Complex[np.ndarray, " k"]:
    """The isolated eigenvalues that the low-rank parts of an ensemble add beside the bulk."""
    if ensemble.finite_rank().rank == 0 and not np.any(np.asarray(ensemble.block_means())):
        return np.empty(0, np.complex128)
    find = spectra.outliers if counted else eqx.filter_jit(spectra.outliers)
    values = np.asarray(find(ensemble, gains.transfer, variance=gains.variance).values)
    return values[np.isfinite(values)]


@dataclass(frozen=True)
class _Prediction:
    name: str
    curves: list[Complex[np.ndarray, " points"]]
    voids: list[bool]
    right: float
    left: float
    zero_mass: float

    @classmethod
    def of(cls, name: str, law: spectra.SpectralLaw | spectra.TypedLaw) -> "_Prediction":
        curves = [np.asarray(curve) for curve in law.boundary()]
        # A curve inside an odd number of others bounds a void.
        depths = [sum(bool(spectra.contains(outer, c[0])) for outer in curves if outer is not c) for c in curves]
        voids = [depth % 2 == 1 for depth in depths]
        typed = isinstance(law, spectra.TypedLaw)
        at_zero = float(np.sum(law.atoms().mass)) if typed else float(law.zero_mass())  # without time constants
        return cls(name, curves, voids, float(law.right_edge()), float(law.left_edge()), at_zero)

    def misses(self, values: Complex[np.ndarray, " m"]) -> tuple[float, float]:
        """Fractions of eigenvalues outside the boundary and inside voids, by more than `MARGIN`."""
        if not values.size:
            return 0.0, 0.0
        fractions = spectra.coverage(values, self.curves, margin=MARGIN)
        return float(fractions.outside), float(fractions.in_voids)

    def numbers(self) -> dict[str, float]:
        return {"right_edge": self.right, "left_edge": self.left, "zero_mass": self.zero_mass}


@dataclass(frozen=True)
class _Window:
    """The part of the complex plane that is shown, symmetric about the real axis, and its grid."""

    re: Float[np.ndarray, " x"]
    im: Float[np.ndarray, " y"]

    @classmethod
    def around(cls, values: Complex[np.ndarray, "..."], curves: Sequence[Complex[np.ndarray, " points"]]) -> "_Window":
        shown = np.concatenate([values.ravel(), *curves])
        x, y = np.real(shown), np.imag(shown)
        pad = 0.06 * max(np.ptp(x), np.ptp(y), 1e-3)
        top = np.abs(y).max() + pad
        return cls(np.linspace(x.min() - pad, x.max() + pad, GRID), np.linspace(-top, top, GRID))

    def holds(self, values: Complex[np.ndarray, "..."]) -> bool:
        x, y = np.real(values), np.imag(values)
        return bool(self.re[0] <= x.min() and x.max() <= self.re[-1] and np.abs(y).max() <= self.im[-1])

    def density(
        self, law: spectra.SpectralLaw | spectra.TypedLaw
    ) -> Float[np.ndarray, "y x"] | Float[np.ndarray, " x"]:
        """On the grid or, where the spectrum is real, on the real line."""
        if law.is_symmetric():
            return np.asarray(law.density(self.line()))
        upper = np.asarray(law.density(self.re + 1j * self.im[GRID // 2 :, None]))
        return np.concatenate([upper[::-1], upper])  # a real J: conjugate eigenvalues come in pairs

    def line(self) -> Float[np.ndarray, " x"]:
        return np.linspace(self.re[0], self.re[-1], 5 * GRID)


# --- results: data, figure, table


def _dataset(values, predictions: Sequence[_Prediction], window: _Window, density: np.ndarray) -> xr.Dataset:
    curves = [curve for prediction in predictions for curve in prediction.curves]
    points = max((len(curve) for curve in curves), default=0)
    padded = np.full((len(curves), points), complex(np.nan, np.nan))
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = curve
    kinds = ["void" if void else "outer" for prediction in predictions for void in prediction.voids]
    owners = [prediction.name for prediction in predictions for _ in prediction.curves]
    on_line = density.ndim == 1
    return xr.Dataset(
        {
            "eigenvalues": (("realisation", "eigenvalue"), values),
            "boundary": (("curve", "point"), padded, {"missing": "NaN beyond the last point of a curve"}),
            "density": (("re",) if on_line else ("im", "re"), density, {"prediction": predictions[0].name}),
        },
        coords={
            "kind": ("curve", np.array(kinds, dtype="U5")),
            "prediction": ("curve", np.array(owners, dtype=f"U{max(map(len, owners), default=1)}")),
            "re": window.line() if on_line else window.re,
        }
        | ({} if on_line else {"im": window.im}),
    )


def _draw(values, predictions: Sequence[_Prediction], window: _Window, density: np.ndarray) -> plotting.Axes:
    if density.ndim == 1:
        ax = plotting.figure(height=3.6)
        bulk = np.real(_off_zero(values))
        share = bulk.size / values.size
        label = "eigenvalues" if share == 1 else f"eigenvalues ({1 - share:.0%} at zero not shown)"
        plotting.histogram(bulk, ax, mass=share, label=label)
        return plotting.line(window.line(), density, ax, label=predictions[0].name)
    ax = plotting.figure()
    plotting.density(window.re, window.im, density, ax, label="density per unit area")
    plotting.eigenvalues(values, ax, label="eigenvalues")
    styles = (plotting.VERMILLION, "-"), (plotting.GREEN, "--")
    for prediction, (color, style) in zip(predictions, styles, strict=False):
        plotting.boundary(prediction.curves, ax, color=color, style=style, label=prediction.name)
    return ax


def _statistics(weights: Float[np.ndarray, "n n"], haar: couplings.SingularModes) -> dict[str, float]:
    """Numbers that describe a measured matrix. By chance, overlaps of unit vectors have mean 0 and variance 1 / n."""
    n = len(weights)
    overlaps = np.asarray(haar.overlaps)[np.asarray(haar.values) > 0]
    rank = overlaps.size
    return {
        "nonzero_fraction": float(np.mean(weights != 0)),
        "g": float(np.sqrt(haar.variance())),
        "g_without_mean": float(np.sqrt(n * np.var(weights))),
        "effective_rank": float(haar.effective_rank()),
        "rank": rank,
        "overlap_mean": float(overlaps.mean()),
        "overlap_mean_z": float(overlaps.mean() * np.sqrt(n * rank)),
        "overlap_sd": float(overlaps.std()),
        "overlap_sd_z": float((overlaps.std() * np.sqrt(n) - 1) * np.sqrt(2 * rank)),
    }


def _off_zero(values: Complex[np.ndarray, "..."]) -> Complex[np.ndarray, " m"]:
    """Eigenvalues that are not 0 up to rounding: couplings of low rank have a point mass at 0, within a void."""
    values = values.ravel()
    return values[np.abs(values) > 1e-6 * np.abs(values).max()]


def _root_mean_square(x: Float[np.ndarray, " samples"]) -> str:
    return f"{np.sqrt(np.mean(x**2)):.4f}"


def _mean_and_sd(x: Float[np.ndarray, " samples"]) -> str:
    return f"{x.mean():.4f} ± {x.std(ddof=1):.4f}" if x.size > 1 else f"{x.mean():.4f}"


def _list(values: Complex[np.ndarray, " k"], shown: int = 6) -> str:
    listed = [f"{z:.3f}" if z.imag else f"{z.real:.3f}" for z in np.asarray(values)[:shown]]
    return ", ".join(listed + ["..."] * (len(values) > shown))
