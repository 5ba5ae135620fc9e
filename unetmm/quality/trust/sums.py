"""What is added up over all blocks of one layer; parts add up to the same in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Plane
from unetmm.quality.trust.blocks import (
    ALL_BANDS,
    BANDS,
    BLOCK_PX,
    COLUMNS,
    FINE,
    JOINED,
    WEIGHTS,
    Floats,
    Numbers,
    Spectra,
    band_means,
    cut_blocks,
    seen_means,
    to_spectra,
)
from unetmm.quality.trust.extremes import Extremes
from unetmm.quality.trust.noise import LayerNoise

GROUPS = 28
"""Number of groups of blocks by their structure, each twice as structured as the second before."""
FIRST_GROUP = -12
"""Logarithm to the base of the root of 2 of the structure of the first group."""
REGIONS = 3
"""Rows and columns of regions of a plane whose shifts are told."""
MAP_CELLS = 48
"""Most rows and columns of a map of the image."""
EMPTY_SHARE = 0.05
"""Finest power of a block, as a share of that of noise, below which it is empty or clipped."""
UNLIKELY = -3.0
"""Agreement with the input, in deviations of chance, from which on a few blocks are suspicious."""
IMPOSSIBLE = -5.0
"""Agreement from which on a single block is."""
ALLOWED = 0.04
"""Share of a block's power that it may gain before it is suspicious."""
ROUNDED = 1 / 12
"""Variance of what rounding to whole numbers adds."""
MOST_PLACES = 5
"""Number of the worst blocks that are kept."""
KINDS = 4
"""Numbers kept for a frequency: power before, power after, and what both have in common, as a real
and an imaginary part."""
FREQUENCIES = BLOCK_PX * COLUMNS
"""Frequencies of a block."""


class Suspect(NamedTuple):
    """A block of the output that the input does not bear out."""

    z: float
    """Agreement with the input in deviations of chance; below 0 where it contradicts."""
    plane: Plane
    """Plane (t, c, z) of the output."""
    row: int
    """First row."""
    column: int
    """First column."""


class Shape(NamedTuple):
    """Where a block lies among all of its plane."""

    rows: int
    """Number of blocks down."""
    columns: int
    """Number of blocks across."""

    def cells(self, side: int) -> tuple[int, int]:
        """Rows and columns of a grid with at most so many of them, a block each at least."""
        return min(side, self.rows), min(side, self.columns)


def _zeros(*shape: int) -> Any:
    return field(default_factory=lambda: np.zeros(shape))


@dataclass
class LayerSums:
    """Sums over the blocks of one layer, spectra in units of the noise of each."""

    shape: Shape
    """Number of blocks of a plane."""
    edges: Numbers
    """Values between the bins of means."""
    groups: Numbers = _zeros(GROUPS, KINDS, FREQUENCIES)
    """Spectra by groups of structure."""
    counts: Numbers = _zeros(GROUPS)
    """Number of blocks of each group."""
    rounding: Numbers = _zeros(GROUPS)
    """Sums of the power that rounding put into each frequency of their blocks."""
    regions: Numbers = _zeros(REGIONS**2, KINDS, FREQUENCIES)
    """Spectra by region of the plane."""
    region_counts: Numbers = _zeros(REGIONS**2)
    """Number of blocks of each region."""
    maps: Numbers = field(default_factory=lambda: np.zeros(0))
    """Number of blocks, noise removed, estimated squared error, and suspicious blocks of each cell
    of a map, (4, rows, columns)."""
    bins: Numbers = field(default_factory=lambda: np.zeros(0))
    """Number of blocks, sums of their means before and after, and of squared noise, by bin."""
    blocks: int = 0
    """Number of blocks that were looked at."""
    unlikely: int = 0
    """Number of them that the input hardly bears out."""
    impossible: int = 0
    """Number of them that it does not bear out at all."""
    spots: list[Suspect] = field(default_factory=list)
    """Worst blocks."""
    before: Extremes = Extremes()
    """Extremes of the input."""
    after: Extremes = Extremes()
    """Extremes of the output."""
    pixels: int = 0
    """Number of pixels that are measured in both."""
    unequal_gaps: int = 0
    """Number of pixels that are measured in one of them alone."""
    changed: int = 0
    """Number of pixels whose value differs."""
    truth: Numbers = _zeros(3)
    """Number of pixels with a reference, squared errors before and after."""
    rings: Numbers = _zeros(5, FREQUENCIES)
    """Power of the reference, and what it has in common with input and output."""

    def __post_init__(self) -> None:
        if not self.maps.size:
            self.maps = np.zeros((4, *self.shape.cells(MAP_CELLS)))
        if not self.bins.size:
            self.bins = np.zeros((4, len(self.edges) + 1))

    def add(self, other: LayerSums) -> None:
        """Take in what was found elsewhere."""
        for one in fields(self):
            mine, others = getattr(self, one.name), getattr(other, one.name)
            if one.name in ("shape", "edges"):
                continue
            if isinstance(mine, Extremes):
                setattr(self, one.name, mine.beside(others))
            elif one.name == "spots":
                self.spots = sorted([*mine, *others])[:MOST_PLACES]
            elif isinstance(mine, np.ndarray):
                mine += others
            else:
                setattr(self, one.name, mine + others)


