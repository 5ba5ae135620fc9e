"""How chunks of any Zarr are decoded: by codecs that run no code, into no more than a chunk.

A codec of an array comes out of the array. `pickle` runs what it finds, and most others make as
much of a small file as that says: so codecs are named here, and what they say of their size is
looked at, or they are stopped where a chunk ends.
"""

from __future__ import annotations

import asyncio
import bz2
import copy
import lzma
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import zarr
from numcodecs.abc import Codec  # type: ignore[import-untyped]
from zarr.abc.codec import BytesBytesCodec

from unetmm.errors import ImageError
from unetmm.io.places import Place

PLAIN = (
    "bytes", "transpose", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "shuffle",
    "delta", "fixedscaleoffset", "scale_offset", "cast_value", "quantize", "bitround", "astype",
    "packbits", "zfpy", "pcodec", "sharding_indexed",
)  # fmt: skip
"""Codecs that give back about as much as they take, or what the type of the array says."""
MOST_LZMA_BYTES = 68 * 2**20
"""Most memory that a stream of LZMA may ask for, in bytes; its highest level takes 65 MiB."""
SLACK_BYTES = 2**16
"""Bytes that a chunk may have beyond its pixels once decoded, besides a share of them."""

Data = bytes | memoryview
Decoder = Callable[[Any, Data, int], bytes | None]


def capped(path: Place, array: Any) -> Any:
    """An array of zarr of which no chunk decodes to more than its pixels.

    Raises
    ------
    ImageError
        If it has a codec that is not known here.
    """
    metadata = copy.copy(array.metadata)
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    limit_bytes = chunk_bytes + chunk_bytes // 8 + SLACK_BYTES
    if metadata.zarr_format == 2:
        for codec in (*(metadata.filters or ()), metadata.compressor):
            _check(path, codec)
        changed: dict[str, Any] = {
            "compressor": _wrap_v2(metadata.compressor, limit_bytes),
            "filters": metadata.filters
            and tuple(_wrap_v2(codec, limit_bytes) for codec in metadata.filters),
        }
    else:
        changed = {"codecs": _wrap_v3(path, metadata.codecs, limit_bytes)}
    for name, value in changed.items():
        object.__setattr__(metadata, name, value)
    inner = array._async_array
    config = vars(inner).get("config", vars(inner).get("_config"))  # of Zarr 3.1.0
    return zarr.Array(type(inner)(metadata, inner.store_path, config))


def decoder_bytes(array: Any) -> int:
    """Memory of decoding a chunk beyond what goes in and comes out."""
    metadata = array.metadata
    codecs = metadata.codecs if metadata.zarr_format == 3 else (metadata.compressor,)
    named = {_name(codec) for codec in codecs if codec is not None}
    return MOST_LZMA_BYTES if "lzma" in named else 0


def _name(codec: Any) -> str:
    """Name of a codec, whatever version of Zarr has it."""
    if isinstance(codec, Codec):
        return str(codec.codec_id)
    return str(codec.to_dict()["name"]).removeprefix("numcodecs.")


def _check(path: Place, codec: Any) -> None:
    if codec is not None and _name(codec) not in (*PLAIN, *_DECODERS):
        raise ImageError(
            f"{path}: its chunks are stored with the codec {_name(codec)!r}, which is not read: it "
            "could run code, or take any memory; store them with zstd, blosc or gzip"
        )


def _wrap_v2(codec: Any, limit_bytes: int) -> Any:
    return _CappedV2(codec, limit_bytes) if codec and _name(codec) in _DECODERS else codec


def _wrap_v3(path: Place, codecs: Iterable[Any], limit_bytes: int) -> tuple[Any, ...]:
    found = []
    for codec in codecs:
        _check(path, codec)
        if _name(codec) == "sharding_indexed":
            inner = _wrap_v3(path, codec.codecs, limit_bytes)
            _wrap_v3(path, codec.index_codecs, limit_bytes)
            codec = copy.copy(codec)
            object.__setattr__(codec, "codecs", inner)
        elif _name(codec) in _DECODERS:
            codec = _CappedV3(codec, limit_bytes)
        found.append(codec)
    return tuple(found)


class _CappedV2(Codec):  # type: ignore[misc]
    """A codec of numcodecs that stops where a chunk ends."""

    def __init__(self, inner: Any, limit_bytes: int) -> None:
        self._inner, self._limit_bytes = inner, limit_bytes
        self.codec_id = inner.codec_id

    def encode(self, buf: Any) -> Any:
        return self._inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        done = _DECODERS[self.codec_id](self._inner, memoryview(buf).cast("B"), self._limit_bytes)
        return self._inner.decode(buf, out) if done is None else done

    def get_config(self) -> Any:
        return self._inner.get_config()


