"""Chunks of foreign Zarr: no codec runs code, none gives more than a chunk holds."""

from __future__ import annotations

import gzip
import json
import lzma
import pickle
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.omezarr.decoding import zstd_size
from unetmm.io.open import open_source

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
BIG = bytes(20 * 10**6)
V3 = {"zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec(), "none": None}
V2 = {
    "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip(), "zlib": numcodecs.Zlib(),
    "blosc": numcodecs.Blosc(), "lz4": numcodecs.LZ4(), "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(), "none": None,
}  # fmt: skip
CASES = [(3, name) for name in V3] + [(2, name) for name in V2]


def write(path: Path, version: Any, name: str, **more: Any) -> Path:
    array = zarr.create_array(
        path, shape=(64, 64), chunks=(32, 32), dtype="uint16", zarr_format=version,
        compressors=(V3 if version == 3 else V2)[name], **more,
    )  # fmt: skip
    array[:] = PIXELS
    return path


def read(path: Path) -> Any:
    source = open_source(path)
    try:
        return source.read((0, 0, 0), Box(0, 0, 64, 64))[..., 0]
    finally:
        source.close()


@pytest.mark.parametrize(("version", "name"), CASES)
def test_chunks_are_read_by_every_codec(tmp_path: Path, version: int, name: str) -> None:
    assert (read(write(tmp_path / "a.zarr", version, name)) == PIXELS).all()


def test_shards_and_filters_are_read_too(tmp_path: Path) -> None:
    assert (read(write(tmp_path / "a.zarr", 3, "gzip", shards=(64, 64))) == PIXELS).all()
    filters = [numcodecs.Delta("<u2"), numcodecs.Shuffle(2)]
    assert (read(write(tmp_path / "b.zarr", 2, "zlib", filters=filters)) == PIXELS).all()


def bombs(name: str) -> list[bytes]:
    """Much more than a chunk, in a few bytes; also where the data do not say how much."""
    made = {
        "zstd": [imagecodecs.zstd_encode(BIG), _zstd_of_unknown_size()],
        "gzip": [gzip.compress(BIG), gzip.compress(PIXELS[:32, :32].tobytes()) * 50],
        "zlib": [zlib.compress(BIG)],
        "blosc": [bytes(numcodecs.Blosc().encode(BIG))],
        "lz4": [bytes(numcodecs.LZ4().encode(BIG))],
        "bz2": [bytes(numcodecs.BZ2().encode(BIG))],
        "lzma": [lzma.compress(BIG)],
    }
    return made[name]


def _zstd_of_unknown_size() -> bytes:
    """A frame without its size: blocks that repeat a byte (RFC 8878, 3.1.1.2)."""
    size = 128 * 1024
    block = (size << 3 | 0b010).to_bytes(3, "little") + b"\0"
    last = (size << 3 | 0b011).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + bytes([0, 0x58]) + block * 200 + last


@pytest.mark.parametrize(("version", "name"), [c for c in CASES if c[1] != "none"])
def test_a_chunk_that_becomes_much_more_is_refused(tmp_path: Path, version: int, name: str) -> None:
    path = write(tmp_path / "a.zarr", version, name)
    chunk = path / ("c/0/0" if version == 3 else "0.0")
    for bomb in bombs(name):
        chunk.write_bytes(bomb)
        source = open_source(path)
        tracemalloc.start()
        with pytest.raises(ImageError, match="cannot decode a part of it"):
            source.read((0, 0, 0), Box(0, 0, 32, 32))
        assert tracemalloc.get_traced_memory()[1] < (12 if name == "lzma" else 4) * 10**6
        tracemalloc.stop()


def test_sizes_of_frames_are_read() -> None:
    for size in (0, 1, 255, 256, 300, 70000, 10**7):
        assert zstd_size(imagecodecs.zstd_encode(bytes(size))[:18]) == size
    assert zstd_size(_zstd_of_unknown_size()[:18]) is None
    assert imagecodecs.zstd_decode(_zstd_of_unknown_size()) == bytes(201 * 128 * 1024)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("code was run",)


@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_codecs_that_run_code_are_refused(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.zarr", 2, "none")
    metadata = json.loads((path / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    metadata[place] = codec if place == "compressor" else [codec]
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ImageError, match="pickle"):
        read(path)
    assert "code was run" not in capsys.readouterr().out


def test_codecs_that_are_not_known_are_refused_by_name(tmp_path: Path) -> None:
    class Other(numcodecs.abc.Codec):  # type: ignore[misc]
        codec_id = "other"

        def encode(self, buf: Any) -> Any:
            return buf

        def decode(self, buf: Any, out: Any = None) -> Any:
            return pickle.loads(buf)

    numcodecs.register_codec(Other)
    try:
        path = write(tmp_path / "a.zarr", 2, "none", filters=[Other()])
        with pytest.raises(ImageError, match="with the codec 'other', which is not read"):
            open_source(path)
    finally:
        numcodecs.registry.codec_registry.pop("other")
