"""Chooses the patches that an image is measured by: those of a grid, or where there is content.

The patches of the grid stay where all of them have content, and where none has. Else the empty
ones give way to places with content, which a look at many small boxes has found; what goes through
the net of a patch is the window of it that is full of content. A few of the empty ones stay to tell
the range of intensities.

What the range does not hold is restored in wider ranges, and has noise of its own. Where there is
more than a little of it, the net is given the rest alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.content import (
    TOP_SHARE,
    Cells,
    Content,
    FullWindow,
    content_window,
    measure_cells,
)
from unetmm.calibrate.patches import observed_patches, patch_boxes, patch_size
from unetmm.calibrate.places import Patch, Place, look_at, look_places, read_patches
from unetmm.intensities.brackets import HOLDS
from unetmm.intensities.doubts import Pairs
from unetmm.intensities.range import measure_scale
from unetmm.intensities.validity import NoData, measured_values
from unetmm.io.image import Box, ImageInfo, Source
from unetmm.io.measured import read_measured

log = logging.getLogger(__name__)

SCRAP_SHARE = 0.25
"""Smallest window that goes through the net, as a share of the largest."""
UNEVEN_SHARE = 0.1
"""Share of the noise of content below which other noise is worth a warning."""
UNEVEN_AREA = 0.1
"""Smallest share of an image that has to have so little noise for it."""
MOST_BEYOND = 0.95
"""Share of the cells that reach beyond the base range, from which on all of them count."""
KEPT_EMPTY = 4
"""Patches of which one without content is kept, where others could take its place."""


@dataclass(frozen=True)
class Observed:
    """A patch, or a window of it, that goes through the net."""

    patch: Patch
    """Stored values of one group of samples."""
    weight: int = 1
    """Weight in the mean."""


@dataclass(frozen=True)
class Choice:
    """The patches of one channel and one group of samples."""

    patches: Sequence[Patch]
    """Patches which fix the range of intensities."""
    observed: Sequence[Observed]
    """Parts of them that go through the net."""
    even: Mapping[float, float] = field(default_factory=dict)
    """Share of small cells all over the image by the value that all their pixels have."""
    opacity: Sequence[NDArray[Any]] = ()
    """Opacity of the patches of the grid, (height, width) each; none where there is none."""

    @property
    def pairs(self) -> Pairs:
        """Pixels of the patches, and the mask that came with each."""
        return [(patch.pixels, patch.given) for patch in self.patches]


def choose_patches(
    source: Source,
    channel: int,
    groups: Sequence[tuple[int, ...]],
    is_said: bool = True,
    fixed_range: tuple[float, float] | None = None,
) -> Iterator[Choice]:
    """The patches of every group of samples of a channel, one group after the other.

    Parameters
    ----------
    is_said : whether it is logged where noise is uneven.
    fixed_range : stored values of the base range; None where it is measured.
    """
    info = source.info
    patches = read_patches(source, channel, patch_boxes(info))
    nodata = _Judging(info.samples - info.alpha, stated_nodata(info, channel, patches))
    look = _Look(source, channel, nodata)
    cells = [look.measure(patch) for patch in patches]
    opacity = [p.pixels[..., -1] for p in patches] if info.alpha else []
    for group in map(list, groups):
        own, part = [p.of(group) for p in patches], _Part(look, group)
        found = _choose(own, [c.of(group) for c in cells], part, is_said, fixed_range)
        yield replace(found, even=part.even_shares(), opacity=opacity)


def _base_range(
    patches: Sequence[Patch], nodata: NoData, fixed_range: tuple[float, float] | None
) -> tuple[float, float]:
    """Lowest and highest stored value that the base range holds."""
    pixels, masks = [p.pixels for p in patches], [p.given for p in patches]
    scale = measure_scale(pixels, nodata, fixed_range, masks)
    margin = (HOLDS - 1) * (scale.high - scale.low)
    return scale.low - margin, scale.high + margin


@dataclass(frozen=True)
class _Judging:
    """What tells the pixels of a channel that hold no measurement."""

    colours: int
    """Samples that are not opacity."""
    of_all: NoData
    """Statement on all of them, with a limit for what lies far beyond the others."""


def stated_nodata(info: ImageInfo, channel: int, patches: Sequence[Patch]) -> NoData:
    """What is stated of all colours, and what is far beyond what some patches hold."""
    colours = info.samples - info.alpha
    nodata = info.nodata_of(channel, range(colours))
    if nodata.guessed and info.dtype.kind == "f":
        pixels = [patch.pixels[..., :colours] for patch in patches]
        scale = measure_scale(pixels, nodata, masks=[patch.given for patch in patches])
        nodata = nodata.within(scale.low, scale.high)
    return nodata


class _Look:
    """What many small boxes of a channel hold."""

    def __init__(self, source: Source, channel: int, nodata: _Judging) -> None:
        self.source, self.channel, self.info = source, channel, source.info
        self.nodata = nodata
        self.places = look_places(source.info)
        self.cells = look_at(source, channel, self.places, self.measure)

    def measure(self, patch: Patch) -> Cells:
        """What the cells of a box hold."""
        return measure_cells(patch, self.nodata.colours, self.nodata.of_all)


class _Part:
    """What the boxes hold of one group of samples."""

    def __init__(
        self, look: _Look, group: list[int], base: tuple[float, float] | None = None
    ) -> None:
        self.look, self.group = look, group
        self.base = base
        """Lowest and highest stored value of cells that count; None where all do."""
        self.cells = [self._counting(cells.of(group)) for cells in look.cells]
        self.content = Content.of(self.cells, len(group))

    def measure(self, patch: Patch) -> Cells:
        """What the cells of a box hold of these samples."""
        return self.look.measure(patch).of(self.group)

    def _counting(self, cells: Cells) -> Cells:
        return cells if self.base is None else cells.without(cells.reach_beyond(*self.base))

    def windows(self, boxes: Sequence[Cells]) -> list[FullWindow | None]:
        """The windows of boxes that have content, None where a box has none."""
        return [_window(self._counting(cells), self.content, self.look.info) for cells in boxes]

    def within(self, base: tuple[float, float]) -> _Part:
        """The same without what lies beyond the base range, if that is more than a little.

        That is restored in wider ranges, and has noise of its own: it says nothing about how strong
        the noise is in the base range.
        """
        measured = sum(np.count_nonzero(c.measured.all(-1)) for c in self.cells)
        beyond = sum(np.count_nonzero(c.reach_beyond(*base)) for c in self.cells)
        if TOP_SHARE * measured < beyond < MOST_BEYOND * measured:
            return _Part(self.look, self.group, base)
        return self

    def even_shares(self) -> dict[float, float]:
        """Share of the cells by the value that all their pixels and samples have; patches are
        rather put elsewhere.
        """
        group = self.group
        even = np.concatenate([c.even.reshape(-1, len(group)) for c in self.cells])
        values = even[(even == even[:, :1]).all(1), 0]
        return {float(v): np.count_nonzero(values == v) / len(even) for v in np.unique(values)}

    def is_uneven(self) -> bool:
        """Whether many places are noisy, but far less than others."""
        noise = np.concatenate([c.noise.ravel() for c in self.cells])
        known, limit = noise[np.isfinite(noise)], UNEVEN_SHARE * self.content.noise.max()
        few = np.count_nonzero((known > 0) & (known < limit))
        return self.content.is_noise and bool(few > UNEVEN_AREA * len(known))

    def places(self) -> list[Place]:
        """The places that are full of content, best spread first."""
        found = [
            place
            for place, cells in zip(self.look.places, self.cells, strict=True)
            if self.content.has(cells).mean() > 3 / 4
        ]
        # 0, 1/2, 1/4, 3/4, ... of the way through them, so any number of the first is spread.
        bits = max(0, len(found) - 1).bit_length()
        order = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits))
        return [found[i] for i in order if i < len(found)]


def _choose(
    patches: list[Patch],
    cells: list[Cells],
    part: _Part,
    is_said: bool,
    fixed_range: tuple[float, float] | None,
) -> Choice:
    """The patches of one group. Those that are replaced give their memory to the new ones."""
    info = part.look.info
    seen, windows = observed_patches(info), part.windows(cells)
    if not _are_whole(windows):
        _replace_empty(patches, cells, windows, part)
    nodata = info.nodata_of(part.look.channel, part.group)
    inner = part.within(_base_range(patches, nodata, fixed_range))
    if inner is not part:
        windows = inner.windows(cells)
    if _are_whole(windows):
        return Choice(patches, [Observed(patches[i]) for i in seen])
    if is_said and inner.is_uneven():
        log.warning(
            "channel %d: the noise in parts of the image is less than a tenth of that in others, "
            "for which it is restored",
            part.look.channel,
        )
    found = {i: window for i, window in enumerate(windows) if window is not None}
    if not found:
        return Choice(patches, [Observed(patches[i]) for i in seen])
    least = SCRAP_SHARE * max(window.weight for window in found.values())
    order = [*seen, *(i for i in found if i not in seen)]
    large = [i for i in order if i in found and found[i].weight >= least]
    return Choice(patches, [_observe(patches[i], found[i]) for i in sorted(large[: len(seen)])])


def _are_whole(windows: Sequence[FullWindow | None]) -> bool:
    return all(window is not None and window.is_whole for window in windows)


def _observe(patch: Patch, window: FullWindow) -> Observed:
    """What of a patch goes through the net."""
    return Observed(patch.cut(window.box), window.weight)


def _window(cells: Cells, content: Content, info: ImageInfo) -> FullWindow | None:
    height, width = patch_size(info)
    if not cells.noise.size:  # too small to tell
        return FullWindow(Box(0, 0, height, width), 1, is_whole=True)
    return content_window(content.has(cells), np.asarray(cells.measured.all(-1)), height, width)


def _replace_empty(
    patches: list[Patch], cells: list[Cells], windows: list[FullWindow | None], part: _Part
) -> None:
    """Put patches around places with content where patches have none, as far as there are any."""
    look, group = part.look, part.group
    info = look.info
    empty = [i for i, window in enumerate(windows) if window is None]
    # Patches without a single measurement go first: they say nothing about the range either.
    nodata = info.nodata_of(look.channel, group)
    empty.sort(key=lambda i: measured_values(patches[i].pixels, nodata, patches[i].given).size)
    taken = [place for place, window in zip(patch_boxes(info), windows, strict=True) if window]
    places = iter(part.places())
    for i in empty[: len(empty) - min(len(empty), len(patches) // KEPT_EMPTY)]:
        for t, z, near in places:
            place = t, z, _patch_around(near, info)
            if any(_are_near(place, other) for other in taken):
                continue
            patch = Patch(*read_measured(look.source, (t, look.channel, z), place[2]))
            measured = part.measure(patch)
            (window,) = part.windows([measured])
            if window is not None:
                taken.append(place)
                patches[i], cells[i], windows[i] = patch.of(group), measured, window
                break


def _are_near(one: Place, other: Place) -> bool:
    """Whether two patches share more than half of their rows and of their columns."""
    (a, b), same = (one[2], other[2]), one[:2] == other[:2]
    return same and 2 * abs(a.y0 - b.y0) < a.height and 2 * abs(a.x0 - b.x0) < a.width


def _patch_around(near: Box, info: ImageInfo) -> Box:
    """A patch with a place in its middle, as far as the plane reaches."""
    height, width = patch_size(info)
    y = min(max(0, (near.y0 + near.y1 - height) // 2), info.height - height)
    x = min(max(0, (near.x0 + near.x1 - width) // 2), info.width - width)
    return Box(y, x, y + height, x + width)