@dataclass(frozen=True)
class _CappedV3(BytesBytesCodec):
    """A codec of Zarr v3 that stops where a chunk ends."""

    inner: Any
    """Codec as the array names it."""
    limit_bytes: int
    """Most bytes that it may give."""

    is_fixed_size = False

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def evolve_from_array_spec(self, array_spec: Any) -> Any:
        return replace(self, inner=self.inner.evolve_from_array_spec(array_spec))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        return int(self.inner.compute_encoded_size(input_byte_length, chunk_spec))

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        decode = _DECODERS[_name(self.inner)]
        settings = getattr(self.inner, "_codec", self.inner)  # of numcodecs, where it is one
        data = memoryview(chunk_bytes.as_numpy_array()).cast("B")
        done = await asyncio.to_thread(decode, settings, data, self.limit_bytes)
        if done is None:
            return await self.inner._decode_single(chunk_bytes, chunk_spec)
        return chunk_spec.prototype.buffer.from_bytes(done)


def _refuse(found_bytes: int | None, limit_bytes: int) -> None:
    claims = "more" if found_bytes is None else f"{found_bytes} bytes"
    raise ValueError(
        f"a chunk holds {claims} where {limit_bytes} bytes are the most; it is damaged"
    )


def _stated(place: int) -> Decoder:
    """A codec whose data say at a place how many bytes they become, in 32 bits."""

    def decode(codec: Any, data: Data, limit_bytes: int) -> None:
        stated = int.from_bytes(data[place : place + 4], "little")
        if stated > limit_bytes:
            _refuse(stated, limit_bytes)

    return decode


def _zstd(codec: Any, data: Data, limit_bytes: int) -> bytes | None:
    """By what the frame says; where it says nothing, into no more than the limit."""
    stated = zstd_size(bytes(data[:18]))
    if stated is None:
        import imagecodecs

        return bytes(imagecodecs.zstd_decode(bytes(data), out=limit_bytes))
    if stated > limit_bytes:
        _refuse(stated, limit_bytes)
    return None


def zstd_size(head: bytes) -> int | None:
    """Bytes that a frame of Zstandard becomes; None where it does not say (RFC 8878, 3.1.1.1)."""
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        return 0  # which the decoder refuses
    descriptor = head[4]
    kind, single = descriptor >> 6, descriptor >> 5 & 1
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    length = (single, 2, 4, 8)[kind]
    if not length:
        return None
    return int.from_bytes(head[at : at + length], "little") + (256 if kind == 1 else 0)


def _inflate(codec: Any, data: Data, limit_bytes: int) -> bytes:
    """Deflate of both kinds; of gzip there may be several members, one after another."""
    return _in_parts(lambda: zlib.decompressobj(47), data, limit_bytes)


def _bunzip(codec: Any, data: Data, limit_bytes: int) -> bytes:
    return _in_parts(bz2.BZ2Decompressor, data, limit_bytes)


def _unlzma(codec: Any, data: Data, limit_bytes: int) -> bytes:
    format = getattr(codec, "format", lzma.FORMAT_XZ)
    filters = getattr(codec, "filters", None)
    most = None if format == lzma.FORMAT_RAW else MOST_LZMA_BYTES
    return _in_parts(
        lambda: lzma.LZMADecompressor(format, memlimit=most, filters=filters), data, limit_bytes
    )


def _in_parts(make: Callable[[], Any], data: Data, limit_bytes: int) -> bytes:
    """One stream after another, until there is more than the limit."""
    out = b""
    rest: bytes = bytes(data)
    while rest:
        decoder = make()
        part = decoder.decompress(rest, limit_bytes + 1 - len(out))
        out = out + part if out else part
        if len(out) > limit_bytes:
            _refuse(None, limit_bytes)
        if not decoder.eof:
            raise ValueError("a chunk ends within its data; it is damaged")
        rest = decoder.unused_data
    return out


_DECODERS: dict[str, Decoder] = {
    "blosc": _stated(4), "lz4": _stated(0), "zstd": _zstd, "gzip": _inflate, "zlib": _inflate,
    "bz2": _bunzip, "lzma": _unlzma,
}  # fmt: skip
"""Name of a codec -> what looks at its data: it refuses, decodes, or leaves it to the codec."""
