"""Which format a path holds, told from its first bytes; the extension only words the error."""

from __future__ import annotations

from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.places import Place, RemotePath

READABLE = "TIFF, OME-Zarr, PNG, JPEG, JPEG 2000, WebP, BMP, PNM or NumPy .npy"
HEAD_BYTES = 16
"""Of a file, enough to tell its format."""
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")

_MAGIC = (
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"P5", "pnm"),
    (b"P6", "pnm"),
    (b"\x93NUMPY", "npy"),
    (b"ZISRAWFILE", "czi"),
    (b"\xda\xce\xbe\n", "nd2"),
    (b"\x70\0\0\0", "lif"),
)
_FOREIGN = (
    (b"GIF8", "a GIF"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\x89HDF", "an HDF5 (also Imaris .ims)"),
    (b"\xd0\xcf\x11\xe0", "an OLE file (such as Olympus .oib or Zeiss .zvi)"),
    (b"PK", "a zip archive (such as NumPy .npz)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop PSD"),
    (b"SIMPLE", "a FITS"),
)


def sniff_format(path: Place) -> str:
    """tiff, zarr, png, ...: one of the names in _MAGIC.

    Raises
    ------
    ImageError
        If there is nothing at `path`, or something that unetmm does not read.
    """
    if isinstance(path, RemotePath):
        if is_zarr(path):
            return "zarr"
        raise ImageError(f"{path}: is no Zarr, and only Zarr is read from URLs; download it first")
    with translated(path, "look at it"):
        if not path.exists():
            raise ImageError(f"{path}: there is no such file or folder; give a {READABLE}")
        if path.is_dir():
            return _sniff_folder(path)
        if not path.is_file():
            raise ImageError(f"{path}: is not a regular file; give a {READABLE}")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    raise ImageError(f"{path}: {_describe(head)}; unetmm reads {READABLE}")


def looks_like_image(head: bytes) -> bool:
    """Whether a stream that starts like this is a file of an image format rather than text."""
    if head[:2] in (b"P5", b"P6"):  # a PNM's header is text; a name would go on otherwise
        return head[2:3] in (b"\n", b" ", b"\r", b"\t") and head[3:4] in b"#0123456789"
    known = any(head.startswith(magic) for magic, _ in (*_MAGIC, *_FOREIGN))
    return known and not _is_text(head)


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def is_zarr(path: Place) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((path / mark).is_file() for mark in ZARR_MARKS)


def _sniff_folder(path: Path) -> str:
    if is_zarr(path):
        return "zarr"
    raise ImageError(
        f"{path}: is a folder without {', '.join(ZARR_MARKS)}, so it is no Zarr; "
        f"give one {READABLE}"
    )


def _describe(head: bytes) -> str:
    """What the first bytes look like, for an error message."""
    if not head:
        return "the file is empty"
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return f"the file is {name}"
    if _is_text(head):
        return f"the file holds text ({head.decode('ascii')[:12]!r}...), no image"
    return f"the file starts with {head[:8].hex(' ')}, which is no known image"
