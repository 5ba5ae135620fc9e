"""DICOM of hospitals: slices, films and whole slides in tiles, frame by frame through pydicom.

Source: DICOM PS3.3, C.7.6.3 (pixels), C.7.6.17 (whole slides in tiles), C.8.12.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.extras import need
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.failures import translated
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import DisplayFacts, Metadata, ReadingFacts
from unetmm.io.whole.source import Frames, FrameSource

_COPIES = 4.0
"""Peak of decoding in decoded frames, measured."""
_LIBRARY_BYTES = 16 * 10**6
"""Memory that pydicom occupies, with its dictionary, measured."""
_MOST_FRAMES = 10**6
_DEFERRED_BYTES = 2**16
"""Longest element that is read at once."""
_CODECS = {
    "1.2.840.10008.1.2.4.57": "ljpeg",
    "1.2.840.10008.1.2.4.70": "ljpeg",
    "1.2.840.10008.1.2.4.80": "jpegls",
    "1.2.840.10008.1.2.4.81": "jpegls",
}
"""Compressions of which pydicom has no decoder of its own -> names of codecs of imagecodecs."""
_FRAME_MARKERS = (0xC3, 0xF7)
"""Second bytes of the markers before the size of a lossless JPEG and of a JPEG-LS."""
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def open_dicom(path: Path) -> FrameSource:
    """The image of a DICOM: one slice, planes, or a slide that is put together of tiles.

    Raises
    ------
    ImageError
        If pydicom is not installed, or the pixels cannot be restored.
    """
    need("pydicom", f"{path}: is a DICOM; to read it unetmm", 'pip install "unetmm[dicom]"')
    import pydicom

    with translated(path, "read it as DICOM"):
        header = pydicom.dcmread(path, defer_size=_DEFERRED_BYTES)
        info, frames = _describe(path, header)
        codec = _own_codec(path, header)

    def decode(number: int) -> NDArray[Any]:
        if codec is not None:
            return _decode(header, codec, number, info.dtype)
        from pydicom.pixels.utils import pixel_array

        found: NDArray[Any] = pixel_array(path, index=number)
        return np.ascontiguousarray(found).astype(info.dtype, copy=False)

    kept_bytes = _LIBRARY_BYTES + (path.stat().st_size if codec is not None else 0)
    return FrameSource(path, info, frames, decode, _COPIES, kept_bytes)


def _decode(header: Any, codec: str, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A frame by a codec of imagecodecs."""
    import imagecodecs
    from pydicom.encaps import get_frame

    count = int(header.get("NumberOfFrames") or 1)
    data = get_frame(header.PixelData, number, number_of_frames=count)
    # Codecs write beyond their memory where a frame is of another size than they are told.
    expected = int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)
    if (found_size := _size_of(data)) != expected:
        raise ImageError(f"frame {number} is of size {found_size}, not {expected}; it is damaged")
    found: NDArray[Any] = getattr(imagecodecs, f"{codec}_decode")(data)
    if dtype.kind == "i" and found.dtype.kind == "u":  # codecs do not know of signs
        unused = 8 * dtype.itemsize - int(header.BitsStored)
        found = (found.astype(f"u{dtype.itemsize}") << unused).view(dtype) >> unused
    return found.astype(dtype, copy=False)


def _size_of(data: bytes) -> tuple[int, int, int]:
    """(rows, columns, samples) by the header of a lossless JPEG or JPEG-LS; zeros if it has none.

    Source: ITU-T T.81, B.2.2.
    """
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _FRAME_MARKERS:
            return (
                int.from_bytes(data[at + 5 : at + 7]),
                int.from_bytes(data[at + 7 : at + 9]),
                data[at + 9],
            )
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0, 0, 0


def _describe(path: Path, header: Any) -> tuple[ImageInfo, Frames]:
    rows, columns = int(header.get("Rows", 0)), int(header.get("Columns", 0))
    samples = int(header.get("SamplesPerPixel", 1))
    if min(rows, columns) < 1 or "PixelData" not in header:
        raise ImageError(f"{path}: the DICOM holds no image; give one of rows and columns")
    display = _display(path, header, samples)
    dtype = _dtype(path, header)
    count = int(header.get("NumberOfFrames") or 1)
    if not 0 < count <= _MOST_FRAMES:
        raise ImageError(f"{path}: claims {count} frames; it is damaged")
    height = int(header.get("TotalPixelMatrixRows") or rows)
    width = int(header.get("TotalPixelMatrixColumns") or columns)
    is_tiled = (height, width) != (rows, columns)
    frames = _tiles(path, header, count) if is_tiled else Frames(None, rows, columns)
    planes = 1 if is_tiled else count
    shape = [height, width]
    axes = "YX"
    if planes > 1:
        axes = ("T" if "FrameTime" in header or "CineRate" in header else "Z") + axes
        shape = [planes, *shape]
    if samples > 1:
        axes, shape = f"{axes}S", [*shape, samples]
    lost = ["header of the DICOM, patient and study among it"]
    if float(header.get("RescaleSlope", 1)) != 1 or float(header.get("RescaleIntercept", 0)) != 0:
        lost.append("scale of values (RescaleSlope, RescaleIntercept)")
    info = ImageInfo(
        format="dicom",
        axes=axes,
        shape=tuple(shape),
        dtype=dtype,
        chunk=(min(frames.height, height), min(frames.width, width)),
        pixel_size=_pixel_sizes(header),
        nodata=_padding(header),
        metadata=Metadata(display=display, reading=ReadingFacts(left_out=tuple(lost))),
    )
    return info, frames


