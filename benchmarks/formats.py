"""Reads a folder of image files by random boxes and compares with other readers, bit for bit.

    python benchmarks/formats.py DATA_FOLDER docs/formats.md

Then copies every image of at most 24 MB, unchanged, through each format that is written, reads the
copy and compares pixels and metadata. Every file gets 60 s and 4 GB. The answer is a table: what
each file is, and whether it is read and copied exactly, or the line with which it is refused. Exit
code 1 if a file gave a traceback, hung, differed from tifffile, Pillow, imagecodecs, NumPy or zarr,
or a copy differed.
"""

from __future__ import annotations

import collections
import logging
import math
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_S = 60
LIMIT_BYTES = 4 * 10**9
BOXES, PLANES = 6, 6
FOLDERS = ("formats", "satellite", "microscopy")
SUMMED_UP = "microscopy"
"""Folders in which a line stands for all files that are read exactly."""
NOT_IMAGES = (".csv", ".md")
COPY_BYTES = 24 * 10**6
"""Pixels of images that are copied, at most."""
TARGETS = {
    "OME-Zarr": ("copy.ome.zarr", None),
    "TIFF": ("copy.tif", None),
    "TIFF zstd": ("copy.tif", "zstd"),
    "TIFF plain": ("copy.tif", "none"),
    "PNG": ("copy.png", None),
}
"""Name -> (file, compression) of the copies."""
FACTS = (
    *("pixel sizes", "channel names", "channel colours", "stage position", "significant bits"),
    *("place on Earth", "GeoTIFF tags", "nodata", "band names", "colour profile", "EXIF"),
    "resolution",
)
"""Metadata that is compared."""
PLACING_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
Outcome = tuple[str, str, str, dict[str, Any]]
"""(verdict, what it is, line, copies)"""


def main() -> int:
    root, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = [
        (path.relative_to(root), verdict, what, line.replace(f"{root}/", ""), copies)
        for path, (verdict, what, line, copies) in judge_all(find(root))
    ]
    counts = collections.Counter(verdict for _, verdict, _, _, _ in results)
    target.write_text("\n".join(page(results, counts)) + "\n", encoding="utf-8")
    print(dict(counts))
    for name, verdict, what, line, copies in results:
        if verdict not in ("exact", "refused"):
            print(verdict, name, what, line)
        for kind, (state, _) in copies.items():
            if state not in ("exact", "refused"):
                print(name, kind, state)
    states = {state for *_, copies in results for state, _ in copies.values()}
    return int(set(counts) | states > {"exact", "refused"})


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


def judge_all(paths: list[Path]) -> list[tuple[Path, Outcome]]:
    """(verdict, what it is, line) of every file, each judged in a process that may be ended."""
    results, worker, ours = [], None, None
    for path in paths:
        if worker is None or ours is None:
            ours, theirs = multiprocessing.Pipe()
            worker = multiprocessing.Process(target=serve, args=(theirs,))
            worker.start()
        ours.send(path)
        try:
            outcome = (
                ours.recv() if ours.poll(LIMIT_S) else ("hung", "", f"more than {LIMIT_S} s", {})
            )
        except EOFError:
            outcome = ("crashed", "", "the process ended", {})
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


def judge(path: Path) -> Outcome:
    from unetmm.errors import UnetmmError
    from unetmm.io.open import open_source

    what, copies = "", {}
    try:
        source = open_source(path)
        info = source.info
        sizes = " ".join(f"{a}{n}" for a, n in zip(info.axes, info.shape, strict=True))
        what = f"{info.format} {info.metadata.reading.compression} {sizes} {info.dtype}"
        differing = compare(path, source)
        if len(info.planes) * info.plane_bytes <= COPY_BYTES:
            with tempfile.TemporaryDirectory() as folder:
                copies = {kind: copied(source, kind, Path(folder)) for kind in TARGETS}
        source.close()
    except UnetmmError as error:
        return "refused", what, str(error).removeprefix(f"{path}: "), copies
    except Exception as error:
        return "traceback", what, repr(error), copies
    return ("differs" if differing else "exact"), what, differing, copies


