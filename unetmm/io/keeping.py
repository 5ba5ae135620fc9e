"""What outputs keep of an image's metadata: one table, by which losses are named and documented.

`not_kept` asks it for an image and a format; `docs/reference/metadata.md` is made of it. What a
file holds that has no row, such as the tags of a vendor, is named by its reader
(`ReadingFacts.left_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from unetmm.io.code_points import CICP, in_words
from unetmm.io.colour_profile import profile_of_points
from unetmm.io.exif import CAMERA, GPS, read_directories
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.listed import listed
from unetmm.io.ome_xml import mentions
from unetmm.io.palette import is_plain_grey, unpack_map
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, item_names

Names = tuple[str, ...]

_LONGEST_SEGMENT_BYTES = 65500
"""Longest EXIF or XMP that a JPEG takes, in bytes."""
_IMAGEJ = {
    "Info": "ImageJ info",
    "Labels": "slice labels",
    "ROI": "regions of interest",
    "Overlays": "overlays",
    "Ranges": "display ranges",
    "Properties": "ImageJ properties",
    "Plot": "ImageJ plot",
    "min": "display range",
    "xorigin": "origin of ImageJ",
    **dict.fromkeys(("cf", "c0", "c1"), "calibration of values"),
    "vunit": "unit of values",
}
"""Setting of ImageJ -> its name for readers; others are understood or say how it is stored."""
_LIGHT_CHUNKS = {
    **dict.fromkeys((b"mDCV", b"mDCv"), "mastering display (mDCV)"),
    **dict.fromkeys((b"cLLI", b"cLLi"), "light levels (cLLI)"),
}
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_OWN_CHUNKS = (b"gAMA", b"cHRM", b"sRGB")
"""Chunks that other formats say by a colour profile."""


TOLD = ("mask of valid pixels", "colour map", "nodata value", "valid range")
"""Names of losses that stores say in lines of their own, with what to do."""


@dataclass(frozen=True)
class Target:
    """What is known of an output before it is begun."""

    format: str
    """Short name of its format."""
    is_ome: bool = False
    """Whether its name asks for an OME-TIFF."""
    zarr_format: int = 3
    """Version of Zarr that an OME-Zarr is written in."""


@dataclass(frozen=True)
class Kind:
    """One kind of metadata."""

    name: str
    """Name for readers."""
    found_in: str
    """Formats of inputs that have it, in words."""
    find: Callable[[ImageInfo], Names]
    """Finder of it in an image: its name, or names of its parts; none if it is not there."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Short name of each format that keeps it -> how, in words."""
    unless: Callable[[ImageInfo, Target], bool] = lambda info, target: False
    """Test whether a format does not keep it of this very image, although it does of others."""


def not_kept(info: ImageInfo, format: str, name: str = "", zarr_format: int = 3) -> Names:
    """Names of what an output in a format does not keep of an image; none if it keeps all.

    Parameters
    ----------
    format : short name of the output's format.
    name : of the output, as far as it is known.
    zarr_format : version of Zarr that an OME-Zarr is written in.
    """
    lost: list[str] = []
    format = "ome-zarr" if format in ("ozx", "geozarr") else format
    target = Target(format, name.lower().endswith((".ome.tif", ".ome.tiff")), zarr_format)
    for kind in KINDS:
        if format not in kind.kept or kind.unless(info, target):
            lost += kind.find(info)
    return tuple(dict.fromkeys([*lost, *info.metadata.reading.left_out]))


def _if(name: str, test: Callable[[ImageInfo], object]) -> Callable[[ImageInfo], Names]:
    return lambda info: (name,) if test(info) else ()


def _tag(*codes: int) -> Callable[[ImageInfo], bool]:
    return lambda info: any(tag[0] in codes for tag in info.metadata.tiff.tags)


def _chunks(info: ImageInfo) -> Iterator[bytes]:
    return (name for name, _ in info.metadata.photo.png_chunks)


def _named_space(info: ImageInfo) -> Names:
    """A colour space that the file gives numbers of."""
    chunks = dict(info.metadata.photo.png_chunks)
    return (f"colour space ({in_words(chunks[CICP])})",) if CICP in chunks else ()


def _space_is_lost(info: ImageInfo, target: Target) -> bool:
    content = dict(info.metadata.photo.png_chunks).get(CICP, b"")
    return target.format in ("tiff", "jpeg") and not profile_of_points(content)


