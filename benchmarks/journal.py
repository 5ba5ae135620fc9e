"""What journal and checksums cost: the same restoration with them and without, in turn.

    python benchmarks/journal.py --repeats 7

Three cases: a net of the zoo; an identity in the place of the net, so that nothing is left but
reading, converting and writing; and that into a plain TIFF, uncompressed and without pyramid, the
worst case there is. Without means that a chunk's CRC-32 is 0 and that no line goes into the
journal. Prints medians in seconds, their ratio, and the spread of the ratios of single pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile

from unetmm.io.image import Encoding
from unetmm.options import Options
from unetmm.run.of_file import restore_file

PLAIN = Encoding(compression="none", pyramid=False)


class Identity:
    """A stream whose rows come out as they went in, at once."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def push(self, rows: np.ndarray) -> list[np.ndarray]:
        return [rows.copy()]

    def drain(self) -> list[np.ndarray]:
        return []


@contextmanager
def without_records() -> Iterator[None]:
    """No journal lines, no checksums."""
    with (
        mock.patch("unetmm.io.output.output.checksum", lambda pixels: 0),
        mock.patch("unetmm.io.output.local_workspace.Journal.record", lambda self, key, crc: None),
    ):
        yield


def make_image(path: Path, megapixels: float) -> None:
    """A striped TIFF of 16 bit, 3:2."""
    height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
    rng = np.random.default_rng(0)
    rows = rng.normal(2000, 300, (512, height * 3 // 2)).astype(np.uint16)
    pixels = np.concatenate([rows] * (height // 512 + 1))[:height]
    tifffile.imwrite(path, pixels, rowsperstrip=64)


def seconds_of(image: Path, output: Path, options: Options) -> float:
    start = time.perf_counter()
    restore_file(image, output, options)
    return time.perf_counter() - start


def measure(image: Path, output: Path, options: Options, repeats: int) -> dict[str, float]:
    """Medians of both, alternating and each first in half of the pairs."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    seconds_of(image, output, options)  # warms caches up
    for i in range(repeats):
        for recorded in (True, False) if i % 2 else (False, True):
            with ExitStack() as stack:
                if not recorded:
                    stack.enter_context(without_records())
                taken[recorded].append(seconds_of(image, output, options))
    ratios = [a / b for a, b in zip(taken[True], taken[False], strict=True)]
    with_s, without_s = (statistics.median(taken[kind]) for kind in (True, False))
    return {
        "with_s": with_s,
        "without_s": without_s,
        "ratio": with_s / without_s,
        "least": min(ratios),
        "most": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="tiny-mono")
    parser.add_argument("--output", default="out.ome.zarr", help="name; its format is measured")
    parser.add_argument("--folder", type=Path, help="where files are written; temporary by default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    options = Options(arguments.model, 2 * 10**9, overwrite=True)
    plain = Options(arguments.model, 2 * 10**9, overwrite=True, encoding=PLAIN)
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        make_image(folder / "in.tif", arguments.megapixels)
        for case, output, chosen, identity in (
            ("net", arguments.output, options, False),
            ("identity", arguments.output, options, True),
            ("identity, plain TIFF", "out.tif", plain, True),
        ):
            with ExitStack() as stack:
                if identity:
                    stack.enter_context(mock.patch("unetmm.engine.cpu.net.RowStream", Identity))
                result = measure(folder / "in.tif", folder / output, chosen, arguments.repeats)
            found[case] = result
            print(
                f"{case:22} with {result['with_s']:.2f} s, without {result['without_s']:.2f} s, "
                f"ratio {result['ratio']:.3f} ({result['least']:.3f} to {result['most']:.3f})",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
