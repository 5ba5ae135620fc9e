"""Every image format: its names, how it is recognised, what reads it and what writes it.

To add a format, write its reader (a `Source`) or its store (a `ChunkStore`) and a row of `FORMATS`.
The command line, folders of images, training and `verify` know it from there. Nothing is imported
for a row before a file of that format is opened: codecs are slow to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unetmm.io.foreign import FOREIGN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unetmm.io.image import ImageInfo, SinkOptions, Source
    from unetmm.io.output.store import ChunkStore


def lazily(module: str, name: str, *more: Any) -> Callable[..., Any]:
    """A function or class of unetmm.io, imported when it is called first.

    Parameters
    ----------
    more : arguments that it gets behind those of the call.
    """

    def call(*arguments: Any, **told: Any) -> Any:
        return getattr(import_module(f"unetmm.io.{module}"), name)(*arguments, *more, **told)

    return call


@dataclass(frozen=True)
class Format:
    """One image format that is read, written or both."""

    name: str
    """Short name in lower case, as `--format` takes it and `ImageInfo.format` states it."""
    title: str
    """Name in messages for people."""
    suffixes: tuple[str, ...]
    """Extensions of its files in lower case, the one that outputs get first."""
    marks: tuple[bytes, ...] = ()
    """Beginnings of its files, each of which tells the format; none where an image is a folder."""
    mark_at: int = 0
    """Offset of such a beginning in bytes, of a format that starts with numbers."""
    aliases: tuple[str, ...] = ()
    """Further short names by which it may be asked for."""
    read_only_suffixes: tuple[str, ...] = ()
    """Extensions of inputs that are of this format, but that no output gets."""
    reader: Callable[..., Source] | None = None
    """Opener of an image at a place; None if the format is not read."""
    told: tuple[str, ...] = ()
    """Names of fields of `Selection` that the reader wants to know, as keywords."""
    count: Callable[[Any], int] | None = None
    """Counter of the images of a file; None if it always holds one."""
    extra: bool = False
    """Whether reading it needs packages that are not installed with unetmm."""
    store: Callable[[SinkOptions, ImageInfo], ChunkStore] | None = None
    """Maker of the store that an output is written into; None if the format is not written."""
    is_folder: bool = False
    """Whether an image is a folder, which may lie behind a URL too, rather than a file."""
    record: Callable[[Any], Any] | None = None
    """Reader of how an output was made; None if the format has no place for that."""
    checksums: Callable[[Any], list[NDArray[np.uint32]] | None] | None = None
    """Reader of the checksums of an output's chunks; None if the format has no place for them."""

    def matches(self, head: bytes) -> bool:
        """Whether a file that starts like this is of the format."""
        return head[self.mark_at :].startswith(self.marks) if self.marks else False