def _imagej(info: ImageInfo) -> Names:
    settings = info.metadata.microscopy.imagej
    there = [name for key, name in _IMAGEJ.items() if _is_said(key, settings.get(key))]
    if info.dtype.kind == "i" and settings.get("c0") == -32768:
        there = [name for name in there if name != _IMAGEJ["c0"]]  # which made them signed
    if str(settings.get("spacing", "")).startswith("-"):
        there.append("direction of Z")
    return tuple(dict.fromkeys(there))


def _is_said(key: str, value: object) -> bool:
    if key in ("c0", "c1", "vunit"):
        return bool(value) and value not in (1, "Gray Value", "gray value")
    return value is not None and (hasattr(value, "__len__") or bool(value)) and str(value) != ""


def _has_camera(info: ImageInfo) -> bool:
    tables = read_directories(info.metadata.photo.exif)
    return any(tables.get(code) for code in (0, CAMERA, GPS))


def _has_map(info: ImageInfo) -> bool:
    display = info.metadata.display
    maps = () if display.class_names else display.colour_maps  # those of classes are made up
    return any(not is_plain_grey(unpack_map(packed)) for packed in maps)


def _map_is_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.maps import map_bytes

    return target.format == "tiff" and not map_bytes(info)


def _mask_is_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.store import wants_ome

    mask = info.metadata.tiff.mask
    several = len(info.planes) > 1 and not info.metadata.tiff.bands
    return mask is not None and (bool(mask.lost) or several or wants_ome(info, target.is_ome))


def _is_too_long(content: bytes, target: Target) -> bool:
    return target.format == "jpeg" and len(content) > _LONGEST_SEGMENT_BYTES


def _description_is_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.store import keeps_description

    return target.format == "tiff" and not keeps_description(info, target.is_ome)


def _names_are_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.store import wants_ome

    return target.format == "tiff" and not (
        wants_ome(info, target.is_ome) or info.metadata.tiff.bands
    )


def _has_colours(info: ImageInfo) -> bool:
    """Whether channels have colours that no colour map says."""
    colours = info.metadata.microscopy.channel_colors
    plain = info.samples == 1 and not info.metadata.display.colour_maps
    return plain and any(colour != "#ffffff" for colour in colours)


def _has_settings(info: ImageInfo) -> bool:
    """Whether there is more than what we make up ourselves."""
    settings = info.metadata.microscopy.omero.get("rdefs")
    return isinstance(settings, dict) and bool(set(settings) - {"model"})


def _bits_are_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.store import wants_ome

    stated = info.dtype.kind == "u" and info.metadata.display.bits < min(
        16, 8 * info.dtype.itemsize
    )
    return target.format == "tiff" and not (stated or wants_ome(info, target.is_ome))


def _gdal_items(info: ImageInfo) -> Names:
    """Items of GDAL by their names; none if there are statistics alone."""
    names = [name for tag in info.metadata.tiff.tags if tag[0] == GDAL_METADATA_TAG
             for name in item_names(tag[3])]  # fmt: skip
    return (f"GDAL items ({listed(names)})",) if names else ()


def _has_no_overviews(info: ImageInfo, target: Target) -> bool:
    """Whether one chunk holds the output, so that there are no smaller copies."""
    return max(info.height, info.width) <= SinkOptions.chunk_px


def _ome_parts(info: ImageInfo) -> Names:
    """Parts of OME-XML beyond what every output with axes keeps."""
    xml = info.metadata.microscopy.ome_xml
    parts = {
        "ROI": "regions of interest", "StructuredAnnotations": "annotations",
        "Instrument": "instrument", "Plane": "times and places of planes",
    }  # fmt: skip
    return tuple(name for element, name in parts.items() if mentions(xml, element))


def _ome_is_lost(info: ImageInfo, target: Target) -> bool:
    from unetmm.io.tiff.ome import keeps_xml
    from unetmm.io.tiff.store import wants_ome

    return target.format == "tiff" and not (wants_ome(info, target.is_ome) and keeps_xml(info))


_AS_IS = "as it is"
_IN_PROFILE = "as a colour profile, unless it is HDR"
_IN_NOTES = "in our attributes, from where a TIFF, PNG or JPEG gets it back"
_PHOTOS = {"tiff": _AS_IS, "png": _AS_IS, "jpeg": _AS_IS, "ome-zarr": _IN_NOTES}
_MEASURED = {"tiff": "OME-XML, or tifffile's JSON for half floats", "ome-zarr": "OME's attributes"}
_SIZES = {**_MEASURED, "mrc": "in angstroms, of X, Y and Z"}
_MAKERS = (269, 271, 272, 285, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
"""Tags of makers, dates, titles and ratings."""
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)

