"""What a restoration did to the values of an image: both images are read once, in parts.

open both --> look at places for the noise --> add up over all blocks --> figures --> findings
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.validity import Values, nodata_values
from unetmm.io.array import ArraySource, array_info
from unetmm.io.places import Place, RemotePath, to_place
from unetmm.io.sidecars import with_nodata
from unetmm.process import available_cores
from unetmm.provenance.record import read_record
from unetmm.quality.trust.blocks import BLOCK_PX
from unetmm.quality.trust.extremes import Extremes
from unetmm.quality.trust.figures import (
    LayerFigures,
    PowerCurves,
    error_map,
    make_figures,
    power_curves,
)
from unetmm.quality.trust.judging import (
    LIMITS,
    ORDER,
    PHOTO_LIMITS,
    Finding,
    Limits,
    Verdict,
    find,
    worst,
)
from unetmm.quality.trust.pair import (
    UNIT_PX,
    Layer,
    LayerPixels,
    Pair,
    Part,
    open_pair,
    parts_of,
    to_floats,
    unit_spans,
    why_not_judged,
)
from unetmm.quality.trust.places import Seen, see_layers
from unetmm.quality.trust.resolution import Resolution, Truth, measure_resolution, truth_of
from unetmm.quality.trust.sums import LayerSums, UnitView, look
from unetmm.sizes import parse_size

MOST_THREADS = 8
"""Most threads that look at an image."""


@dataclass(frozen=True)
class LayerTrust:
    """What was found of one channel or colour."""

    name: str
    """Name of it; empty where there is only one."""
    noise: str
    """Noise of the input in words."""
    noise_level: float
    """Deviation of it in stored units."""
    figures: LayerFigures
    """Figures."""
    resolution: Resolution
    """Finest detail before and after."""
    truth: Truth | None
    """Distance from a reference; None without one."""
    findings: tuple[Finding, ...]
    """Findings, the worst first."""
    errors: NDArray[np.float64] = field(repr=False)
    """Estimated error by place, (rows, columns), in stored units."""
    power: PowerCurves = field(repr=False)
    """Power by frequency."""


@dataclass(frozen=True)
class Trust:
    """What a restoration did to the values of an image."""

    layers: tuple[LayerTrust, ...]
    """Every channel and colour."""
    share: float
    """Share of the image that was looked at."""
    seconds: float
    """Time that it took."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of all layers, each kind once, the worst first."""
        every = [one for layer in self.layers for one in layer.findings]
        found: dict[str, Finding] = {}
        for one in sorted(every, key=lambda one: ORDER.index(one.verdict)):
            found.setdefault(one.code, one)
        return tuple(found.values())

    @property
    def verdict(self) -> Verdict:
        """Verdict on the output."""
        return worst([one.verdict for one in self.findings])

    def __repr__(self) -> str:
        codes = ", ".join(one.code for one in self.findings) or "no findings"
        return f"<Trust {self.verdict}: {codes}>"


OnProgress = Callable[[int, int], None]
"""Callback with the pixels that were looked at, and their final number."""


def trust(
    before: Any,
    after: Any,
    reference: Any = None,
    mem_budget: str | int | None = None,
    axes: str | None = None,
    nodata: float | Sequence[float] | str | None = None,
) -> Trust:
    """What a restoration did to the values of an image, told by its input and output.

    Both are NumPy arrays, or what paths or URLs name. Files are read in parts.

    Parameters
    ----------
    before, after : input and output, of one size and scale.
    reference : an image of the truth, if there is one.
    mem_budget : peak memory of the process, arrays on top: bytes, "4GB", "50%" (by default).
    axes : of arrays, such as "YXC", as for `restore`.
    nodata : values of no measurement, as for `restore`; files say them, or how they were made.

    Raises
    ------
    UnetmmError : one of its leaves, with what was asked, what was found and what would work.
    """
    budget = parse_size(mem_budget) if isinstance(mem_budget, str) else mem_budget
    values = nodata_values(nodata)
    given = [before, after, *([] if reference is None else [reference])]
    if all(isinstance(image, np.ndarray) for image in given):
        sources = (with_nodata(_array_source(image, axes), values) for image in given)
        return trust_pair(Pair.of(*sources), 1.0, budget)
    if not all(isinstance(image, (str, Path, RemotePath)) for image in given):
        kinds = ", ".join(type(image).__name__ for image in given)
        raise ImageError(f"cannot compare {kinds}; give NumPy arrays, or paths, and not both")
    places = [to_place(image) for image in given]
    third = places[2] if len(places) > 2 else None
    return trust_files(places[0], places[1], third, budget, nodata=values)