FORMATS = (
    Format(
        name="tiff",
        title="TIFF",
        suffixes=(".tif", ".tiff", ".ome.tif", ".ome.tiff", ".tf8", ".btf"),
        marks=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        aliases=("tif",),
        read_only_suffixes=(".svs", ".ndpi", ".qptiff", ".scn", ".bif", ".lsm", ".stk", ".gel"),
        reader=lazily("tiff.source", "TiffSource"),
        told=("palette", "series"),
        count=lazily("tiff.series", "count_series"),
        store=lazily("tiff.store", "TiffStore"),
        record=lazily("tiff.store", "read_record"),
        checksums=lazily("tiff.store", "read_checksums"),
    ),
    Format(
        name="ome-zarr",
        title="OME-Zarr",
        suffixes=(".ome.zarr", ".zarr"),
        aliases=("zarr",),
        reader=lazily("omezarr.source", "OmeZarrSource"),
        told=("axes", "labels"),
        store=lazily("omezarr.store", "OmeZarrStore"),
        is_folder=True,
        record=lazily("omezarr.store", "read_record"),
        checksums=lazily("omezarr.store", "read_checksums"),
    ),
    Format(
        name="geozarr",
        title="GeoZarr",
        suffixes=(".geo.zarr",),
        reader=lazily("omezarr.source", "OmeZarrSource"),
        told=("axes", "labels"),
        store=lazily("omezarr.geo_store", "GeoZarrStore"),
        is_folder=True,
        record=lazily("omezarr.store", "read_record"),
        checksums=lazily("omezarr.store", "read_checksums"),
    ),
    Format(
        name="ozx",
        title="zipped OME-Zarr (.ozx)",
        suffixes=(".ozx",),
        marks=(b"PK\x03\x04",),
        reader=lazily("omezarr.ozx", "OzxSource"),
        told=("axes", "labels"),
        store=lazily("omezarr.ozx", "OzxStore"),
        record=lazily("omezarr.store", "read_record"),
        checksums=lazily("omezarr.store", "read_checksums"),
    ),
    Format(
        name="png",
        title="PNG",
        suffixes=(".png",),
        marks=(b"\x89PNG\r\n\x1a\n",),
        reader=lazily("photo.png_rows", "open_png"),
        told=("palette",),
        store=lazily("photo.png_store", "PngStore"),
        record=lazily("photo.record", "read_png_record"),
    ),
    Format(
        name="jpeg",
        title="JPEG",
        suffixes=(".jpg", ".jpeg"),
        marks=(b"\xff\xd8\xff",),
        aliases=("jpg",),
        reader=lazily("photo.source", "PhotoSource", "jpeg"),
        store=lazily("photo.jpeg_store", "JpegStore"),
        record=lazily("photo.record", "read_jpeg_record"),
    ),
    Format(
        name="jpeg2000",
        title="JPEG 2000",
        suffixes=(".jp2",),
        marks=(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
        reader=lazily("photo.source", "PhotoSource", "jpeg2000"),
    ),
    Format(
        name="webp",
        title="WebP",
        suffixes=(".webp",),
        marks=(b"RIFF",),
        reader=lazily("photo.source", "PhotoSource", "webp"),
    ),
    Format(
        name="avif",
        title="AVIF",
        suffixes=(".avif",),
        marks=(b"ftypavif", b"ftypavis"),
        mark_at=4,
        reader=lazily("photo.source", "PhotoSource", "avif"),
    ),
    Format(
        name="heic",
        title="HEIC",
        suffixes=(".heic", ".heif", ".hif"),
        marks=(b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypmif1", b"ftypmsf1"),
        mark_at=4,
        reader=lazily("photo.source", "PhotoSource", "heic"),
        extra=True,
    ),
    Format(
        name="jxl",
        title="JPEG XL",
        suffixes=(".jxl",),
        marks=(b"\xff\x0a", b"\0\0\0\x0cJXL "),
        reader=lazily("photo.source", "PhotoSource", "jxl"),
    ),
    Format(
        name="bmp",
        title="BMP",
        suffixes=(".bmp",),
        marks=(b"BM",),
        reader=lazily("photo.source", "PhotoSource", "bmp"),
    ),
    Format(
        name="pnm",
        title="PNM",
        suffixes=(".pgm", ".ppm"),
        marks=(b"P5", b"P6"),
        reader=lazily("flat.source", "FlatSource", "pnm"),
    ),
    Format(
        name="npy",
        title="NumPy .npy",
        suffixes=(".npy",),
        marks=(b"\x93NUMPY",),
        reader=lazily("flat.source", "FlatSource", "npy"),
        told=("axes",),
        store=lazily("flat.npy_store", "NpyStore"),
    ),
    Format(
        name="mrc",
        title="MRC",
        suffixes=(".mrc", ".mrcs"),
        marks=(b"MAP ",),
        mark_at=208,
        reader=lazily("flat.source", "FlatSource", "mrc"),
        store=lazily("flat.mrc_store", "MrcStore"),
    ),
    Format(
        name="fits",
        title="FITS",
        suffixes=(".fits", ".fit", ".fts"),
        marks=(b"SIMPLE  =",),
        reader=lazily("flat.source", "FlatSource", "fits"),
    ),
    Format(
        name="dicom",
        title="DICOM",
        suffixes=(".dcm", ".dicom"),
        marks=(b"DICM",),
        mark_at=128,
        reader=lazily("whole.dicom", "open_dicom"),
        extra=True,
    ),
    Format(
        name="nrrd",
        title="NRRD",
        suffixes=(".nrrd",),
        marks=(b"NRRD000",),
        reader=lazily("whole.nrrd", "open_nrrd"),
        extra=True,
    ),
    Format(
        name="exr",
        title="OpenEXR",
        suffixes=(".exr",),
        marks=(b"\x76\x2f\x31\x01",),
        reader=lazily("whole.exr", "open_exr"),
        extra=True,
    ),
    Format(
        name="hdf5",
        title="HDF5",
        suffixes=(".h5", ".hdf5", ".hdf", ".he5", ".ims", ".nc"),
        marks=(b"\x89HDF\r\n\x1a\n",),
        aliases=("h5",),
        reader=lazily("hdf5.source", "Hdf5Source"),
        told=("axes", "series"),
        count=lazily("hdf5.source", "count_arrays"),
        extra=True,
    ),
    Format(
        name="czi",
        title="CZI",
        suffixes=(".czi",),
        marks=(b"ZISRAWFILE",),
        reader=lazily("vendor", "open_vendor", "czi"),
        told=("series",),
        count=lazily("vendor", "count_scenes", "czi"),
        extra=True,
    ),
    Format(
        name="nd2",
        title="ND2",
        suffixes=(".nd2",),
        marks=(b"\xda\xce\xbe\n",),
        reader=lazily("vendor", "open_vendor", "nd2"),
        told=("series",),
        count=lazily("vendor", "count_scenes", "nd2"),
        extra=True,
    ),
    Format(
        name="lif",
        title="LIF",
        suffixes=(".lif",),
        marks=(b"\x70\0\0\0",),
        reader=lazily("vendor", "open_vendor", "lif"),
        told=("series",),
        count=lazily("vendor", "count_scenes", "lif"),
        extra=True,
    ),
)
"""Table of formats, in the order in which messages name them."""


def _suffixes(formats: Iterable[Format]) -> frozenset[str]:
    return frozenset(s for f in formats for s in (*f.suffixes, *f.read_only_suffixes))


def _listed(words: list[str]) -> str:
    """ "a, b or c"."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


WRITTEN = tuple(f.name for f in FORMATS if f.store)
"""Short names of the formats that outputs may have."""
READ_SUFFIXES = _suffixes(f for f in FORMATS if f.reader)
"""Extensions by which a file of a folder counts as an image that can be read."""
SUFFIXES_WITH_AXES = READ_SUFFIXES - _suffixes(f for f in FORMATS if "axes" in f.told)
"""Extensions of files that say themselves which axes they have."""
IMAGE_SUFFIXES = READ_SUFFIXES | {s for kind in FOREIGN for s in kind.suffixes}
"""Extensions by which a file of a folder counts as an image, whether it can be read or not."""
READABLE = _listed([f.title for f in FORMATS if f.reader and f.name != "geozarr"])
"""Formats that are read, some of them by further packages, in words for a message."""
OUTPUT_SUFFIXES = _listed([f.suffixes[0] for f in FORMATS if f.store])
"""Usual extensions of outputs, in words for a message."""
OUTPUT_SUFFIX = {f.name: f.suffixes[0] for f in FORMATS if f.store}
"""Short name of a format that is written -> extension that its outputs get."""
DOUBLE_SUFFIXES = tuple(s for f in FORMATS for s in f.suffixes if s.count(".") > 1)
"""Extensions of two parts, which belong together where a name is split."""
RECORDLESS_SUFFIXES = tuple(s for f in FORMATS if f.store and not f.record for s in f.suffixes)
"""Extensions of outputs that cannot say how they were made."""


def find_format(name: str) -> Format | None:
    """The format of a short name or an alias; None if there is none."""
    return next((f for f in FORMATS if name in (f.name, *f.aliases)), None)
