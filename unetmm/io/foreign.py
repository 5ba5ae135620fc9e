"""Files that are recognised only to be refused by their name, with the way on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """A kind of file that is not read."""

    what: str
    """Words for such a file, with their article."""
    marks: tuple[bytes, ...]
    """Beginnings of its files, each of which tells the kind."""
    suffixes: tuple[str, ...] = ()
    """Extensions of files that people take for images like those we read."""
    mark_at: int = 0
    """Offset of such a beginning in bytes."""
    remedy: str = ""
    """Advice on how to make an image of it that is read, with {0} for the file's name and {1} for
    that name without its extension; empty if there is none."""

    def matches(self, head: bytes) -> bool:
        """Whether a file that starts like this is of the kind."""
        return head[self.mark_at :].startswith(self.marks)


_RAW = "develop it into TIFF first, as by darktable-cli {0} {1}.tif"
_BIOFORMATS = "convert it: bioformats2raw {0} {1}.zarr, or bfconvert {0} {1}.ome.tif"
_MAGICK = "convert it: magick {0} {1}.png"
_GDAL = "convert it: gdal_translate {0} {1}.tif"

FOREIGN = (
    Foreign("a raw photo (Canon CR2)", (b"CR\x02",), (".cr2",), 8, _RAW),
    Foreign("a raw photo (Canon CR3)", (b"ftypcrx ",), (), 4, _RAW),
    Foreign("a raw photo (Fujifilm RAF)", (b"FUJIFILMCCD-RAW",), (), 0, _RAW),
    Foreign("a raw photo (Olympus ORF)", (b"IIRO", b"IIRS", b"MMOR"), (), 0, _RAW),
    Foreign("a raw photo (Panasonic RW2)", (b"IIU\0",), (), 0, _RAW),
    Foreign("a raw photo (Sigma X3F)", (b"FOVb",), (), 0, _RAW),
    Foreign("a video (MP4, MOV)", (b"ftyp",), (), 4, "take its frames out: ffmpeg -i {0} %04d.png"),
    Foreign("a NIfTI", (b"n+1\0", b"ni1\0"), (), 344, "save its array by nibabel and numpy.save"),
    Foreign("a GIF", (b"GIF8",), (".gif",), 0, _MAGICK),
    Foreign("a Radiance HDR", (b"#?RADIANCE", b"#?RGBE"), (), 0,
            "convert it: oiiotool {0} -o {1}.tif"),
    Foreign("a MetaImage", (b"ObjectType", b"NDims"), (), 0, "save its array by SimpleITK as TIFF"),
    Foreign("a netCDF", (b"CDF\x01", b"CDF\x02", b"CDF\x05"), (), 0,
            "save it by xarray: xarray.open_dataset({0}).to_zarr({1})"),
    Foreign("a GRIB", (b"GRIB",), (), 0, _GDAL),
    Foreign("an HDF4", (b"\x0e\x03\x13\x01",), (), 0, _GDAL),
    Foreign("an ENVI header", (b"ENVI",), (), 0, _GDAL),
    Foreign("a VRT of GDAL", (b"<VRTDataset",), (), 0, _GDAL),
    Foreign("a file of MATLAB", (b"MATLAB 5.0",), (), 0,
            "save its array by scipy.io.loadmat and numpy.save"),
    Foreign(
        "an OLE file (such as Olympus .oib or Zeiss .zvi)", (b"\xd0\xcf\x11\xe0",), (), 0,
        _BIOFORMATS,
    ),
    Foreign("a file of DigitalMicrograph", (b"\0\0\0\x03\0", b"\0\0\0\x04\0"), (), 0, _BIOFORMATS),
    Foreign("a zip archive (such as NumPy .npz)", (b"PK",), (), 0, "unpack it, and give an image"),
    Foreign("a gzip file", (b"\x1f\x8b",), (), 0, "unpack it: gunzip {0}"),
    Foreign("an xz file", (b"\xfd7zXZ\0",), (), 0, "unpack it: unxz {0}"),
    Foreign("a bzip2 file", (b"BZh",), (), 0, "unpack it: bunzip2 {0}"),
    Foreign("a 7z archive", (b"7z\xbc\xaf",), (), 0, "unpack it, and give an image"),
    Foreign("a Zstandard file", (b"\x28\xb5\x2f\xfd",), (), 0, "unpack it: unzstd {0}"),
    Foreign("an SVG or other XML", (b"<svg", b"<?xml"), (), 0, ""),
    Foreign("a PDF", (b"%PDF",), (), 0, "take its pictures out: pdfimages -png {0} {1}"),
    Foreign("a Photoshop PSD", (b"8BPS",), (), 0, _MAGICK),
    Foreign("a GIMP XCF", (b"gimp xcf",), (), 0, "export it as PNG or TIFF"),
)  # fmt: skip
"""Kinds of files that users mistake for images that unetmm reads, those told first that are TIFF or
JPEG 2000 in part."""


@dataclass(frozen=True)
class Shell:
    """A kind of file that shows a small picture of an image which lies in a folder beside it."""

    what: str
    """Words for such a file, with their article."""
    beside: str
    """Name of the folder, {} in the place of the file's name without its extension."""
    remedy: str
    """Command that converts the image, {} in the place of the file's name."""


SHELLS = {
    ".mrxs": Shell(
        "a slide of MIRAX", "{}/", "vips copy {} slide.tif[tile,pyramid,bigtiff,compression=jpeg]"
    ),
    ".vsi": Shell("a file of Olympus cellSens", "_{}_/", "bioformats2raw {} image.zarr"),
}
"""Extensions of such files."""