def _array_source(image: NDArray[Any], axes: str | None) -> ArraySource:
    return ArraySource(image, array_info(image.shape, image.dtype, axes))


def trust_files(
    before: Place,
    after: Place,
    reference: Place | None = None,
    budget_bytes: int | None = None,
    most_px: int | None = None,
    on_progress: OnProgress | None = None,
    nodata: Values | None = None,
) -> Trust:
    """What a restoration did, by its input and output.

    Parameters
    ----------
    reference : an image of the truth, of the same size and scale.
    budget_bytes : peak memory of the process; None: half of what is available.
    most_px : pixels of all planes that are looked at, in rows that lie evenly; None: all.
    nodata : values for "no data" of both, () for none; None: as they and the output's record say.

    Raises
    ------
    ImageError
        If an image cannot be read, or they do not fit.
    BudgetError
        If nothing fits the budget.
    """
    with ExitStack() as stack:
        pair = open_pair(stack, before, after, reference, nodata=nodata)
        record = read_record(after)
        if reason := why_not_judged(pair, record):
            raise ImageError(f"{after}: {reason} unetmm compare shows both")
        strength = strength_of(record)
        return trust_pair(pair, strength, budget_bytes, most_px, on_progress)


def trust_pair(
    pair: Pair,
    strength: float = 1.0,
    budget_bytes: int | None = None,
    most_px: int | None = None,
    on_progress: OnProgress | None = None,
) -> Trust:
    """As `trust_files`, for images that are open."""
    started = time.monotonic()
    pixels = pair.before.info.pixels // pair.before.info.length("C")
    share = 1.0 if most_px is None else min(1.0, most_px / pixels)
    threads = min(MOST_THREADS, available_cores())
    parts = parts_of(pair, budget_bytes, threads, share)
    seen = see_layers(pair)
    sums = [LayerSums(pair.shape, one.edges) for one in seen]
    looked_px, total_px = 0, sum(part.box.height * part.box.width for part in parts)
    for part, found in _look_at_all(pair, parts, seen, threads):
        for mine, other in zip(sums, found, strict=True):
            mine.add(other)
        looked_px += part.box.height * part.box.width
        if on_progress is not None:
            on_progress(looked_px, total_px)
    layers = tuple(
        _layer_trust(pair, layer, one, own, strength)
        for layer, one, own in zip(pair.layers, seen, sums, strict=True)
    )
    return Trust(layers, total_px / max(1, pixels), time.monotonic() - started)


def _layer_trust(
    pair: Pair, layer: Layer, seen: Seen, sums: LayerSums, strength: float
) -> LayerTrust:
    figures = make_figures(sums, seen.noise)
    return LayerTrust(
        layer.name,
        seen.noise.words,
        seen.noise.level,
        figures,
        measure_resolution(pair, layer, seen.part, seen.noise),
        truth_of(sums),
        tuple(
            Finding(one.code, one.verdict, one.text, layer.name)
            for one in find(figures, seen.noise, strength, seen.unlike, _limits(pair, seen))
        ),
        error_map(sums),
        power_curves(sums, seen.noise),
    )


def _limits(pair: Pair, seen: Seen) -> Limits:
    """Limits for the kind of an input: three colours of 8 bits with smeared noise are a photo."""
    info = pair.before.info
    is_colour = info.samples - info.alpha == 3 and info.dtype == np.uint8
    return PHOTO_LIMITS if is_colour and seen.noise.is_smeared else LIMITS


