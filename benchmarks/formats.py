"""Reads a folder of image files by random boxes and compares with other readers, bit for bit.

    python benchmarks/formats.py DATA_FOLDER docs/formats.md

Every file gets 30 s and 4 GB. The answer is a table: what each file is, and whether it is read
exactly, or the line with which it is refused. Exit code 1 if a file gave a traceback, hung, or
differed from tifffile, Pillow, imagecodecs, NumPy or zarr.
"""

from __future__ import annotations

import collections
import logging
import math
import multiprocessing
import resource
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_S = 30
LIMIT_BYTES = 4 * 10**9
BOXES, PLANES = 6, 6
FOLDERS = ("formats", "satellite", "microscopy")
SUMMED_UP = "microscopy"
"""Folders in which a line stands for all files that are read exactly."""
NOT_IMAGES = (".csv", ".md")


def main() -> int:
    root, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = [
        (path.relative_to(root), verdict, what, line.replace(f"{root}/", ""))
        for path, (verdict, what, line) in judge_all(find(root))
    ]
    counts = collections.Counter(verdict for _, verdict, _, _ in results)
    target.write_text("\n".join(page(results, counts)) + "\n", encoding="utf-8")
    print(dict(counts))
    for name, verdict, what, line in results:
        if verdict not in ("exact", "refused"):
            print(verdict, name, what, line)
    return int(set(counts) - {"exact", "refused"} != set())


def find(root: Path) -> list[Path]:
    """Files and Zarr stores, sorted."""
    found: list[Path] = []
    for folder in FOLDERS:
        stores = {
            path.parent
            for mark in ("zarr.json", ".zgroup", ".zarray")
            for path in (root / folder).rglob(mark)
        }
        tops = [s for s in stores if not any(parent in stores for parent in s.parents)]
        files = [
            path
            for path in (root / folder).rglob("*")
            if path.is_file()
            and path.suffix not in NOT_IMAGES
            and not any(top in path.parents for top in tops)
        ]
        found += sorted([*tops, *files])
    return found


def judge_all(paths: list[Path]) -> list[tuple[Path, tuple[str, str, str]]]:
    """(verdict, what it is, line) of every file, each judged in a process that may be ended."""
    results, worker, ours = [], None, None
    for path in paths:
        if worker is None or ours is None:
            ours, theirs = multiprocessing.Pipe()
            worker = multiprocessing.Process(target=serve, args=(theirs,))
            worker.start()
        ours.send(path)
        try:
            outcome = ours.recv() if ours.poll(LIMIT_S) else ("hung", "", f"more than {LIMIT_S} s")
        except EOFError:
            outcome = ("crashed", "", "the process ended")
        if outcome[0] in ("hung", "crashed"):
            worker.kill()
            worker = None
        results.append((path, outcome))
    if worker is not None:
        worker.kill()
    return results