class UnitView(NamedTuple):
    """One layer of a part of the plane, as floats, with what is measured in both images."""

    before: Floats
    """Values of the input, (height, width)."""
    after: Floats
    """Values of the output."""
    measured: NDArray[np.bool_] | None
    """Flags of pixels that are measured in both; None where all are."""
    reference: Floats | None
    """Values of the reference."""
    plane: Plane
    """Plane of the output."""
    row: int
    """First row of the first block, within the plane."""
    column: int
    """First column of it."""
    first: tuple[int, int]
    """Number of the first block, down and across."""
    inset: tuple[int, int]
    """Rows and columns before the first block."""
    origin: float = 0.0
    """Stored value of what is 0 here."""
    is_rounded: bool = False
    """Whether the output has whole numbers."""

    def blocks(self, values: NDArray[Any]) -> NDArray[Any]:
        """The blocks of values (height, width)."""
        return cut_blocks(values[self.inset[0] :, self.inset[1] :])


def look(view: UnitView, noise: LayerNoise, shape: Shape, edges: Numbers) -> LayerSums:
    """All that is told of a part of a layer."""
    sums = LayerSums(shape, edges)
    before, after = view.blocks(view.before), view.blocks(view.after)
    if len(before):
        _add_blocks(view, before, after, noise, sums)
    if view.reference is not None:
        _add_truth(view, view.reference, sums)
    return sums


def _add_means(sums: LayerSums, before: Numbers, after: Numbers, units: Floats) -> None:
    """Means of blocks before and after, by how bright the output is there.

    Blocks are wide, so that sharper or softer edges hardly change them. By the input, those that
    noise made brighter would count as bright.
    """
    at = np.searchsorted(sums.edges, after, side="right")
    for i, values in enumerate((None, before, after, np.square(units))):
        sums.bins[i] += np.bincount(at, values, len(sums.edges) + 1)


def _add_blocks(
    view: UnitView, before: Floats, after: Floats, noise: LayerNoise, sums: LayerSums
) -> None:
    """Spectra of blocks, and what each of them says by itself."""
    columns = (view.before.shape[1] - view.inset[1]) // BLOCK_PX
    number = np.arange(len(before))
    down, across = view.first[0] + number // columns, view.first[1] + number % columns
    if view.measured is not None:
        whole = view.blocks(view.measured).all((1, 2))
        before, after, down, across = before[whole], after[whole], down[whole], across[whole]
    if not len(before):
        return
    means, dark = after.mean((1, 2)), before.mean((1, 2))
    shown = dark, means, seen_means(after)
    stored = [values.astype(np.float64) + view.origin for values in shown]
    _add_means(sums, stored[0], stored[1], noise.deviation(stored[1]).astype(np.float32))
    units = noise.deviation(stored[2]).astype(np.float32)
    x, y = to_spectra(before, dark, units), to_spectra(after, means, units)
    common = x * y.conj()
    power = np.stack([_square(x), _square(y), common.real, common.imag], axis=1)
    structure = band_means(power[:, 1], ALL_BANDS / noise.spectrum)
    structure = structure * np.float32((ALL_BANDS / noise.spectrum).sum() / ALL_BANDS.sum())
    fine = band_means(power[:, 0], FINE) / (noise.spectrum @ FINE / FINE.sum())
    live = fine > EMPTY_SHARE
    # Steps of whole numbers are no structure, as long as noise is larger.
    steps = np.full(len(units), ROUNDED * BLOCK_PX**2 * view.is_rounded, np.float32)
    steps /= np.maximum(1, np.square(units))
    _add_spectra(sums, power, structure, steps, live, (down, across))
    _add_local(view, sums, power, noise, units, steps, (down, across))


