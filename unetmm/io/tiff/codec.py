"""How one tile of a TIFF is stored: compression, with the predictor that suits its values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError

NONE, LZW, DEFLATE, ZSTD = 1, 5, 8, 50000
"""Values of the Compression tag."""
NAMES = {"none": NONE, "deflate": DEFLATE, "zstd": ZSTD, "lzw": LZW}
DEFAULT = "deflate"
"""Compression where none is asked for: all readers know it, few are smaller, none is faster."""
_LEVELS = {DEFLATE: 1, ZSTD: 3}
"""Compression -> level; higher ones save less than 3 % and take twice the time, measured."""
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_BYTES = 1, 2, 3
"""Values of the Predictor tag."""
_WORST_CASE = 1.5
"""Largest growth of a tile: LZW may need 12 bits for each of 8; the others add below 1 %."""
_SLACK_BYTES = 4096
"""Bytes beyond that growth for the headers of a codec."""
_ENCODING_COPIES = 2
"""Copies in memory while encoding: a buffer for the worst case, and what is cut out of it."""


@dataclass(frozen=True)
class TileCodec:
    """Encodes tiles (rows, columns, samples) to bytes and back; the same tile gives the same."""

    compression: int
    """Value of the Compression tag."""
    predictor: int
    """Value of the Predictor tag."""

    @classmethod
    def of(cls, path: Path, name: str | None, dtype: np.dtype[Any], ome: bool) -> TileCodec:
        """What an output asks for.

        Parameters
        ----------
        ome : whether Bio-Formats is to read it, which refuses the predictor for floats.

        Raises
        ------
        ImageError
            If TIFF has no such compression, or we do not write it.
        """
        chosen = (name or DEFAULT).lower()
        if chosen not in NAMES:
            raise ImageError(
                f"{path}: compression {name!r} is not written into TIFF; use one of "
                f"{', '.join(NAMES)}"
            )
        predictor = _DIFFERENCES
        if dtype.kind == "f":
            predictor = _NO_PREDICTOR if ome else _FLOAT_BYTES
        return cls(NAMES[chosen], _NO_PREDICTOR if chosen == "none" else predictor)

    @property
    def plain(self) -> bool:
        """Whether every tile is stored as it is, in as many bytes as any other."""
        return self.compression == NONE

    def most_bytes(self, tile_bytes: int) -> int:
        """Most bytes an encoded tile takes."""
        return tile_bytes if self.plain else int(_WORST_CASE * tile_bytes) + _SLACK_BYTES

    def scratch_bytes(self, tile_bytes: int) -> int:
        """Most memory that encoding or decoding a tile takes beyond it."""
        if self.plain:
            return 0
        return tile_bytes + _ENCODING_COPIES * self.most_bytes(tile_bytes)

    def encode(self, tile: NDArray[Any]) -> memoryview | bytes:
        """Bytes of a contiguous little-endian tile."""
        if self.plain:
            return tile.data.cast("B")
        import imagecodecs

        if self.predictor == _DIFFERENCES:
            tile = imagecodecs.delta_encode(tile, axis=-2)
        elif self.predictor == _FLOAT_BYTES:
            tile = imagecodecs.floatpred_encode(tile, axis=-2)
        data: Any = np.ascontiguousarray(tile).data.cast("B")
        if self.compression == LZW:
            return bytes(imagecodecs.lzw_encode(data))
        if self.compression == ZSTD:
            return bytes(imagecodecs.zstd_encode(data, level=_LEVELS[ZSTD]))
        return bytes(imagecodecs.deflate_encode(data, level=_LEVELS[DEFLATE]))

    def decode(
        self, data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """The tile again; raises whatever the decoder does on damaged data."""
        if self.plain:
            return np.frombuffer(data, dtype).reshape(shape)
        import imagecodecs

        size = shape[0] * shape[1] * shape[2] * dtype.itemsize
        decoders = {
            LZW: imagecodecs.lzw_decode,
            ZSTD: imagecodecs.zstd_decode,
            DEFLATE: imagecodecs.deflate_decode,
        }
        pixels = decoders[self.compression](data, out=size)
        tile: NDArray[Any] = np.frombuffer(pixels, dtype).reshape(shape)
        if self.predictor == _DIFFERENCES:
            tile = imagecodecs.delta_decode(tile, axis=-2)
        elif self.predictor == _FLOAT_BYTES:
            tile = imagecodecs.floatpred_decode(tile, axis=-2)
        return tile