def _look_at_all(
    pair: Pair, parts: list[Part], seen: list[Seen], threads: int
) -> Iterator[tuple[Part, list[LayerSums]]]:
    """Sums of every part, in their order; the next part is read meanwhile."""
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[list[list[LayerPixels]]]] = deque()
        ahead = iter(parts)

        def read_next() -> None:
            part = next(ahead, None)
            if part is not None:
                waiting.append(reader.submit(_read, pair, part))

        read_next()
        for part in parts:
            pixels = waiting.popleft().result()
            read_next()
            found = [LayerSums(pair.shape, one.edges) for one in seen]
            units = [
                (i, pool.submit(_look, pair, layer, one, part, unit, own))
                for i, (layer, one, own) in enumerate(zip(pair.layers, seen, pixels, strict=True))
                for unit in _units(pair, part)
            ]
            for i, unit in units:
                found[i].add(unit.result())
            yield part, found


def _read(pair: Pair, part: Part) -> list[list[LayerPixels]]:
    """All layers of a part, of each image."""
    layer_of = pair.read(part.number, part.box)
    return [layer_of(layer) for layer in pair.layers]


def _units(pair: Pair, part: Part) -> Iterator[tuple[int, int, int, int]]:
    """(y0, x0, y1, x1) of what is looked at at once; the same whatever the parts are."""
    info, box = pair.before.info, part.box
    for y0, y1 in unit_spans(info.height, UNIT_PX[0]):
        if box.y0 <= y0 < box.y1:
            for x0, x1 in unit_spans(info.width, UNIT_PX[1]):
                if box.x0 <= x0 < box.x1:
                    yield y0, x0, y1, x1


def _look(
    pair: Pair,
    layer: Layer,
    seen: Seen,
    part: Part,
    unit: tuple[int, int, int, int],
    pixels: list[LayerPixels],
) -> LayerSums:
    """Look at a unit of one layer."""
    info, box = pair.before.info, part.box
    y0, x0, y1, x1 = unit
    where = slice(y0 - box.y0, y1 - box.y0), slice(x0 - box.x0, x1 - box.x0)
    cut = [
        LayerPixels(p.values[where], None if p.measured is None else p.measured[where])
        for p in pixels
    ]
    masks = [p.measured for p in cut]
    measured, unequal = _together(masks[:2], cut[0].values.shape)
    insets = [n % BLOCK_PX // 2 for n in (info.height, info.width)]
    inset = insets[0] if y0 == 0 else 0, insets[1] if x0 == 0 else 0
    row, column = y0 + inset[0], x0 + inset[1]
    values = [to_floats(p.values, measured, seen.origin) for p in cut[:2]]
    reference = to_floats(cut[2].values, masks[2], seen.origin) if len(cut) > 2 else None
    if reference is not None and masks[2] is not None:
        reference[~masks[2]] = np.nan
    view = UnitView(
        values[0], values[1], measured, reference, pair.plane(part.number, layer), row, column,
        ((row - insets[0]) // BLOCK_PX, (column - insets[1]) // BLOCK_PX), inset, seen.origin,
        cut[1].values.dtype.kind != "f",
    )  # fmt: skip
    found = look(view, seen.noise, pair.shape, seen.edges)
    _count(found, [p.values for p in cut[:2]], measured, unequal)
    return found


def _together(
    masks: list[NDArray[np.bool_] | None], shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_] | None, int]:
    """Where both images are measured, and the number of pixels where one of them is."""
    if masks[0] is None and masks[1] is None:
        return None, 0
    one, other = (np.ones(shape, bool) if m is None else m for m in masks)
    return one & other, int(np.count_nonzero(one != other))


def _count(
    sums: LayerSums,
    values: list[NDArray[np.generic]],
    measured: NDArray[np.bool_] | None,
    unequal: int,
) -> None:
    """Count pixels, changes and extremes."""
    before, after = values if measured is None else (v[measured] for v in values)
    sums.pixels, sums.unequal_gaps = before.size, unequal
    sums.changed = int(np.count_nonzero(before != after))
    sums.before, sums.after = Extremes.of(before, after), Extremes.of(after, before)


def strength_of(record: Mapping[str, Any] | None) -> float:
    """Share of the change that was kept, as an output says; 1 where it says nothing."""
    try:
        return 1.0 if record is None else float(record["facts"]["strength"])
    except (KeyError, ValueError):
        return 1.0