def _add_spectra(
    sums: LayerSums,
    power: Floats,
    structure: Floats,
    steps: Floats,
    live: NDArray[np.bool_],
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> None:
    """Add up spectra by groups of structure and by regions."""
    steps = 2 * np.log2(np.maximum(structure, 1e-9)) - FIRST_GROUP
    group = np.clip(np.floor(steps), 0, GROUPS - 1).astype(int)
    region = _cell(places, sums.shape, (REGIONS, REGIONS))
    chosen = np.zeros((GROUPS + REGIONS**2, len(power)), np.float32)
    number = np.arange(len(power))
    chosen[group[live], number[live]] = 1
    chosen[GROUPS + region, number] = 1
    added = (chosen @ power.reshape(len(power), -1)).reshape(-1, KINDS, FREQUENCIES)
    sums.groups += added[:GROUPS]
    sums.regions += added[GROUPS:]
    sums.counts += np.bincount(group[live], minlength=GROUPS)
    sums.rounding += np.bincount(group[live], steps[live], GROUPS)
    sums.region_counts += np.bincount(region, minlength=REGIONS**2)
    sums.blocks += len(power)


def _add_local(
    view: UnitView,
    sums: LayerSums,
    power: Floats,
    noise: LayerNoise,
    units: Floats,
    steps: Floats,
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> None:
    """What each block says: whether the input bears it out, and how wrong it may be."""
    kept = power[:, 2] - power[:, 1]  # what was removed has in common with what is left
    removed = power[:, 0] + power[:, 1] - 2 * power[:, 2]
    weights = (ALL_BANDS / noise.chance).astype(np.float32)
    spread = np.sqrt(np.maximum(JOINED * (power[:, 1] @ weights), 1e-30))
    # A few percent more or less of everything is not made up: that is told by the sums.
    z = ((kept + ALLOWED * power[:, 1]) @ weights + steps * weights.sum()) / (
        spread * np.sqrt(_own_chance(removed, noise))
    )
    z[removed @ weights == 0] = 0
    share = (removed @ (ALL_BANDS / noise.spectrum).astype(np.float32)) / ALL_BANDS.sum()
    error = np.square(units) * (kept @ WEIGHTS.astype(np.float32))
    error /= WEIGHTS.sum() * BLOCK_PX**2
    cells = sums.maps.shape[1:]
    cell = _cell(places, sums.shape, cells)
    for i, values in enumerate((None, share, error, z < UNLIKELY)):
        found = np.bincount(cell, values, cells[0] * cells[1])
        sums.maps[i] += found.reshape(cells)
    sums.unlikely += int(np.count_nonzero(z < UNLIKELY))
    sums.impossible += int(np.count_nonzero(z < IMPOSSIBLE))
    for i in np.argsort(z, kind="stable")[:MOST_PLACES]:
        if z[i] < UNLIKELY:
            row = view.row + (int(places[0][i]) - view.first[0]) * BLOCK_PX
            column = view.column + (int(places[1][i]) - view.first[1]) * BLOCK_PX
            sums.spots.append(Suspect(float(z[i]), view.plane, row, column))


def _own_chance(removed: Floats, noise: LayerNoise) -> Floats:
    """How much more noise there is in each block than elsewhere, by what was removed from it.

    JPEG takes noise out of flat places only. Of all bands the middle one counts, so that what was
    made up in one or two of them does not count as noise.
    """
    shares = [removed @ (band / noise.chance / band.sum()).astype(np.float32) for band in BANDS]
    found: Floats = np.maximum(np.median(shares, axis=0), 1)
    return found


def _add_truth(view: UnitView, reference: Floats, sums: LayerSums) -> None:
    """How far both images are from a reference, all in all and by frequency."""
    known = np.isfinite(reference) if view.measured is None else view.measured
    errors = [np.square(v - reference)[known] for v in (view.before, view.after)]
    sums.truth += np.array([np.count_nonzero(known), *(e.sum(dtype=np.float64) for e in errors)])
    blocks = [view.blocks(v) for v in (view.before, view.after, reference)]
    whole = view.blocks(known).all((1, 2))
    if not whole.any():
        return
    ones = np.ones(int(whole.sum()), np.float32)
    x, y, s = (to_spectra(b[whole], b[whole].mean((1, 2)), ones) for b in blocks)
    for i, values in enumerate(
        (_square(s), (x * s.conj()).real, (y * s.conj()).real, _square(x), _square(y))
    ):
        sums.rings[i] += values.sum(0, dtype=np.float64)


def _square(spectra: Spectra) -> Floats:
    found: Floats = spectra.real**2 + spectra.imag**2
    return found


def _cell(
    places: tuple[NDArray[np.intp], NDArray[np.intp]], shape: Shape, cells: Sequence[int]
) -> NDArray[np.intp]:
    """Number of the cell of a grid over the plane that each block lies in."""
    down, across = places
    rows, columns = down * cells[0] // shape.rows, across * cells[1] // shape.columns
    found: NDArray[np.intp] = rows * cells[1] + columns
    return found
