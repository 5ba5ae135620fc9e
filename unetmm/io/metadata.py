"""What a file says of its image beyond axes, type, pixel size and names, in parts by who needs it.

Readers fill in what they find; each store writes what its format has a place for. The default of
every field means that nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

XMP_TAG, IPTC_TAG = 700, 33723
"""Numbers of a TIFF's tags of XMP and IPTC."""
Resolution = tuple[float, float, str]
"""Pixels per unit along x and along y, and the unit: "inch" or "centimeter"."""
Tag = tuple[int, int, int, Any]
"""Code, type, count and value of a tag of a TIFF."""
Position = tuple[float, str]
"""Number and unit of a place along an axis."""


@dataclass(frozen=True)
class PhotoFacts:
    """What photos carry, and what prints and screens need."""

    icc_profile: bytes = b""
    """Colour profile as stored."""
    exif: bytes = b""
    """EXIF block, TIFF-structured; its orientation is 1 where the pixels were turned upright."""
    resolution: Resolution | None = None
    """Pixels per unit of a print."""
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    """Name and content of each chunk of a PNG that a PNG output keeps as it is."""
    comment: bytes = b""
    """Comment of a JPEG, which a JPEG output keeps."""
    xmp: bytes = b""
    """XML of photo software (XMP), of an image of this size with its rows as they are seen."""
    iptc: bytes = b""
    """Records of news agencies (IPTC) as stored."""
    image_resources: bytes = b""
    """Photoshop's resources of a JPEG, IPTC and small copies apart."""
    thumbnail: bool = False
    """Whether the EXIF had a small copy of the image, of which outputs make a new one."""


@dataclass(frozen=True)
class Mask:
    """Mask of valid pixels of a GeoTIFF, as it is stored."""

    lost: str = ""
    """Reason why the mask cannot be kept; if there is one, nothing else is known of it."""
    compression: int = 0
    """Value of its Compression tag."""
    bits: int = 1
    """Bits of a stored value, 1 or 8."""
    tile: tuple[int, int] | None = None
    """Rows and columns of a tile; None where the mask is stored in strips."""
    rows: int = 0
    """Rows of a strip; 0 where the mask is stored in tiles."""
    counts: tuple[int, ...] = ()
    """Stored bytes of each strip or tile."""
    data: bytes = b""
    """Content of all strips or tiles, one after another."""

    def as_dict(self) -> dict[str, Any]:
        """What is known of it, for readers."""
        if self.lost:
            return {"lost": self.lost}
        cut: dict[str, Any] = {"tile": self.tile} if self.tile else {"rows": self.rows}
        stored = {"compression": self.compression, "bits": self.bits}
        return {**stored, **cut, "counts": self.counts, "data": self.data}


@dataclass(frozen=True)
class TiffFacts:
    """What only a TIFF says, GeoTIFF above all."""

    tags: tuple[Tag, ...] = ()
    """Tags that a TIFF output keeps as they are."""
    description: str = ""
    """Free text of the first page."""
    bands: int = 0
    """Number of samples of a pixel that became channels, because they are no colours."""
    descriptions: tuple[str, ...] = ()
    """Name of each band; the last ones may be missing."""
    color_interpretation: tuple[str, ...] = ()
    """Colour of each band in GDAL's words; the last ones may be missing."""
    mask: Mask | None = None
    """Mask of valid pixels."""


@dataclass(frozen=True)
class GeoFacts:
    """Place on Earth in words and numbers for readers; outputs keep the tags themselves."""

    crs: str = ""
    """Coordinate reference system, such as "EPSG:32633"."""
    citation: str = ""
    """Name of the reference system as the file has it."""
    transform: tuple[float, ...] = ()
    """Six numbers in GDAL's order: x of the origin, of a column, of a row, then y of the same."""
    gcps: int = 0
    """Number of ground control points."""
    rpc: bool = False
    """Whether there are rational polynomial coefficients."""

    def as_dict(self) -> dict[str, Any]:
        """What is known, for readers."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class MicroscopyFacts:
    """What microscopes say, in the formats that they and their viewers use."""

    ome_xml: str = ""
    """OME-XML as stored."""
    imagej: Mapping[str, Any] = field(default_factory=dict)
    """ImageJ's settings as stored."""
    omero: Mapping[str, Any] = field(default_factory=dict)
    """Rendering settings of an OME-Zarr as stored."""
    channel_colors: tuple[str, ...] = ()
    """Colour of each channel as "#rrggbb"."""
    origin: Mapping[str, Position] = field(default_factory=dict)
    """Axis -> stage position of the first pixel."""
    labels: str = ""
    """Path of the group of label images beside an image of OME-Zarr; empty if there is none."""