def copied(source: Any, kind: str, folder: Path) -> tuple[str, list[str]]:
    """(exact, refused, or what went wrong; metadata that is lost) of a copy in another format."""
    from unetmm.errors import UnetmmError
    from unetmm.io.image import Encoding, SinkOptions
    from unetmm.io.open import open_sink, open_source

    name, compression = TARGETS[kind]
    info = source.info
    try:
        options = SinkOptions(folder / name, True, encoding=Encoding(compression))
        sink = open_sink(options, info)
    except UnetmmError:
        return "refused", []
    try:
        for plane, box in boxes(info, sink.chunk):
            sink.write(plane, box, source.read(plane, box))
        sink.close()
        copy = open_source(folder / name)
        for plane in info.planes:
            expected = as_shown(source, plane) if kind == "PNG" else whole(source, plane)
            if whole(copy, plane).tobytes() != expected.tobytes():
                return f"differs in plane {plane}", []
        lost = [fact for fact in FACTS if not same(fact, info, copy.info)]
        copy.close()
    except UnetmmError as error:
        return f"error: {error}", []
    return "exact", lost


def whole(source: Any, plane: Any) -> Any:
    from unetmm.io.image import Box

    return source.read(plane, Box(0, 0, source.info.height, source.info.width))


def as_shown(source: Any, plane: Any) -> Any:
    """Pixels upright, 0 black and colours whole, whatever a TIFF says: PNG cannot say that."""
    from unetmm.io.photo.source import upright

    display, pixels = source.info.metadata.display, whole(source, plane)
    if display.photometric == "miniswhite":
        bits = display.bits or 8 * source.info.dtype.itemsize
        pixels = (2**bits - 1 - pixels.astype(np.int64)).astype(source.info.dtype)
    if display.premultiplied:
        limit, alpha = np.iinfo(pixels.dtype).max, pixels[..., -1:]
        seen = pixels[..., :-1] * (limit / np.maximum(alpha, 1).astype(float))
        seen = np.minimum(np.floor(seen + 0.5 + 1e-9), limit).astype(pixels.dtype)
        pixels = np.concatenate([seen, alpha], axis=-1)
    tags = {tag[0]: tag[3] for tag in source.info.metadata.tiff.tags}
    return np.ascontiguousarray(upright(pixels, tags.get(274, 1)))


def boxes(info: Any, chunk: tuple[int, int]) -> Iterator[tuple[Any, Any]]:
    from unetmm.io.image import Box

    for plane in info.planes:
        for y in range(0, info.height, chunk[0]):
            for x in range(0, info.width, chunk[1]):
                yield (
                    plane,
                    Box(y, x, min(y + chunk[0], info.height), min(x + chunk[1], info.width)),
                )


def same(name: str, before: Any, after: Any) -> bool:
    """Whether a copy says what the image said; what was not said cannot be lost."""
    said, now = fact(name, before), fact(name, after)
    if name == "resolution" and said and now:
        return bool(np.allclose(said, now, rtol=0.01))
    return not said or said == now


def fact(name: str, info: Any) -> Any:
    """Something that the metadata says, in a form that can be compared."""
    from unetmm.io.exif import CAMERA, GPS, read_directories

    metadata = info.metadata
    photo, seen = metadata.photo, metadata.microscopy
    if name == "EXIF":
        tables = read_directories(photo.exif)
        return [sorted(tables.get(code, ()), key=lambda e: e.code) for code in (CAMERA, GPS)
                if tables.get(code)]  # fmt: skip
    if name == "GeoTIFF tags":
        return sorted(tag[0] for tag in metadata.tiff.tags if tag[0] in PLACING_TAGS)
    if name == "resolution" and photo.resolution:
        *per_unit, unit = photo.resolution
        return [n * (2.54 if unit == "centimeter" else 1) for n in per_unit]
    if name == "nodata":
        return None if info.nodata is None else repr(info.nodata)
    return {
        "pixel sizes": info.pixel_size,
        "channel names": info.channel_names,
        "channel colours": seen.channel_colors,
        "stage position": seen.origin,
        "significant bits": metadata.display.bits,
        "place on Earth": metadata.geo.as_dict(),
        "band names": metadata.tiff.descriptions,
        "colour profile": photo.icc_profile,
    }.get(name)


