"""The figure of `jaxnets infer`."""

import numpy as np
from jaxtyping import Float

from .. import plotting
from ..inference import LowRankFit, RankChoice
from .infer_dynamics import Dynamics, Moments

COLORS = (plotting.BLUE, plotting.VERMILLION, plotting.GREEN, plotting.PURPLE)
GRID = 41  # points of the flow along each axis
COMPONENTS = 10  # of the variance, at most


def draw(choice: RankChoice, dynamics: Dynamics, moments: Moments, interval: float, data) -> plotting.Axes:
    (latents, covariance, power), (components, flow, bound) = plotting.table(2, 3, width=4.0, height=3.0)
    _latents(choice.fit, interval, data, latents)
    _compare(moments, interval, covariance, power)
    _components(moments, components)
    _flow(choice.fit, dynamics, flow)
    _bound(choice, bound)
    return latents


def _latents(fit: LowRankFit, interval: float, data, ax: plotting.Axes) -> None:
    """The latent variables of one trial, held out if any is."""
    trial = int(np.asarray(fit.held_out)[0]) if fit.held_out.size else 0
    num = len(data[trial])
    times = interval * np.arange(num)
    z, error = (np.asarray(part)[trial, :num] for part in (fit.filtered.latents, fit.filtered.latents_error))
    for k in range(min(z.shape[1], len(COLORS))):
        plotting.estimates(times, z[:, k], ax, error=error[:, k], color=COLORS[k], style="-", label=f"$z_{k + 1}$")
    kind = "held out" if fit.held_out.size else "fitted"
    ax.set(xlabel="time", ylabel=f"latent variables, trial {trial} ({kind})")
    plotting.legend(ax)


def _compare(moments: Moments, interval: float, covariance: plotting.Axes, power: plotting.Axes) -> None:
    c = moments.c[:, 1:]
    lags = interval * np.arange(1, c.shape[1] + 1)
    _data_and_model(lags, c, covariance)
    covariance.set(xlabel="lag τ", ylabel="autocovariance C(τ), τ > 0")
    plotting.legend(covariance)
    frequencies = moments.frequencies / interval
    _data_and_model(frequencies[1:], interval * moments.power[:, 1:], power)
    power.set(xlabel="frequency", ylabel="power of a unit", xscale="log", yscale="log")
    shown = interval * np.concatenate([moments.power[0, 1:], moments.power[1:, 1:].mean(0)])
    power.set_ylim(bottom=0.5 * np.min(shown[shown > 0], initial=np.max(shown)))
    plotting.legend(power)


def _data_and_model(
    x: Float[np.ndarray, " x"], values: Float[np.ndarray, "r x"], ax: plotting.Axes, labels=("data", "model, ± 2 s.d.")
) -> None:
    mean, error = values[1:].mean(0), values[1:].std(0, ddof=1)
    plotting.estimates(x, mean, ax, error=error, color=plotting.VERMILLION, style="-", label=labels[1])
    shown = np.unique(np.round(np.geomspace(1, len(x), 40)).astype(int)) - 1 if len(x) > 60 else np.arange(len(x))
    plotting.samples(x[shown], values[0][shown], ax, label=labels[0])


def _components(moments: Moments, ax: plotting.Axes) -> None:
    parts = moments.components / np.sum(moments.components, 1, keepdims=True)
    num = min(parts.shape[1], COMPONENTS)
    pr = moments.dimensions
    labels = f"data, PR {pr[0]:.2f}", f"model, PR {pr[1:].mean():.2f} ± {pr[1:].std(ddof=1):.2f}"
    _data_and_model(np.arange(1.0, num + 1), parts[:, :num], ax, labels)
    ax.set(xlabel="principal component", ylabel="part of the variance", yscale="log")
    ax.set_xticks(range(1, num + 1))
    plotting.legend(ax, num_columns=1)