def _display(path: Path, header: Any, samples: int) -> DisplayFacts:
    """Meaning of the values: bits, and whether 0 is white.

    Raises
    ------
    ImageError
        If they are neither greys nor colours.
    """
    kind = str(header.get("PhotometricInterpretation", ""))
    if kind not in (_GREYS if samples == 1 else _COLOURS) or samples not in (1, 3):
        raise ImageError(
            f"{path}: holds {kind or 'pixels of no kind'} of {samples} samples, which is not "
            "restored; save grey or RGB"
        )
    stored, allocated = int(header.get("BitsStored", 0)), int(header.get("BitsAllocated", 0))
    return DisplayFacts(
        bits=stored if 0 < stored < allocated else 0,
        photometric="miniswhite" if kind == "MONOCHROME1" else "",
    )


def _dtype(path: Path, header: Any) -> np.dtype[Any]:
    bits = int(header.get("BitsAllocated", 0))
    if bits not in (8, 16, 32):
        raise ImageError(f"{path}: holds pixels of {bits} bits; save it with 8, 16 or 32")
    return np.dtype(f"{'i' if int(header.get('PixelRepresentation', 0)) else 'u'}{bits // 8}")


def _own_codec(path: Path, header: Any) -> str | None:
    """Name of the codec of imagecodecs for what pydicom has no decoder of; None where it has.

    Raises
    ------
    ImageError
        If neither knows the compression.
    """
    from pydicom.pixels.decoders.base import get_decoder

    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed:
        return None
    if syntax.is_deflated:
        raise ImageError(f"{path}: is deflated as a whole; write it without: dcmconv +te")
    if str(syntax) in _CODECS:
        return _CODECS[str(syntax)]
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise ImageError(
            f"{path}: is compressed by {syntax.name}; to read it: pip install pylibjpeg[all]"
        )
    return None


def _tiles(path: Path, header: Any, count: int) -> Frames:
    """Frames of a whole slide: row by row, or each with its place.

    Raises
    ------
    ImageError
        If there are several focal planes or colours apart, or a frame lies between tiles.
    """
    height, width = int(header.Rows), int(header.Columns)
    down = -(-int(header.TotalPixelMatrixRows) // height)
    across = -(-int(header.TotalPixelMatrixColumns) // width)
    if down * across > _MOST_FRAMES:
        raise ImageError(f"{path}: claims {down} x {across} tiles; it is damaged")
    planes = int(header.get("TotalPixelMatrixFocalPlanes") or 1)
    paths = int(header.get("NumberOfOpticalPaths") or 1)
    if planes > 1 or paths > 1:
        raise ImageError(
            f"{path}: holds {planes} focal planes and {paths} optical paths; convert it: "
            "bioformats2raw"
        )
    table = np.full((1, down, across), -1, np.int64)
    if str(header.get("DimensionOrganizationType", "")) == "TILED_FULL":
        if count != down * across:
            raise ImageError(f"{path}: holds {count} tiles of {down * across}; copy it again")
        table[0] = np.arange(count).reshape(down, across)
        return Frames(table, height, width)
    for number, group in enumerate(header.get("PerFrameFunctionalGroupsSequence", ())):
        place = group.PlanePositionSlideSequence[0]
        y = int(place.RowPositionInTotalImagePixelMatrix) - 1
        x = int(place.ColumnPositionInTotalImagePixelMatrix) - 1
        if y % height or x % width or not (0 <= y < down * height and 0 <= x < across * width):
            raise ImageError(f"{path}: its tiles overlap; convert it: bioformats2raw")
        table[0, y // height, x // width] = number
    return Frames(table, height, width)


def _pixel_sizes(header: Any) -> dict[str, tuple[float, str]]:
    """Axis -> length of a pixel in millimeters."""
    shared = header.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    about = measures[0] if measures else header
    spacing = about.get("PixelSpacing") or about.get("ImagerPixelSpacing") or ()
    depth = about.get("SpacingBetweenSlices") or about.get("SliceThickness")
    found = {}
    try:
        found = dict(zip("YX", map(float, spacing), strict=True))
        found |= {"Z": float(depth)} if depth else {}
    except (TypeError, ValueError):
        pass  # several values where one belongs say nothing
    return {axis: (size, "millimeter") for axis, size in found.items() if size > 0}


def _padding(header: Any) -> NoData:
    """The value around the field of view."""
    value = header.get("PixelPaddingValue")
    return NOTHING if value is None else NoData.of(float(value))
