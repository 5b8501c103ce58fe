"""Level curves m = 1 in the plane of zeta, followed from seeds, with steps as long as their curvature allows.

A support thinner than the cells of any grid still has two sides, each a smooth curve. A step never crosses to the other
side: tangents there point the other way, since the support lies on the left of every curve, and Newton's corrections
stay below the distance 1 / |dm/dzeta| to the poles. All seeds advance together, each until it meets a seed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int
from numpy.typing import NDArray

from . import tolerances

Points = NDArray[np.complex128]


class Level(NamedTuple):
    """z, m and dm/dx + i dm/dy at points zeta, and the state there: what a point close by is computed from."""

    z: Points
    m: Float[np.ndarray, " n"]
    gradient: Points
    state: Complex[np.ndarray, "n k"]

    @property
    def change(self) -> Points:
        """Newton's step to m = 1 along the gradient.

        Outside the support 1/m is the better variable, inside 1/sqrt(m): next to a line of poles m falls as
        1/distance, around one pole as 1/distance^2, and from neither side does a step overshoot the poles. A point
        on a pole, where m is infinite, has no step.
        """
        size = np.abs(self.gradient)
        known = np.isfinite(self.m) & np.isfinite(size) & (size > 0)
        gradient: Points = np.where(known, self.gradient, 0)
        m, size = np.where(known, self.m, 1), np.where(known, size, 1)
        factor = np.where(m < 1, 1, 2 / (np.sqrt(np.maximum(m, 1)) + 1))
        return -factor * m * (m - 1) * (gradient / size) / size

    @property
    def tangent(self) -> Points:
        """The unit vector along the level that has the larger m on its left."""
        return -1j * self.gradient / np.abs(self.gradient)


Field = Callable[[Points, Complex[np.ndarray, "n k"]], Level]


class Loop(NamedTuple):
    """A closed curve: its points zeta, the first not repeated, with their images z, unit tangents and states."""

    zeta: Points
    z: Points
    tangent: Points
    state: Complex[np.ndarray, "n k"]


def onto(
    at: Field, zeta: Points, state: Complex[np.ndarray, "n k"], longest: Float[np.ndarray, " n"], num: int
) -> tuple[Points, Level]:
    """Points moved onto the level by `num` Newton steps, each no longer than `longest`, and the level there."""
    level = at(zeta, state)
    for _ in range(num):
        change = level.change
        zeta = zeta + change * (longest / np.maximum(np.abs(change), np.maximum(longest, 1e-300)))
        level = at(zeta, level.state)
    return zeta, level


def follow_levels(
    at: Field, seeds: Points, state: Complex[np.ndarray, "n k"], size: float, walls: list[Points]
) -> tuple[list[Loop], Points]:
    """The closed curves through points of the level, and the seeds whose curve could not be closed.

    No step crosses a wall, a closed curve on which m is infinite, unless almost along it.
    """
    level = at(seeds, state)
    fronts = _Fronts(seeds, level, size, walls)
    for _ in range(tolerances.FOLLOW_STEPS):
        active = np.flatnonzero((fronts.following < 0) & (fronts.step > tolerances.SHORTEST_STEP * size))
        if active.size == 0:
            break
        fronts.advance(at, active)
    fronts.turn_at_zero()
    return fronts.loops()


class _Fronts:
    """One front for each seed: where it is, how far it goes next, its path, and the seed it has met (-1 if none)."""

    def __init__(self, seeds: Points, level: Level, size: float, walls: list[Points]):
        self.seeds, self.start, self.size, self.walls = seeds, level, size, walls
        self.zeta, self.tangent, self.state = seeds.copy(), level.tangent.copy(), level.state.copy()
        self.reach = 1 / np.abs(level.gradient)  # to the poles, about
        self.step = np.minimum(self.reach, size / 50)
        self.bend = np.zeros(seeds.size)
        self.following = np.full(seeds.size, -1)
        self.paths = [[first] for first in zip(seeds, level.z, level.tangent, level.state, strict=True)]

    @np.errstate(all="ignore")  # t may not be found at the end of a step that is too long
    def advance(self, at: Field, active: Int[np.ndarray, " k"]) -> None:
        """One step of the active fronts along circles of their curvature, refused if it is too long."""
        start, tangent, reach = self.zeta[active], self.tangent[active], self.reach[active]
        step, bend = self.step[active], self.bend[active]
        with np.errstate(all="ignore"):
            level = at(start + step * tangent * np.exp(0.5j * bend * step), self.state[active])
            first = level.change
            end = start + step * tangent * np.exp(0.5j * bend * step) + first
            level = at(end, level.state)
            turn = np.angle(level.tangent / tangent)
            error = np.abs(first) / np.minimum(reach, 1 / np.abs(level.gradient))
            good = (error < tolerances.STEP_ERROR) & (np.abs(level.m - 1) < tolerances.STEP_MISS)
            good &= np.abs(turn) < tolerances.STEP_TURN
            good &= np.abs(turn - bend * step) < tolerances.STEP_TURN / 2
            good[good] = ~self._blocked(start[good], end[good])
        growth = np.cbrt(tolerances.STEP_ERROR / 4 / np.maximum(error, 1e-12))
        growth = np.minimum(growth, tolerances.STEP_TURN / 2 / np.maximum(np.abs(turn), 1e-12))
        longer = np.where(good, np.clip(growth, 0.3, 2), 0.3) * step
        self.step[active] = np.minimum(longer, self.size / 20)
        kept = active[good]
        before = np.array([self.paths[front][-1][1] for front in kept])
        images = np.stack([before, level.z[good]]) if kept.size else np.zeros((2, 0))
        met = self._met(start[good], tangent[good], end[good], level.tangent[good], reach[good], images)
        self.following[kept] = met
        end = end[good] + np.where(np.abs(level.m[good] - 1) < 1e-2, level.change[good], 0)
        self.zeta[kept], self.tangent[kept], self.state[kept] = end, level.tangent[good], level.state[good]
        self.reach[kept], self.bend[kept] = 1 / np.abs(level.gradient[good]), (turn / step)[good]
        for k, front in enumerate(kept):
            if met[k] < 0:
                self.paths[front].append((end[k], level.z[good][k], level.tangent[good][k], level.state[good][k]))

    def _blocked(self, start: Points, end: Points) -> np.ndarray:
        """Whether a step crosses a wall."""
        found = np.zeros(start.size, bool)
        if start.size == 0:
            return found
        step = (end - start)[:, None]
        for wall in self.walls:
            relative = np.conj(step) * (wall - start[:, None])
            front, segment = np.nonzero((relative.imag[:, 1:] > 0) != (relative.imag[:, :-1] > 0))
            a, b = relative[front, segment], relative[front, segment + 1]
            along = a.real - a.imag * (b.real - a.real) / (b.imag - a.imag)
            steep = np.abs((b - a).imag) > tolerances.WALL_ANGLE * np.abs(b - a)
            inside = (along > 0) & (along < np.abs(step[front, 0]) ** 2)
            found[front[steep & inside]] = True
        return found

    def _met(self, start, before, end, after, reach, images) -> Int[np.ndarray, " k"]:
        """The first seed on each step, -1 if there is none; `images` are z at its start and its end."""
        from_start, to_end = self.seeds - start[:, None], self.seeds - end[:, None]
        along = (np.conj(before)[:, None] * from_start).real
        ahead = (along > 0) & ((np.conj(after)[:, None] * to_end).real <= 0)
        # Off the arc by much less than the distance to the poles: not on the other side of a thin support.
        chord = end - start
        length = np.abs(chord)[:, None]
        across = (np.conj(chord)[:, None] * from_start).imag / length
        arc = -np.angle(after / before)[:, None] / length * along * (length - along) / 2
        close = np.abs(across - arc) < np.minimum(reach[:, None], 1 / np.abs(self.start.gradient)) / 3
        same = (np.conj(after)[:, None] * self.start.tangent).real > 0.7
        # A seed on another sheet has the same zeta, and its z elsewhere.
        sheet = np.abs(self.start.z - images[1][:, None]) <= 2 * np.abs(images[1] - images[0])[:, None]
        distance = np.where(ahead & close & same & sheet & (along < 1.5 * length), along, np.inf)
        first = np.argmin(distance, 1)
        return np.where(np.isfinite(distance[np.arange(start.size), first]), first, -1)

    def turn_at_zero(self) -> None:
        """Fronts that end where branches of a wall meet at 0, and the support has no width, go on beside the next one.

        That is the first branch counter-clockwise from where the front comes from: what is free lies on its right.
        """
        rays = [ray for wall in self.walls for ray in _rays_at_zero(wall)]
        ended = np.flatnonzero((self.following < 0) & (np.abs(self.zeta) < tolerances.TURNED * self.size))
        for front in ended if rays else []:
            turns = (np.array(rays) - np.angle(-self.tangent[front])) % (2 * np.pi)
            ray = np.exp(1j * rays[int(np.argmin(np.where(np.abs(turns - np.pi) > np.pi - 0.1, np.inf, turns)))])
            leaving = (np.abs(np.angle(self.start.tangent / ray)) < 0.3) & (np.abs(np.angle(self.seeds / ray)) < 0.3)
            distance = np.where(leaving, np.abs(self.seeds), np.inf)
            if distance.min() < self.size / 5:
                self.following[front] = np.argmin(distance)

    def loops(self) -> tuple[list[Loop], Points]:
        """Each cycle of seeds that follow one another, and the seeds that lead to none."""
        state = np.zeros(self.seeds.size, int)  # 0 not seen, 1 on this walk, 2 leads to a loop, 3 to none
        found = []
        for seed in range(self.seeds.size):
            walk, at = [], seed
            while at >= 0 and state[at] == 0:
                state[at] = 1
                walk.append(at)
                at = self.following[at]
            if at >= 0 and state[at] == 1:
                path = [point for front in walk[walk.index(at) :] for point in self.paths[front]]
                found.append(Loop(*(np.array(column) for column in zip(*path, strict=True))))
            state[walk] = 3 if at < 0 or state[at] == 3 else 2
        return found, self.seeds[state == 3]


def _rays_at_zero(wall: Points) -> list[float]:
    """The directions in which the branches of a closed curve leave the point 0, where it meets 0 at all."""
    start, step = wall[:-1], np.diff(wall)
    length = np.maximum(np.abs(step), 1e-150)  # whose square is a number, where points coincide
    nearest = np.clip(-(np.conj(step) * start).real / length**2, 0, 1)
    meets = np.abs(start + nearest * step) < tolerances.WALL_AT_ZERO * length
    ahead = np.angle(step[meets & (nearest < 0.98)])
    back = np.angle(-step[meets & (nearest > 0.02)])
    return [*ahead, *back]
