"""An image in words: its metadata, its values as blocks, and how an output was made."""

from __future__ import annotations

import math
from typing import Any

from unetmm.intensities.validity import NoData
from unetmm.io.formats import WRITTEN
from unetmm.io.image import ImageInfo
from unetmm.io.keeping import not_kept
from unetmm.io.places import Place
from unetmm.io.survey import Histogram, Survey
from unetmm.run.report import verdict
from unetmm_cli.display.lines import can_print, result_json
from unetmm_cli.display.tables import show_pairs
from unetmm_cli.display.text import plain

BLOCKS = "▁▂▃▄▅▆▇█"
"""Bars of a histogram by height."""
ASCII_BLOCKS = "_.-:=+*#"
"""Bars of a histogram where stdout cannot show those."""
LONGEST_TEXT = 160
"""Characters of a note that are shown as text; --json has all of it."""
MOST_ITEMS = 12
"""Items of a list that are shown as text, and numbers of an array that are shown at all."""


def info_as_dict(
    path: Place, info: ImageInfo, survey: Survey, made: dict[str, Any] | None = None
) -> dict[str, Any]:
    """An image's metadata; the keys are those of `info --json`.

    made : how an output of ours was made, see `unetmm.provenance.record.summary`.
    """
    return {
        "input": str(path),
        "format": info.format,
        "axes": info.axes,
        "shape": list(info.shape),
        "dtype": info.dtype.name,
        "chunk": list(info.chunk),
        "planes": len(info.planes),
        "megapixels": info.megapixels,
        "samples": info.samples,
        "alpha": info.alpha,
        "pixel_size": {axis: list(size) for axis, size in info.pixel_size.items()},
        "channel_names": list(info.channel_names),
        "nodata": plain(_nodata(info.nodata)),
        "not_kept": {name: list(lost) for name, lost in _not_kept(info).items()},
        "notes": plain({k: _plain_note(v) for k, v in info.metadata.as_dict().items()}),
        "values": plain(survey.as_dict()),
        "made": made,
    }


def _not_kept(info: ImageInfo) -> dict[str, tuple[str, ...]]:
    """Format of an output -> names of what it would not keep; formats that keep all are left out.

    Only the image's own format, and those that hold most.
    """
    own = [info.format] if info.format in WRITTEN else []
    lost = {name: not_kept(info, name) for name in dict.fromkeys([*own, "tiff", "ome-zarr"])}
    return {name: names for name, names in lost.items() if names}


def _nodata(nodata: NoData) -> Any:
    """A number where there is one for all bands; lists and words otherwise."""
    if nodata.single is not None and not nodata.in_range:
        return nodata.single
    return str(nodata) or None


def show_info(
    path: Place, info: ImageInfo, survey: Survey, made: dict[str, Any] | None = None
) -> None:
    """The same for a reader: what is known, and how the values are spread."""
    content = info_as_dict(path, info, survey)
    notes = content.pop("notes") | {"tiff_tags": _tag_names(info.metadata.tiff.tags)}
    del content["values"], content["made"]
    content["not_kept"] = [f"{name}: {', '.join(n)}" for name, n in content["not_kept"].items()]
    rows = {key: value for key, value in content.items() if value not in ({}, [], None)}
    rows |= {key: _short(value) for key, value in notes.items() if value not in ({}, [], "", None)}
    rows |= {f"values {h.name}": _spread(h, survey.sampled) for h in survey.histograms}
    rows |= {"noise": f"at most {survey.noise}"} if survey.noise else {}
    rows |= {"doubtful": "; ".join(survey.doubts)} if survey.doubts else {}
    if survey.skipped:
        rows["values"] = f"not looked at: {survey.skipped}"
    show_pairs({key: _in_full(value) for key, value in (rows | _made_rows(made)).items()})


def show_begun(path: Place, made: dict[str, Any], as_json: bool) -> None:
    """An output that is under way and has no pixels to look at yet."""
    if as_json:
        result_json({"input": str(path), "made": made})
    else:
        show_pairs({"input": str(path), **_made_rows(made)})


def _made_rows(made: dict[str, Any] | None) -> dict[str, Any]:
    """How an output was made, for a reader."""
    if made is None:
        return {}
    finished = "yes" if made["finished"] else "no; the command that began it goes on with it"
    return {
        "made by": f"unetmm {made['unetmm']}",
        "made from": made["input"],
        "model": made["model"],
        "because": (made.get("model_choice") or {}).get("reason"),
        "holds": made.get("holds"),
        "strength": made["strength"],
        "precision": made["precision"],
        "calibration": "kept within" if made["calibration"] else None,
        "finished": finished,
        "compared": verdict(made["guard"]) if made.get("guard") else None,
        "for methods": _for_methods(made),
    }


def _for_methods(made: dict[str, Any]) -> str:
    """A sentence for the methods of a paper."""
    if holds := made.get("holds"):
        what = str(holds).partition(" (")[0]
        return f"They are {what}, made with unetmm {made['unetmm']} (model {made['model']})."
    return (
        f"Images were restored with unetmm {made['unetmm']} (UNet--, model {made['model']}, "
        f"strength {made['strength']})."
    )


def sparkline(counts: tuple[int, ...]) -> str:
    """Counts as blocks; heights follow the square root, so that rare values show too."""
    top = max(counts, default=0)
    if not top:
        return ""
    blocks = BLOCKS if can_print(BLOCKS) else ASCII_BLOCKS
    heights = (math.sqrt(count / top) for count in counts)
    return "".join(blocks[math.ceil(h * len(blocks)) - 1] if h else " " for h in heights)


def _spread(found: Histogram, sampled: bool) -> str:
    if not found.counts:
        return "no valid pixel in the boxes that were read" if sampled else "no valid pixel"
    blocks = sparkline(found.counts)
    low, high = (_in_full(v) if v.is_integer() else f"{v:.6g}" for v in (found.low, found.high))
    return f"{low} |{blocks}| {high}, mean {found.mean:.6g}{', sampled' * sampled}"


def _in_full(value: Any) -> Any:
    """A value with its numbers as text that has every digit of them."""
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, dict):
        return {key: _in_full(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_full(item) for item in value]
    return value


def _tag_names(tags: Any) -> str:
    if not tags:
        return ""
    import tifffile

    return ", ".join(tifffile.TIFF.TAGS.get(tag[0], str(tag[0])) for tag in tags)


def _plain_note(value: Any) -> Any:
    """A note as JSON can hold it: bytes and large arrays become their size."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {key: _plain_note(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_note(item) for item in value]
    if getattr(value, "ndim", 0):
        small = value.size <= MOST_ITEMS
        return _plain_note(value.tolist()) if small else f"array {value.shape} {value.dtype}"
    return value


def _short(value: Any) -> Any:
    """A note on one line of moderate length."""
    if isinstance(value, str):
        text = " ".join(value.split())
        return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        more = ["..."] if len(value) > MOST_ITEMS else []
        return [_short(item) for item in value[:MOST_ITEMS]] + more
    return value
