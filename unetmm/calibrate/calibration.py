"""Whole-image statistics, measured once and frozen, so that the answer does not depend on the cut.

A fixed, seeded set of patches fixes the intensity range. They, or half of them where the image is
small, go through the net with their own global averages; the channel attention of every block is
averaged over them. Nothing here depends on the budget, the strips or the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import observing_bytes
from unetmm.engine.cpu.precision import Precision
from unetmm.engine.layout import FLOAT_BYTES, observing_layout
from unetmm.errors import ShapeError
from unetmm.geometry import mirrored, round_up
from unetmm.io.image import Box, ImageInfo, Planes, Source
from unetmm.nets.config import NetConfig
from unetmm.plan.memory import frozen_bytes
from unetmm.process import available_cores

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet

GRID = 4
"""Patches lie in a grid of this many rows and columns."""
PATCHES = GRID**2
PATCH_PX = 128
OBSERVED_SHARE = 1 / 32
"""Half the patches go through the net where all would be more than this share of the image."""
COLUMNS_PX = 32
"""Columns of a patch that a thread has at least; with fewer it would mostly wait."""
STREAMS_BYTES = 48 * 10**6
"""What streams over patches side by side may take, or the smallest budget would be larger."""
WHOLE_PX = 256
"""A plane up to this height and width is calibrated as a whole."""
LARGEST = float(np.finfo(np.float32).max) / 4
"""Of floats that count as measured. Files that do not say so use the largest ones for no data."""
PERCENTILES = (0.1, 99.9)
"""Intensities that become 0 and 1 for data other than 8-bit; beyond them nothing is clipped."""
SMALLEST_RANGE = 1e-37
"""What lies closer together is constant: float32 has no number to stretch it by."""

Groups = Sequence[tuple[int, ...]]
"""Samples that go through the net together: [(0, 1, 2)] for a colour net, [(0,), (1,)] for mono."""


@dataclass(frozen=True)
class Entry:
    """Frozen statistics of one channel and one group of samples."""

    low: float
    """Stored value that the net sees as 0."""
    high: float
    """Stored value that the net sees as 1."""
    fill: float
    """Stored value that stands in for NaN and nodata inside the net."""
    attention: Mapping[str, NDArray[np.float32]] = field(repr=False)
    """Channel factors of every block, by block name."""


@dataclass(frozen=True)
class Calibration:
    """Everything about an image, or a series, that its restoration depends on as a whole."""

    model: str
    entries: Mapping[str, Entry]
    """By `key(channel, group)`."""

    def entry(self, channel: int, group: int) -> Entry:
        """Statistics of a channel.

        Raises
        ------
        ShapeError
            If the calibration was made for an image with fewer channels.
        """
        found = self.entries.get(key(channel, group))
        if found is None:
            raise ShapeError(
                f"calibration: asked for channel {channel}, sample group {group}; it has "
                f"{', '.join(self.entries)}; calibrate on an image with the same channels"
            )
        return found

    def to_json(self) -> str:
        """One JSON object that `from_json` reads back without loss."""
        entries = {
            k: {
                "low": e.low,
                "high": e.high,
                "fill": e.fill,
                "attention": {n: [float(v) for v in a] for n, a in e.attention.items()},
            }
            for k, e in self.entries.items()
        }
        return json.dumps({"model": self.model, "entries": entries})

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Raises
        ------
        ShapeError
            If the text is not a calibration.
        """
        try:
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError(f"a JSON object is expected, this is a {type(content).__name__}")
            entries = {
                k: Entry(
                    float(e["low"]),
                    float(e["high"]),
                    float(e["fill"]),
                    {n: np.array(v, np.float32) for n, v in e["attention"].items()},
                )
                for k, e in content["entries"].items()
            }
            for k, e in entries.items():
                if (
                    not np.isfinite([e.low, e.high, e.fill]).all()
                    or e.high - e.low <= SMALLEST_RANGE
                ):
                    raise ValueError(f"the range of {k} is {e.low:g} to {e.high:g}")
            return cls(str(content["model"]), entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ShapeError(f"not a calibration file: {error}") from error


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file, or the statistics that an OME-Zarr or TIFF of ours was made with.

    Raises
    ------
    ShapeError
        If it cannot be read or is not a calibration.
    """
    from unetmm.provenance.record import read_record

    try:
        return Calibration.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        record = read_record(path) if path.exists() else None
        if record is None:
            raise ShapeError(f"calibration {path} cannot be read: {error}") from error
        return Calibration.from_json(record["calibration"])


def key(channel: int, group: int) -> str:
    return f"{channel}.{group}"


def sample_groups(config: NetConfig, info: ImageInfo) -> list[tuple[int, ...]]:
    """Which samples go through the net together.

    Raises
    ------
    ShapeError
        If the net's channels do not fit the image's samples.
    """
    samples = info.samples - info.alpha
    if config.in_channels == 1:
        return [(i,) for i in range(samples)]
    if config.in_channels == samples:
        return [tuple(range(samples))]
    raise ShapeError(
        f"this model restores {config.in_channels} interleaved samples (RGB), the image has "
        f"{samples} in axes {info.axes}; use a mono model, which takes every channel by itself"
    )


def valid_mask(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Where pixels hold a measurement, or None if all do by their kind.

    No measurement are NaN, infinities, and floats so large that float32, in which the net sees
    their distance to others, would make infinities of them.
    """
    mask: NDArray[np.bool_] | None = None
    if pixels.dtype.kind == "f":
        largest = min(LARGEST, float(np.finfo(pixels.dtype).max))
        mask = (pixels >= -largest) & (pixels <= largest)
    if nodata is not None and not np.isnan(nodata):
        is_data = pixels != nodata
        mask = is_data if mask is None else mask & is_data
    return mask


def patch_size(info: ImageInfo) -> tuple[int, int]:
    """(height, width) in pixels of a calibration patch of this image."""
    if max(info.height, info.width) <= WHOLE_PX:
        return info.height, info.width
    return min(PATCH_PX, info.height), min(PATCH_PX, info.width)


def _is_whole(info: ImageInfo) -> bool:
    """Whether patches are whole planes."""
    return patch_size(info) == (info.height, info.width)


def patch_count(info: ImageInfo) -> int:
    """Patches of an image: a few, or the whole of as many planes where planes are small."""
    return min(PATCHES, info.length("T") * info.length("Z")) if _is_whole(info) else PATCHES


def patch_boxes(info: ImageInfo) -> list[tuple[int, int, Box]]:
    """(t, z, box) of every patch: a jittered grid over the plane, spread over times and depths."""
    height, width = patch_size(info)
    stacks = Planes(info.length("T"), 1, info.length("Z"))
    count = patch_count(info)
    rng = np.random.default_rng((info.height, info.width, len(stacks)))
    boxes = []
    for i in range(count):
        t, _, z = stacks[i * len(stacks) // count]
        row, column = divmod(i, GRID)
        y = int((row + rng.random()) / GRID * (info.height - height + 1))
        x = int((column + rng.random()) / GRID * (info.width - width + 1))
        boxes.append((t, z, Box(y, x, y + height, x + width)))
    return boxes


def observed_patches(info: ImageInfo) -> list[int]:
    """Which patches go through the net; half of them lie like the white squares of a chessboard.

    Sets of natural images are restored as well with half of them (benchmarks/NOTES.md).
    """
    everything = list(range(patch_count(info)))
    height, width = patch_size(info)
    image_px = info.length("T") * info.length("Z") * info.height * info.width
    if _is_whole(info) or len(everything) * height * width <= OBSERVED_SHARE * image_px:
        return everything
    return [i for i in everything if sum(divmod(i, GRID)) % 2 == 0]


def calibration_bytes(
    config: NetConfig, info: ImageInfo, cores: int = 0, precision: Precision = "fp32"
) -> int:
    """What `calibrate` allocates at its peak."""
    height, width = padded_patch_size(config, info)
    streams = patch_streams(config, info, cores)
    matrices = frozen_bytes(observing_layout(config, height), LANES, precision)
    numbers = patch_count(info) * height * width * info.samples
    observing = streams.count * streams.each_bytes + matrices
    # The intensity range is found before that, in two copies of float64.
    ranging = 0 if info.dtype == np.uint8 else 2 * 8 * numbers
    # All the while the patches, and once more their measured values side by side.
    return 2 * numbers * info.dtype.itemsize + max(observing, ranging)


@dataclass(frozen=True)
class PatchStreams:
    """How the patches are shared out; the statistics do not depend on it."""

    count: int
    """Patches that are observed at once."""
    threads: int
    """Threads that share each one's columns."""
    each_bytes: int
    """What each of them takes."""


def patch_streams(config: NetConfig, info: ImageInfo, cores: int = 0) -> PatchStreams:
    """A patch for every core, as far as there is room; then cores share columns."""
    height, width = padded_patch_size(config, info)
    cores = cores or available_cores()
    layout = observing_layout(config, height)
    patch_bytes = FLOAT_BYTES * height * width * config.in_channels
    most = max(1, width // max(config.stride_px, COLUMNS_PX))

    def bytes_of(threads: int) -> int:
        return observing_bytes(layout, width, height, LANES, threads) + patch_bytes

    count = min(cores, len(observed_patches(info)), STREAMS_BYTES // bytes_of(1)) or 1
    threads = min(cores // count, most)
    return PatchStreams(count, threads, bytes_of(threads))


def padded_patch_size(config: NetConfig, info: ImageInfo) -> tuple[int, int]:
    """(height, width) of a patch as a stream takes it: multiples of the net's stride."""
    height, width = patch_size(info)
    return round_up(height, config.stride_px), round_up(width, config.stride_px)


def calibrate(
    source: Source,
    net: CompiledNet,
    model: str,
    groups: Groups,
    fixed_range: tuple[float, float] | None = None,
    cores: int = 0,
) -> Calibration:
    """Measure an image once.

    Parameters
    ----------
    fixed_range : stored values that become 0 and 1, instead of the measured ones.
    cores : used at most; 0 for all.
    """
    entries = {}
    info = source.info
    streams = patch_streams(net.config, info, cores)
    boxes, observed = patch_boxes(info), observed_patches(info)
    for channel in range(info.length("C")):
        patches = [source.read((t, channel, z), box) for t, z, box in boxes]
        for g, group in enumerate(groups):
            samples = [p[..., list(group)] for p in patches]
            entry = _unattended_entry(samples, info.nodata, fixed_range)
            chosen = [samples[i] for i in observed]
            attention = _attention(chosen, info.nodata, net, entry, streams)
            entries[key(channel, g)] = replace(entry, attention=attention)
    return Calibration(model, entries)


def _unattended_entry(
    patches: list[NDArray[Any]], nodata: float | None, fixed_range: tuple[float, float] | None
) -> Entry:
    """The intensities of one channel and group."""
    values = np.concatenate([_valid_values(p, nodata) for p in patches])
    low, high = fixed_range or intensity_range(values, patches[0].dtype)
    mean = float(values.mean(dtype=np.float64)) if values.size else low
    fill = min(max(mean, low), high)  # which a few far-away values may have moved out of the range
    return Entry(low, high, fill, {})


def _attention(
    patches: list[NDArray[Any]],
    nodata: float | None,
    net: CompiledNet,
    entry: Entry,
    streams: PatchStreams,
) -> dict[str, NDArray[np.float32]]:
    """Every block's channel factors, averaged over patches."""
    found = _observe(patches, nodata, net, entry, streams)
    return {name: _mean([factors[name] for factors in found]) for name in found[0]}


def _mean(vectors: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    total: NDArray[np.float64] = np.mean(np.stack(vectors).astype(np.float64), axis=0)
    return total.astype(np.float32)


def _valid_values(patch: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    mask = valid_mask(patch, nodata)
    return patch.ravel() if mask is None else patch[mask]


def intensity_range(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Stored values that the net sees as 0 and 1: all of uint8, robust percentiles otherwise."""
    if dtype == np.uint8:
        return 0.0, 255.0
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), PERCENTILES))
    return (low, high) if high - low > SMALLEST_RANGE else (low, low + max(1.0, 1e-6 * abs(low)))


def _observe(
    patches: list[NDArray[Any]],
    nodata: float | None,
    net: CompiledNet,
    entry: Entry,
    streams: PatchStreams,
) -> list[dict[str, NDArray[np.float32]]]:
    """Channel factors of every block for each patch."""
    from unetmm.engine.cpu.stream import ObservingStream

    h, w = patches[0].shape[:2]
    height, width = (round_up(n, net.config.stride_px) for n in (h, w))
    rows_beyond, columns_beyond = mirrored(h, height - h), mirrored(w, width - w)
    unattended = net.unattended()

    idle: SimpleQueue[tuple[ObservingStream, NDArray[np.float32]]] = SimpleQueue()
    for _ in range(streams.count):
        stream = ObservingStream(net, unattended, width, height, streams.threads)
        idle.put((stream, np.zeros((height, width, patches[0].shape[2]), np.float32)))

    def observe(patch: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        stream, padded = idle.get()
        try:
            normalise(patch, valid_mask(patch, nodata), entry, padded[:h, :w])
            padded[:h, w:] = padded[:h, columns_beyond]
            padded[h:] = padded[rows_beyond]
            return stream.observe(padded)
        finally:
            idle.put((stream, padded))

    with ThreadPoolExecutor(streams.count) as pool:
        return list(pool.map(observe, patches))


def normalise(
    pixels: NDArray[Any], mask: NDArray[np.bool_] | None, entry: Entry, out: NDArray[np.float32]
) -> None:
    """Stored values to the net's scale: low -> 0, high -> 1; unmeasured pixels become `fill`."""
    low = entry.low
    if not fits_float32(pixels.dtype):  # their small differences would be lost in float32
        with np.errstate(over="ignore", invalid="ignore"):  # of pixels that are not measured
            np.subtract(pixels, np.float64(low), out=out, casting="unsafe")
    else:
        np.copyto(out, pixels, casting="unsafe")
        if low:
            out -= np.float32(low)
    if mask is not None:
        out[~mask] = entry.fill - low
    out *= np.float32(1 / (entry.high - low))


def fits_float32(dtype: np.dtype[Any]) -> bool:
    """Whether float32 holds all values of a type."""
    return dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize == 4)