def serve(pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    logging.disable()
    warnings.simplefilter("ignore")
    while True:
        pipe.send(judge(pipe.recv()))


def judge(path: Path) -> tuple[str, str, str]:
    from unetmm.errors import UnetmmError
    from unetmm.io import open_source

    what = ""
    try:
        source = open_source(path)
        info = source.info
        sizes = " ".join(f"{a}{n}" for a, n in zip(info.axes, info.shape, strict=True))
        what = f"{info.format} {info.notes.get('compression', '')} {sizes} {info.dtype}"
        differing = compare(path, source)
        source.close()
    except UnetmmError as error:
        return "refused", what, str(error).removeprefix(f"{path}: ")
    except Exception as error:
        return "traceback", what, repr(error)
    return ("differs" if differing else "exact"), what, differing


def compare(path: Path, source: Any) -> str:
    """Where a read differs from another reader's, empty if nowhere."""
    from unetmm.io import Box

    info, rng = source.info, np.random.default_rng(1)
    try:
        expected = reference(path, info)
    except Exception as error:
        for plane in info.planes[:PLANES]:
            source.read(plane, Box(0, 0, info.height, info.width))
        return f"no other reader could: {error!r}"
    order = [axis for axis in info.axes if axis in "TCZ"]
    lengths = [info.length(axis) for axis in order]
    flat = np.arange(math.prod(lengths)).reshape(lengths)
    for index in rng.permutation(flat.size)[:PLANES]:
        where = dict(zip(order, np.argwhere(flat == index)[0].tolist(), strict=True))
        plane = where.get("T", 0), where.get("C", 0), where.get("Z", 0)
        for _ in range(BOXES):
            y0, x0 = int(rng.integers(info.height)), int(rng.integers(info.width))
            y1, x1 = int(rng.integers(y0, info.height)) + 1, int(rng.integers(x0, info.width)) + 1
            wanted = expected[index, y0:y1, x0:x1]
            got = source.read(plane, Box(y0, x0, y1, x1))
            if got.dtype != wanted.dtype or got.tobytes() != wanted.tobytes():
                return f"plane {plane}, rows {y0} to {y1}, columns {x0} to {x1}"
    return ""


def reference(path: Path, info: Any) -> Any:
    """All planes as another reader has them, (planes, height, width, samples)."""
    shape = (-1, info.height, info.width, info.samples)
    if info.format == "tiff":
        try:
            return tiff_planes(path, info)
        except Exception:
            return pillow_pixels(path, info).reshape(shape)
    if info.format in ("ome-zarr", "zarr"):
        return zarr_pixels(path).reshape(shape)
    if info.format == "npy":
        return np.load(path).reshape(shape)
    if info.dtype == np.uint16 and info.format in ("png", "jpeg2000"):
        import imagecodecs

        decode = imagecodecs.png_decode if info.format == "png" else imagecodecs.jpeg2k_decode
        return decode(path.read_bytes()).reshape(shape)
    return pillow_pixels(path, info).reshape(shape)


def pillow_pixels(path: Path, info: Any) -> Any:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if info.format != "tiff" and "exif" in image.info:  # an orientation in XMP is not obeyed
            image = ImageOps.exif_transpose(image)
        if info.dtype == np.uint8:
            image = image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[info.samples])
        return np.asarray(image).astype(info.dtype, copy=False)


def tiff_planes(path: Path, info: Any) -> Any:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        pixels, axes = series.asarray(), series.axes
        if "palette" in info.notes:
            pixels, axes = colours(pixels, series.keyframe, info), axes + "S"
    if "S" not in axes:
        pixels, axes = pixels[..., None], axes + "S"
    pixels = np.moveaxis(pixels, [axes.index(a) for a in "YXS"], [-3, -2, -1])
    if info.samples == 1:  # samples that are no colours are planes
        pixels = np.moveaxis(pixels, -1, -3)[..., None]
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(pixels).reshape(-1, info.height, info.width, info.samples)


def colours(indices: Any, page: Any, info: Any) -> Any:
    """Colours of a palette's indices; nodata becomes transparent."""
    table = page.colormap.T
    pixels = (table >> 8 if table.max() > 255 else table).astype(np.uint8)[indices]
    if info.samples == 3:
        return pixels
    opacity = np.where(indices == page.nodata, 0, 255).astype(np.uint8)
    return np.concatenate([pixels, opacity[..., None]], axis=-1)


def zarr_pixels(path: Path) -> Any:
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return node[...]
    attributes = dict(node.attrs)
    scales = (attributes.get("ome") or attributes)["multiscales"]
    return node[scales[0]["datasets"][0]["path"]][...]


def page(results: list[tuple[Path, str, str, str]], counts: collections.Counter[str]) -> list[str]:
    """Lines of the table."""
    total = sum(counts.values())
    lines = [
        "# What is read, and what is refused",
        "",
        f"{total} files of other people's making, read by random boxes: {counts['exact']} are bit",
        "for bit what tifffile, Pillow, imagecodecs, NumPy or zarr read as a whole, and",
        f"{counts['refused']} are refused in one line (CMYK, 1-bit, damaged, ...); "
        f"{total - counts['exact'] - counts['refused']} gave anything else.",
        "Written by `python benchmarks/formats.py DATA_FOLDER docs/formats.md`.",
        "",
        "| file | what it is | result |",
        "|---|---|---|",
    ]
    summed: collections.Counter[tuple[str, str]] = collections.Counter()
    for name, verdict, what, line in results:
        if name.parts[0] == SUMMED_UP and verdict == "exact":
            summed[f"{name.parent}/*{name.suffix}", what.split(" ")[0]] += 1
            continue
        text = verdict if not line else f"{verdict}: {line}"
        lines.append(f"| {name} | {' '.join(what.split())} | {text.replace('|', '/')} |")
    lines += [
        f"| {name} | {what}, {count} file{'s' * (count > 1)} | exact |"
        for (name, what), count in sorted(summed.items())
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