KINDS = (
    Kind(
        "colour profile (ICC)", "TIFF, PNG, JPEG, WebP, JPEG 2000",
        _if("colour profile", lambda i: i.metadata.photo.icc_profile), _PHOTOS,
    ),
    Kind(
        "EXIF", "TIFF, PNG, JPEG, WebP, JPEG XL", _if("EXIF", _has_camera),
        {**_PHOTOS, "tiff": "camera, GPS and makers; IFD by IFD",
         "jpeg": "up to 64 kB; orientation and sizes are those of the output"},
        lambda i, t: _is_too_long(i.metadata.photo.exif, t),
    ),
    Kind(
        "thumbnail in EXIF", "PNG, JPEG", _if("thumbnail", lambda i: i.metadata.photo.thumbnail),
        {"png": "made anew", "jpeg": "made anew"},
    ),
    Kind(
        "XMP", "TIFF, PNG, JPEG, WebP, JPEG 2000, JPEG XL", _if("XMP", lambda i: i.metadata.xmp),
        {**_PHOTOS, "jpeg": "up to 64 kB; orientation and sizes are those of the output"},
        lambda i, t: _is_too_long(i.metadata.xmp, t),
    ),
    Kind("IPTC", "TIFF, PNG, JPEG", _if("IPTC", lambda i: i.metadata.iptc),
         {**_PHOTOS, "png": "as ImageMagick and exiftool have it"}),
    Kind(
        "Photoshop's image resources", "JPEG",
        _if("Photoshop resources", lambda i: i.metadata.photo.image_resources),
        {"jpeg": "without thumbnails", "ome-zarr": _IN_NOTES},
    ),
    Kind(
        "print resolution", "TIFF, PNG, JPEG, BMP, WebP",
        _if("print resolution", lambda i: i.metadata.photo.resolution),
        {**_PHOTOS, "jpeg": "in whole dots per inch"},
    ),
    Kind(
        "comment", "JPEG", _if("comment", lambda i: i.metadata.photo.comment),
        {"jpeg": _AS_IS, "png": "as a text", "ome-zarr": _IN_NOTES},
    ),
    Kind(
        "texts of a PNG", "PNG",
        _if("PNG texts", lambda i: set(_TEXT_CHUNKS) & set(_chunks(i))),
        {"png": "up to 1 MiB", "ome-zarr": _IN_NOTES},
    ),
    Kind(
        "colour space by number (cICP, nclx)", "PNG, AVIF, HEIC, JPEG XL", _named_space,
        {"png": _AS_IS, "tiff": _IN_PROFILE, "jpeg": _IN_PROFILE, "ome-zarr": _IN_NOTES},
        _space_is_lost,
    ),
    Kind(
        "light of an HDR screen (mDCV, cLLI)", "PNG",
        lambda i: tuple(dict.fromkeys(
            _LIGHT_CHUNKS[c] for c in _chunks(i) if c in _LIGHT_CHUNKS)),
        {"png": _AS_IS, "ome-zarr": _IN_NOTES},
    ),
    Kind(
        "gamma and primaries of a PNG (gAMA, cHRM)", "PNG",
        _if("gamma (gAMA)", lambda i: b"gAMA" in _chunks(i)),
        {"png": _AS_IS, "tiff": "as a colour profile", "jpeg": "as a colour profile",
         "ome-zarr": _IN_NOTES},
    ),
    Kind(
        "other chunks of a PNG", "PNG",
        lambda i: tuple(dict.fromkeys(
            f"chunk {c.decode('latin-1')}" for c in _chunks(i)
            if c not in (CICP, *_TEXT_CHUNKS, *_LIGHT_CHUNKS, *_OWN_CHUNKS))),
        {"png": "those that are known, and those marked as safe to copy", "ome-zarr": _IN_NOTES},
    ),
    Kind("size of a pixel", "TIFF, OME-Zarr, MRC, HDF5, DICOM, NRRD, CZI, ND2, LIF",
         _if("pixel sizes", lambda i: i.pixel_size), _SIZES),
    Kind("names of channels", "TIFF, OME-Zarr, Imaris, CZI, ND2, LIF",
         _if("channel names", lambda i: any(i.channel_names)), _MEASURED, _names_are_lost),
    Kind(
        "colours of channels", "TIFF, OME-Zarr, Imaris",
        _if("channel colours", _has_colours),
        _MEASURED, _names_are_lost,
    ),
    Kind(
        "number of significant bits", "TIFF, JPEG 2000, PNM, OME-TIFF",
        _if("significant bits", lambda i: i.metadata.display.bits),
        {"tiff": "MaxSampleValue of 8 and 16 bit without sign, or OME-XML", "ome-zarr": _IN_NOTES},
        _bits_are_lost,
    ),
    Kind(
        "place on the stage", "TIFF, OME-Zarr",
        _if("stage position", lambda i: i.metadata.microscopy.origin), _MEASURED, _names_are_lost,
    ),
    Kind(
        "OME-XML beyond these: instrument, annotations, regions of interest, planes", "OME-TIFF",
        _ome_parts, {"tiff": "of the first image, in OME-XML 2016-06 up to 2 MiB"}, _ome_is_lost,
    ),
    Kind("settings of ImageJ: info, labels, overlays, ranges, calibration of values", "TIFF",
         _imagej),
    Kind(
        "display settings of OME-Zarr", "OME-Zarr",
        _if("display settings", _has_settings),
        {"ome-zarr": _AS_IS},
    ),
    Kind(
        "label images", "OME-Zarr", _if("label images", lambda i: i.metadata.microscopy.labels),
        {"ome-zarr": "copied, where the version of OME-Zarr stays"},
        lambda i, t: i.metadata.reading.zarr_format != t.zarr_format,
    ),
    Kind(
        "description", "TIFF", _if("description", lambda i: i.metadata.tiff.description.strip()),
        {"tiff": "where a page has no OME-XML, and the text is no other software's",
         "ome-zarr": _IN_NOTES}, _description_is_lost,
    ),
    Kind(
        "maker, artist, date, copyright, title, rating in tags", "TIFF",
        _if("makers' tags", _tag(*_MAKERS)),
        {"tiff": _AS_IS, "ome-zarr": _IN_NOTES, "png": "in EXIF, of photos",
         "jpeg": "in EXIF, of photos"},
        lambda i, t: t.format in ("png", "jpeg") and not _has_camera(i),
    ),
    Kind("white and primaries in tags", "TIFF", _if("primaries", _tag(318, 319)),
         {"tiff": _AS_IS, "ome-zarr": _IN_NOTES}),
    Kind(
        "place on Earth", "TIFF, JPEG 2000, Zarr and netCDF by CF, world files, .prj, .aux.xml",
        _if("place on Earth", _tag(*_GEO_TAGS)), {"tiff": _AS_IS, "ome-zarr": _IN_NOTES},
    ),
    Kind("rational polynomials (RPC)", "TIFF, _RPC.TXT", _if("RPC", _tag(50844)),
         {"tiff": _AS_IS, "ome-zarr": _IN_NOTES}),
    Kind(
        "names, units, scales and other items of bands (GDAL, CF)", "TIFF, Zarr by CF",
        _gdal_items,
        {"tiff": "without statistics of the old pixels",
         "ome-zarr": "in our attributes; scale_factor and add_offset too"},
    ),
    Kind(
        'values for "no data"', "TIFF, OME-Zarr, .aux.xml",
        _if("nodata value", lambda i: i.nodata.bands),
        {"tiff": "GDAL_NODATA", "ome-zarr": "_FillValue or missing_value, and our attributes"},
    ),
    Kind("range of valid values", "Zarr", _if("valid range", lambda i: i.nodata.in_range),
         {"ome-zarr": "valid_min and valid_max"}),
    Kind(
        "mask of valid pixels", "TIFF, .msk",
        _if("mask of valid pixels", lambda i: i.metadata.tiff.mask),
        {"tiff": "in an image of one page, up to 4 MiB"}, _mask_is_lost,
    ),
    Kind(
        "colour map of measured values", "TIFF", _if("colour map", _has_map),
        {"tiff": "of 8 and 16 bit without sign", "ome-zarr": _IN_NOTES}, _map_is_lost,
    ),
    Kind(
        "overviews", "TIFF", _if("overviews", lambda i: i.metadata.reading.pyramid_levels > 1),
        {"tiff": "made anew, of more than a tile", "ome-zarr": "made anew, of more than a chunk"},
        _has_no_overviews,
    ),
)  # fmt: skip
"""Table of the kinds of metadata, in the order in which losses are named."""