@dataclass(frozen=True)
class DisplayFacts:
    """How stored values become what is seen."""

    bits: int = 0
    """Number of significant bits of a value, if those are fewer than its type has."""
    photometric: str = ""
    """Word "miniswhite" where 0 is white."""
    premultiplied: bool = False
    """Whether colours are stored multiplied by opacity."""
    palette: str = ""
    """Word on what became of a palette: "expanded" where stored values were indices and pixels are
    their colours, "values" where pixels are those values."""
    classes: bool = False
    """Whether a palette's colours seem to stand for classes, such as land cover."""
    colour_maps: tuple[bytes, ...] = ()
    """Packed colour map that shows the values of each channel, or the one that all of them have;
    see `unetmm.io.palette`."""
    meaning: str = ""
    """Word for values that are no image's: "map", "scores" or "labels", which a net made."""
    class_names: tuple[str, ...] = ()
    """Name of the class of each label, from 0."""


@dataclass(frozen=True)
class ReadingFacts:
    """How the file is stored and what was done about it."""

    compression: str = ""
    """Name of the compression of a TIFF."""
    zarr_format: int = 0
    """Version of Zarr, 2 or 3."""
    animation: str = ""
    """Words on what is read of an animation."""
    orientation: str = ""
    """Words on the orientation that was applied."""
    stored_size: tuple[int, int] | None = None
    """Height and width in pixels before the image was turned upright."""
    pyramid_levels: int = 0
    """Number of resolutions, the full one included."""
    other_series: int = 0
    """Number of further images in the file, which are not read."""
    other_scenes: int = 0
    """Number of further scenes in a microscope's file, which are not read."""
    other_files: tuple[str, ...] = ()
    """Paths of further files that hold a part of the image."""
    sidecars: tuple[str, ...] = ()
    """Paths of files beside the image that say where it is, or which pixels are no measurement."""
    remedy: str = ""
    """Advice on how to make an image readable in parts that is decoded as a whole."""
    guessed_axes: str = ""
    """Letters of the axes that the file does not name."""
    left_out: tuple[str, ...] = ()
    """Names of what the file holds besides, and no output keeps."""

    def without(self, *names: str) -> ReadingFacts:
        """The same with names of more that is left out."""
        return replace(self, left_out=tuple(dict.fromkeys((*self.left_out, *names))))


@dataclass(frozen=True)
class Metadata:
    """All that is known of an image besides its shape; the default knows nothing."""

    photo: PhotoFacts = PhotoFacts()
    """Profile, EXIF and resolution."""
    tiff: TiffFacts = TiffFacts()
    """Tags, bands and mask."""
    geo: GeoFacts = GeoFacts()
    """Place on Earth."""
    microscopy: MicroscopyFacts = MicroscopyFacts()
    """Channels and stage."""
    display: DisplayFacts = DisplayFacts()
    """Meaning of stored values."""
    reading: ReadingFacts = ReadingFacts()
    """Storage of the file."""

    @property
    def xmp(self) -> bytes:
        """XML of photo software, wherever the file has it."""
        return self.photo.xmp or self._tag_bytes(XMP_TAG)

    @property
    def iptc(self) -> bytes:
        """Records of news agencies, wherever the file has them."""
        return self.photo.iptc or self._tag_bytes(IPTC_TAG)

    def _tag_bytes(self, code: int) -> bytes:
        """Content of a tag of a TIFF; empty if there is none."""
        tag = next((t for t in self.tiff.tags if t[0] == code), None)
        if tag is None:
            return b""
        _, kind, _, value = tag
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if isinstance(value, str):
            return value.encode("utf-8")
        words = np.atleast_1d(np.asarray(value))
        if kind in (1, 6, 7):
            return words.astype(np.uint8).tobytes()
        for order in "<>":  # IPTC counts as words, in the order of its file
            found = words.astype(f"{order}u4").tobytes()
            if found[:1] == b"\x1c":
                return found
        return b""

    def as_dict(self) -> dict[str, Any]:
        """What is known, by the names that `unetmm info` shows."""
        found = {
            _SHOWN_AS.get(f.name, f.name): getattr(part, f.name)
            for part in (self.photo, self.tiff, self.microscopy, self.display, self.reading)
            for f in fields(part)
        }
        found["geo"] = self.geo.as_dict()
        found["mask"] = self.tiff.mask.as_dict() if self.tiff.mask else None
        return {name: found[name] for name in NAMES if found[name]}


NAMES = (
    *("zarr_format", "compression", "png_chunks", "icc_profile", "resolution", "tiff_tags", "bits"),
    *("photometric", "premultiplied", "bands", "pyramid_levels", "mask", "exif"),
    *("orientation", "stored_size", "comment", "other_series", "ome_xml", "imagej", "description"),
    *("geo", "descriptions", "color_interpretation", "channel_colors", "origin", "omero"),
    *("palette", "classes", "colour_maps", "animation", "other_files", "sidecars", "remedy"),
    *("other_scenes", "guessed_axes", "xmp", "iptc", "image_resources", "thumbnail", "left_out"),
    *("labels", "meaning", "class_names"),
)
"""Names of `Metadata.as_dict`, in the order in which a reader sees them."""
_SHOWN_AS = {"tags": "tiff_tags"}
"""Name of a field -> name that a reader sees, where these differ."""
