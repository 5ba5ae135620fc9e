"""What sources share that show another source in another way."""

from __future__ import annotations

from unetmm.io.image import Source


class WrappedSource:
    """A source that reads from another, and costs what that one does."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def sequential(self) -> bool:
        """Whether the first read of a row unpacks all rows before it."""
        return bool(getattr(self._source, "sequential", False))

    @property
    def resident_bytes(self) -> int:
        """Memory that the source keeps."""
        return self._source.resident_bytes

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """Memory that reading a box takes."""
        return self._source.read_bytes(box_height, box_width)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