def compare(path: Path, source: Any) -> str:
    """Where a read differs from another reader's, empty if nowhere."""
    from unetmm.io.image import Box

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
        if info.metadata.display.palette:
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


Result = tuple[Path, str, str, str, dict[str, Any]]


def page(results: list[Result], counts: collections.Counter[str]) -> list[str]:
    """Lines of the page."""
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
        *copies_section(results),
        "## Files",
        "",
        "| file | what it is | result |",
        "|---|---|---|",
    ]
    summed: collections.Counter[tuple[str, str]] = collections.Counter()
    for name, verdict, what, line, _ in results:
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


KEPT = """\
### What else is kept, and what is lost

- Of a selection (`--channels`, `--planes`, `--rgb-bands`) the metadata of the chosen bands,
  channels and planes are kept: GDAL's scales, offsets, units and items of bands, OME's channels
  and planes. Regions of interest of OME-XML are not.
- GDAL's mask of valid pixels inside a GeoTIFF is copied into a GeoTIFF as it is, up to 4 MiB as
  stored; elsewhere it is left out, with a warning. The pixels that it excludes are restored like
  any others.
- A thumbnail that comes before the image of a TIFF is passed over. A set of OME-TIFF files is one
  image, whichever of them is named.
- Of several images in an OME-TIFF, an animated PNG or a JPEG with further pictures (gain maps,
  stereo) only the first is read; the first two are warned of.
- Of an OME-TIFF that holds fewer planes than it describes, the first complete time points (depths
  or channels if there is one time) are read, with a warning; planes that are missing in between
  read as nodata or 0.
- PNG to PNG keeps gAMA, cHRM, sRGB and texts, 1 MiB of them; JPEG to JPEG keeps the comment. In
  other formats these are lost, and so are XMP and IPTC of a JPEG, and ImageJ's overlays and
  settings.
- A GeoTIFF without a resolution stays without one. `.npy` holds no metadata at all.
"""
"""What the judge does not count; said by hand."""


def copies_section(results: list[Result]) -> list[str]:
    """What became of the copies, by format, and of the metadata."""
    kinds = list(TARGETS)
    states = {
        kind: collections.Counter(
            state if state in ("exact", "refused") else "differs"
            for *_, copies in results
            if kind in copies
            for state, _ in [copies[kind]]
        )
        for kind in kinds
    }
    lost = {
        kind: collections.Counter(
            fact for *_, copies in results if kind in copies for fact in copies[kind][1]
        )
        for kind in kinds
    }
    copied_files = sum(bool(copies) for *_, copies in results)
    lines = [
        "## Copies",
        "",
        f"{copied_files} of the files that are read (all of at most {COPY_BYTES // 10**6} MB),",
        "each written unchanged in every format and read again. Refused: what it cannot hold.",
        "PNG has no pixels whose 0 is white, that are stored turned or multiplied by alpha: it",
        "holds them as they are shown.",
        "",
        f"| | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    rows = {
        "equal, bit for bit": [states[kind]["exact"] for kind in kinds],
        "refused": [states[kind]["refused"] for kind in kinds],
        "differ": [states[kind]["differs"] for kind in kinds],
        **{f"lost: {name}": [lost[kind][name] for kind in kinds] for name in FACTS},
    }
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in rows.items()]
    return [*lines, "", KEPT]


if __name__ == "__main__":
    sys.exit(main())