def _flow(fit: LowRankFit, dynamics: Dynamics, ax: plotting.Axes) -> None:
    """The first two latent variables; with two in all, the flow and where either rests."""
    model, z = fit.model, np.asarray(fit.filtered.latents).reshape(-1, fit.model.rank)
    if model.rank == 1:
        span = 1.3 * np.max(np.abs(z))
        at = np.linspace(-span, span, 201)
        plotting.profile(at, np.asarray(dynamics.step(at[:, None]))[:, 0] - at, ax, color=plotting.BLACK)
        plotting.profile(at, np.zeros_like(at), ax, color=plotting.BLACK, style=":")
        _points(dynamics.points[:, 0], np.zeros(len(dynamics.points)), dynamics.stable, ax)
        ax.set(xlabel="$z_1$", ylabel="change of $z_1$ in a step")
        plotting.legend(ax, num_columns=1)
        return
    if model.rank == 2:
        low, high = z.min(0), z.max(0)
        if len(dynamics.points):
            low, high = np.minimum(low, dynamics.points.min(0)), np.maximum(high, dynamics.points.max(0))
        room = 0.1 * (high - low)
        x, y = (np.linspace(a, b, GRID) for a, b in zip(low - room, high + room, strict=True))
        at = np.stack(np.meshgrid(x, y), -1)
        change = np.asarray(dynamics.step(at.reshape(-1, 2))).reshape(at.shape) - at
        _field(x, y, change, ax)
    else:
        for trial in np.asarray(fit.filtered.latents)[:20]:
            plotting.profile(trial[:, 0], trial[:, 1], ax, color="#bbbbbb")
    plotting.profile(dynamics.orbit[:, 0], dynamics.orbit[:, 1], ax, color=plotting.BLUE, label="orbit without noise")
    _points(dynamics.points[:, 0], dynamics.points[:, 1], dynamics.stable, ax)
    if len(dynamics.cycles):
        x, y = dynamics.cycles.reshape(-1, model.rank)[:, :2].T
        plotting.samples(x, y, ax, color=plotting.PURPLE, marker="D", label="2-cycles")
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    plotting.legend(ax, num_columns=1)


def _field(x, y, change: Float[np.ndarray, "y x 2"], ax: plotting.Axes) -> None:
    """Streamlines, and where z_1 rests (dashed) and z_2 (dotted)."""
    ax.streamplot(x, y, change[..., 0], change[..., 1], color="#b5b5b5", density=0.9, linewidth=0.7, arrowsize=0.7)
    for part, style in zip(np.moveaxis(change, -1, 0), ("--", ":"), strict=True):
        if np.min(part) < 0 < np.max(part):
            ax.contour(x, y, part, levels=[0.0], colors=[plotting.BLACK], linestyles=style, linewidths=0.9)
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))


def _points(x, y, stable, ax: plotting.Axes) -> None:
    for kind, which, marker in (("stable", stable, "s"), ("unstable", ~stable, "o")):
        if np.any(which):
            color = plotting.GREEN if kind == "stable" else plotting.VERMILLION
            plotting.samples(x[which], y[which], ax, color=color, marker=marker, label=f"{kind} points")


def _bound(choice: RankChoice, ax: plotting.Axes) -> None:
    if len(choice.ranks) > 1:
        error = np.where(np.isfinite(choice.lacks_error), choice.lacks_error, 0)
        plotting.samples(choice.ranks.astype(float), choice.held_out_elbo, ax, error=error, label="held-out trials")
        plotting.profile(
            choice.ranks.astype(float), np.array([float(fit.elbo) for fit in choice.fits]), ax, label="fitted trials"
        )
        plotting.level(float(choice.rank), ax, label=f"rank {choice.rank} chosen")
        ax.set(xlabel="rank", ylabel="bound, nats per number")
        ax.set_xticks(choice.ranks)
    else:
        bounds = np.asarray(choice.fit.bounds)
        plotting.profile(np.arange(1.0, len(bounds) + 1), bounds, ax, color=plotting.BLUE, label="updates")
        plotting.profile(
            np.array([1.0, len(bounds)]),
            np.full(2, float(choice.fit.held_out_elbo)),
            ax,
            style="--",
            label="held-out trials",
        )
        ax.set(xlabel="update", ylabel="bound, nats per number")
        low = np.nanquantile(bounds, 0.02)
        ax.set_ylim(bottom=min(low, float(choice.fit.held_out_elbo)))
    plotting.legend(ax, num_columns=1)
