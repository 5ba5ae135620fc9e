"""Pyramids from halves kept in memory: the same whatever the order, the process or the memory."""

from __future__ import annotations

import itertools
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import content
from numpy.typing import NDArray

from unetmm.intensities.validity import NoData
from unetmm.io.image import DTYPES, Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.halves import Halves
from unetmm.io.output.halving import Halving
from unetmm.io.output.levels import halve, halve_bytes, make_levels
from unetmm.io.output.output import Output

PLANE = (0, 0, 0)
SIDE = 16


def random_pixels(shape: tuple[int, ...], dtype: str, nodata: float | None = None) -> NDArray[Any]:
    """Floats of very different size, so that another way to sum would show, with gaps in one part
    and negative zeros in another; integers of all sizes."""
    rng = np.random.default_rng(7)
    kind = np.dtype(dtype).kind
    if kind == "f":
        pixels = (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)).astype(dtype)
        upper_left = pixels[: -(-shape[0] // 3), : shape[1] // 2]
        upper_left[rng.random(upper_left.shape) < 0.3] = np.nan
        pixels[-6:, -6:] = -0.0
    else:
        limits = np.iinfo(dtype)
        pixels = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if nodata is not None:
        pixels[rng.random(shape[:2]) < 0.2] = nodata
    return pixels


def said(nodata: float | None) -> NoData:
    return NoData() if nodata is None else NoData.of(nodata)


def info_of(pixels: NDArray[Any], nodata: float | None = None) -> ImageInfo:
    axes = "YXS" if pixels.shape[2] > 1 else "YX"
    shape = pixels.shape if pixels.shape[2] > 1 else pixels.shape[:2]
    return ImageInfo("any", axes, shape, pixels.dtype, (1, 1), nodata=said(nodata))


def new_sink(path: Path, pixels: NDArray[Any], nodata: float | None = None) -> Output:
    options = SinkOptions(path, chunk_px=SIDE, encoding=Encoding("none"))
    return open_sink(options, info_of(pixels, nodata))


def boxes_of(pixels: NDArray[Any], sink: Output) -> list[Box]:
    """One a chunk, rows first."""
    grid = sink.store.levels[0].grid
    return [sink.store.levels[0].box(*place) for place in itertools.product(*map(range, grid))]


def put(sink: Output, pixels: NDArray[Any], box: Box) -> None:
    sink.write(PLANE, box, pixels[box.y0 : box.y1, box.x0 : box.x1])


def count_reads(sink: Output, monkeypatch: pytest.MonkeyPatch) -> list[Box]:
    """The boxes that are read back from now on."""
    seen: list[Box] = []
    read = sink.store.read

    def counting(level: int, plane: Any, box: Box) -> Any:
        seen.append(box)
        return read(level, plane, box)

    monkeypatch.setattr(sink.store, "read", counting)
    return seen


def stored_levels(path: Path) -> list[NDArray[Any]]:
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tif:
            found = [level.asarray() for level in tif.series[0].levels]
        return [a if a.ndim == 3 else a[..., None] for a in found]
    group = zarr.open_group(str(path), mode="r")
    arrays = [np.asarray(group[name][...]) for name in sorted(group) if name.isdigit()]
    arrays = [np.moveaxis(a, 0, -1) if a.ndim == 3 else a[..., None] for a in arrays]
    return [np.ascontiguousarray(a) for a in arrays]


def assert_levels(path: Path, pixels: NDArray[Any], nodata: float | None) -> None:
    """Each level is the half of the one before, halved as a whole; bit for bit."""
    levels = stored_levels(path)
    assert len(levels) > 2
    expected = pixels
    for number, found in enumerate(levels):
        assert found.shape == expected.shape
        different = found.view(np.uint8) != expected.view(np.uint8)
        assert not different.any(), f"level {number}: {np.argwhere(different)[:3]}"
        expected = halve(expected, said(nodata))


CASES: list[tuple[str, tuple[int, int, int], float | None, str]] = [
    *((dtype, (43, 67, 1), None, "few") for dtype in DTYPES),
    ("float32", (75, 117, 1), None, "all"),
    ("float32", (75, 117, 1), None, "none"),
    ("uint8", (64, 128, 3), None, "all"),
    ("uint16", (75, 117, 3), 0.0, "few"),
    ("int32", (129, 33, 1), -7.0, "few"),
    ("float32", (75, 67, 1), -9999.0, "few"),
    ("float32", (5, 150, 1), None, "all"),
    ("uint8", (150, 7, 1), None, "all"),
]


@pytest.mark.parametrize(("dtype", "shape", "nodata", "kept"), CASES)
def test_each_level_is_the_half_of_the_one_before_whatever_is_kept(
    tmp_path: Path, dtype: str, shape: tuple[int, int, int], nodata: float | None, kept: str
) -> None:
    pixels = np.ascontiguousarray(random_pixels(shape, dtype, nodata))
    sink = new_sink(tmp_path / "a.zarr", pixels, nodata)
    sink._halves.limit_bytes = {"all": 2**30, "few": sink._halves.limit_bytes // 5, "none": 0}[kept]
    boxes = boxes_of(pixels, sink)
    order = np.random.default_rng(3).permutation(len(boxes))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: put(sink, pixels, boxes[i]), order))
    sink.close()
    assert_levels(tmp_path / "a.zarr", pixels, nodata)


@pytest.mark.parametrize("name", ["a.zarr", "a.tif"])
def test_rows_of_chunks_in_turn_read_nothing_back(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.io.tiff.store.PYRAMID_FROM_PX", 100)
    pixels = random_pixels((9 * SIDE + 3, 11 * SIDE + 5, 1), "uint16")
    sink = new_sink(tmp_path / name, pixels)
    seen = count_reads(sink, monkeypatch)
    held = 0
    for box in boxes_of(pixels, sink):
        put(sink, pixels, box)
        held = max(held, sink._halves._held_bytes)
    assert 0 < held <= sink._halves.limit_bytes // 2, "a row's halves are half of what may wait"
    sink.close()
    assert not seen
    assert_levels(tmp_path / name, pixels, None)


def written_at_once(folder: Path, pixels: NDArray[Any]) -> tuple[Path, Path, list[Box]]:
    """An output written in peace, a path for another one, and the boxes of their chunks."""
    whole, other = folder / "whole" / "a.zarr", folder / "other" / "a.zarr"
    for path in (whole, other):
        path.parent.mkdir()
    sink = new_sink(whole, pixels)
    boxes = boxes_of(pixels, sink)
    for box in boxes:
        put(sink, pixels, box)
    sink.close()
    return whole, other, boxes


def test_a_run_that_goes_on_reads_back_what_was_written_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = random_pixels((75, 117, 1), "float32")
    whole, resumed, boxes = written_at_once(tmp_path, pixels)
    first = new_sink(resumed, pixels)
    for box in boxes[:11]:
        put(first, pixels, box)
    first.leave()
    again = new_sink(resumed, pixels)
    again.join("0")
    seen = count_reads(again, monkeypatch)
    for box in boxes[11:]:
        put(again, pixels, box)
    assert again.complete()
    # Row 1 of chunks ends with number 15: of its parents those are made now whose last child
    # is one of 11 ... 15, and of their children those from before are read, one by one.
    assert seen and len(seen) < len(boxes)
    assert all(box.height <= SIDE and box.width <= SIDE for box in seen)
    assert content(resumed) == content(whole)


@pytest.mark.parametrize("finisher", [0, 1])
def test_parents_at_the_border_of_two_processes_are_made_of_both_ones_chunks(
    tmp_path: Path, finisher: int
) -> None:
    pixels = random_pixels((7 * SIDE + 3, 117, 1), "float32")
    whole, shared, boxes = written_at_once(tmp_path, pixels)
    # Two sinks know nothing of one another, as in two processes; the border is at an odd row.
    writers = [new_sink(shared, pixels) for _ in range(2)]
    writers[0].workspace.set_up()
    writers[0].create({})
    for name, writer in zip("ab", writers, strict=True):
        writer.join(name)
    for box in boxes:
        put(writers[box.y0 >= 3 * SIDE], pixels, box)
    assert not shared.exists()
    assert writers[finisher].complete()
    writers[1 - finisher].leave()
    assert content(shared) == content(whole)


def test_the_oldest_halves_are_dropped_first() -> None:
    pixels = np.zeros((64, 64, 1), np.uint16)
    info = info_of(pixels)
    levels = make_levels(info, (SIDE, SIDE))
    halves = Halves(info, levels, Halving(info, levels))
    half_bytes = SIDE // 2 * SIDE // 2 * 2
    assert halves.limit_bytes == 2 * 2 * 4 * half_bytes, "two rows of 4, and higher levels"
    halves.limit_bytes = 3 * half_bytes
    keys = [ChunkKey(0, PLANE, 0, column) for column in range(4)]
    for key in (*keys, keys[3]):  # one of them twice, as after running out of memory
        halves.keep(key, pixels[:SIDE, :SIDE])
    assert halves._held_bytes == 3 * half_bytes
    found = [halves.take(key) is not None for key in keys]
    assert found == [False, True, True, True]
    assert halves._held_bytes == 0 and halves.take(keys[3]) is None
    halves.keep(ChunkKey(2, PLANE, 0, 0), pixels[:SIDE, :SIDE])
    assert halves._held_bytes == 0, "nothing is made of the last level"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16"])
@pytest.mark.parametrize("nodata", [None, 3.0])
def test_halving_in_parts_is_halving(dtype: str, nodata: float | None) -> None:
    pixels = np.ascontiguousarray(random_pixels((65, 96, 2), dtype, nodata))
    whole = halve(pixels, said(nodata))
    for y, x in itertools.product(range(0, 65, SIDE), range(0, 96, SIDE)):
        part = halve(pixels[y : y + SIDE, x : x + SIDE], said(nodata))
        expected = np.ascontiguousarray(
            whole[y // 2 : y // 2 + part.shape[0], x // 2 : x // 2 + part.shape[1]]
        )
        assert part.tobytes() == expected.tobytes(), (y, x)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("side", [256, 255])
@pytest.mark.parametrize("nodata", [None, 3.0])
def test_halving_takes_no_more_than_is_planned(dtype: str, side: int, nodata: float | None) -> None:
    pixels = random_pixels((side, side, 1), dtype, nodata)
    halve(pixels, said(nodata))
    tracemalloc.start()
    try:
        result = halve(pixels, said(nodata))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    small = 64 * 1024  # of numpy's own, for casting
    planned = halve_bytes((side, side), info_of(pixels, nodata)) + result.nbytes + small
    assert planned / 16 < peak_bytes <= planned
