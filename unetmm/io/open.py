"""Images in and out: `open_source` reads boxes, `open_sink` takes them.

Which module does it is said by `unetmm.io.formats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetmm.errors import ImageError
from unetmm.intensities.validity import Values
from unetmm.io.axes import refuse_axes
from unetmm.io.formats import FORMATS, OUTPUT_SUFFIXES, WRITTEN, find_format
from unetmm.io.image import Encoding, ImageInfo, SinkOptions, Source
from unetmm.io.keeping import TOLD, not_kept
from unetmm.io.output.destination import check_destination
from unetmm.io.output.output import Output
from unetmm.io.places import Place, to_place
from unetmm.io.sidecars import with_nodata, with_sidecars
from unetmm.io.sniff import sniff_format

if TYPE_CHECKING:
    from unetmm.io.select import Selection


def open_source(
    path: Place | str, selection: Selection | None = None, nodata: Values | None = None
) -> Source:
    """Open an image, or a part of it, for reading by box; reads its metadata and no pixel.

    Parameters
    ----------
    selection : the part that is wanted; None for all of it.
    nodata : values that stand for "no data", () for none at all; None: as the image says.

    Raises
    ------
    ImageError
        If there is no image at `path`, one that cannot be read, or one without such a part.
    """
    place = to_place(path)
    format = sniff_format(place)
    assert format.reader is not None, "formats that are recognised are read"
    if selection is not None and "axes" not in format.told:
        refuse_axes(place, selection.axes)
    if selection is not None and selection.series and "series" not in format.told:
        raise ImageError(f"{path}: holds one image; leave --series {selection.series} out")
    told = {} if selection is None else {name: getattr(selection, name) for name in format.told}
    source = with_nodata(with_sidecars(format.reader(place, **told), place), nodata)
    if selection is None:
        return source
    from unetmm.io.select import select

    try:
        return select(source, selection)
    except ImageError as error:
        source.close()
        raise ImageError(f"{path}: {error}") from None


def count_images(path: Place | str) -> int:
    """Number of images of a file that `Selection.series` chooses among; 1 of most formats.

    Raises
    ------
    ImageError
        If there is no image at `path`.
    """
    place = to_place(path)
    format = sniff_format(place)
    return format.count(place) if format.count is not None else 1


def open_sink(
    options: SinkOptions, info: ImageInfo, format: str | None = None, masks: Source | None = None
) -> Output:
    """Open an output for writing by box; nothing appears under its name before `close`.

    Parameters
    ----------
    info : the image to be written; its `format`, `chunk` and byte order do not matter.
    format : one of WRITTEN; taken from the extension if None.
    masks : the image itself, whose mask leaves pixels out of the pyramid.

    Raises
    ------
    ImageError
        If the output exists and may not be replaced, is a file of the image itself, its folder is
        missing or not writable, or the format cannot hold such an image.
    """
    chosen = find_format(output_format(options.path, format))
    assert chosen is not None and chosen.store is not None, "output_format names what is written"
    if str(options.path.resolve()) in info.metadata.reading.other_files:
        raise ImageError(f"{options.path}: is a part of the input; choose another output")
    if chosen.name == "jpeg" and (meaning := info.metadata.display.meaning):
        what = "a map" if meaning == "map" else meaning
        raise ImageError(
            f"{options.path}: JPEG would change the values of {what}; write .png, .tif"
        )
    check_destination(options.path, overwrite=options.overwrite, folder=chosen.is_folder)
    encoding = options.encoding
    of_ome_zarr = encoding.shard_px or encoding.ome_zarr != Encoding.ome_zarr
    if of_ome_zarr and chosen.name not in ("ome-zarr", "ozx", "geozarr"):
        raise ImageError(f"{options.path}: shards and versions of OME-Zarr are for .ome.zarr alone")
    if encoding.quality is not None:
        if chosen.name != "jpeg":
            raise ImageError(f"{options.path}: a quality is for JPEG alone, whose loss it sets")
        if not 1 <= encoding.quality <= 100:
            raise ImageError(f"{options.path}: quality {encoding.quality} is none; give 1 to 100")
    lost = not_kept(info, chosen.name, options.path.name, 2 if encoding.ome_zarr == "0.4" else 3)
    store = chosen.store(options, info)
    return Output(options.path, info, store, masks, lost, TOLD, options.maps)


def output_format(path: Place | str, requested: str | None = None) -> str:
    """Short name of the format of an output: what was requested, else what the extension says.

    Raises
    ------
    ImageError
        If unetmm does not write such a format.
    """
    path = to_place(path)
    names = ", ".join(WRITTEN)
    if requested is not None:
        chosen = find_format(requested.lower())
        if chosen is None or chosen.store is None:
            raise ImageError(f"{path}: format {requested!r} is not written; use one of {names}")
        return chosen.name
    suffix = path.suffix.lower()
    found = next((f.name for f in FORMATS if f.store and suffix in f.suffixes), None)
    if found is None:
        raise ImageError(
            f"{path}: extension {suffix or '(none)'!r} names no format that is written; "
            f"use {OUTPUT_SUFFIXES}, or give --format with one of {names}"
        )
    return found
