"""A comparison as one HTML page, which needs no network; large images have tiles beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from unetmm.quality.trust.report import rows_of
from unetmm.quality.trust.trust import LayerTrust, Trust
from unetmm.version import __version__
from unetmm_cli.display.compare.build import NAMES, Built
from unetmm_cli.display.compare.charts import Axes, Curve, chart
from unetmm_cli.display.compare.pyramid import TILE_PX, first_level, last_level
from unetmm_cli.display.text import plain
from unetmm_cli.display.trust import shown_layers

REGION_PX = 256
"""Height and width of a region that a button leads to."""
MOST_REGIONS = 6
"""Most of such buttons."""


@dataclass(frozen=True)
class Comparison:
    """All that a page shows."""

    before: str
    """Name of the input."""
    after: str
    """Name of the output."""
    facts: Sequence[tuple[str, str]]
    """Name and text of what is known of them."""
    built: Built
    """Tiles, histograms and profile."""
    verdict: str
    """Verdict on the output, or why there is none, in a line."""
    trust: Trust | None
    """Figures and findings; None where the output is not judged."""
    shown: LayerTrust | None
    """Layer that the curves are of; None where the output is not judged."""
    record: Mapping[str, Any] | None
    """Way in which the output was made; None where it does not say so."""


def make_page(found: Comparison, tiles: Mapping[str, Any]) -> str:
    """The page as text.

    tiles : where they are, see `tiles_in_page` and `tiles_beside`.
    """
    here = files(__package__)
    built, shades = found.built, found.built.shades
    gaps = " Pixels without a measurement are black." if built.has_gaps else ""
    change = (
        f"Differences are grey where nothing changed, white where {shades.limit:.3g} or more was "
        "added, and black where as much was taken away."
        if shades.limit
        else "Nothing changed."
    )
    vendor = here.joinpath("vendor")
    return Template(here.joinpath("page.html").read_text("utf-8")).substitute(
        version=escape(__version__),
        before=escape(found.before),
        after=escape(found.after),
        verdict=found.trust.verdict if found.trust else "none",
        verdict_text=escape(found.verdict),
        facts="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in found.facts),
        stretch=escape(shades.stretch.in_words + gaps),
        change=escape(change),
        regions=_regions(found),
        findings="\n".join(_findings(found.trust)) if found.trust else "",
        figures=_figures(found.trust) if found.trust else "",
        charts="\n".join(_charts(found)),
        made=_made(found.record),
        licence=escape(vendor.joinpath("openseadragon.LICENSE.txt").read_text("utf-8")),
        library=vendor.joinpath("openseadragon.min.js").read_text("utf-8"),
        tiles=_script_text(tiles),
        script=here.joinpath("page.js").read_text("utf-8"),
    )


def tiles_in_page(built: Built, embedded: Mapping[str, str]) -> dict[str, Any]:
    """What the script has to know of tiles that are in the page."""
    return {**_tiles(built), "embedded": dict(sorted(embedded.items()))}


def tiles_beside(built: Built, folder: str, suffix: str) -> dict[str, Any]:
    """What the script has to know of tiles in a folder beside it."""
    return {**_tiles(built), "embedded": None, "folder": folder, "suffix": suffix}


def _tiles(built: Built) -> dict[str, Any]:
    size = built.height, built.width
    return {
        "names": NAMES,
        "height": built.height,
        "width": built.width,
        "tile": TILE_PX,
        "first": first_level(*size),
        "last": last_level(*size),
    }


def _script_text(content: Any) -> str:
    """JSON that is safe within a script of a page."""
    return json.dumps(content).replace("<", "\\u003c")


def _regions(found: Comparison) -> str:
    """Buttons that lead to places worth a look."""
    buttons = []
    for name, row, column in _places(found):
        x = min(max(0, column - REGION_PX // 2), max(0, found.built.width - REGION_PX))
        y = min(max(0, row - REGION_PX // 2), max(0, found.built.height - REGION_PX))
        text = f"{name}: row {row}, column {column}"
        buttons.append(
            f'<li><button type="button" data-region="{x},{y},{REGION_PX},{REGION_PX}">'
            f"{escape(text)}</button></li>"
        )
    return f'<ul class="regions" aria-label="Places worth a look">{"".join(buttons)}</ul>'


def _places(found: Comparison) -> Iterator[tuple[str, int, int]]:
    """Name, row and column of places worth a look."""
    if found.shown is None:
        return
    spots = found.shown.figures.spots[: MOST_REGIONS // 2]
    for spot in spots:
        yield "not borne out", spot.row + 16, spot.column + 16
    errors = found.shown.errors
    rows, columns = errors.shape
    for at in np.argsort(errors, axis=None, kind="stable")[::-1][: MOST_REGIONS - len(spots)]:
        i, j = divmod(int(at), columns)
        y = int((i + 0.5) / rows * found.built.height)
        x = int((j + 0.5) / columns * found.built.width)
        yield f"estimated error {errors[i, j]:.3g}", y, x


def _findings(trust: Trust) -> Iterator[str]:
    for one in trust.findings:
        name = f"{one.layer}: " if one.layer else ""
        yield f"<p><strong>{escape(one.verdict)}</strong> {escape(name + one.text)}</p>"
    if trust.share < 0.999:
        yield (
            f'<p class="soft">These figures are of {trust.share:.0%} of the image, in rows that '
            "lie evenly; unetmm trust looks at all of it.</p>"
        )


def _figures(trust: Trust) -> str:
    """The table of figures, a column for each layer."""
    layers = shown_layers(trust)
    names = ["figure", *(layer.name or "value" for layer in layers), "what it means"]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = []
    for rows in zip(*(rows_of(layer) for layer in layers), strict=False):
        cells = "".join(f"<td>{escape(row.value)}</td>" for row in rows)
        lines.append(
            f'<tr><th scope="row">{escape(rows[0].name)}</th>{cells}'
            f"<td>{escape(rows[0].meaning)}</td></tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _charts(found: Comparison) -> Iterator[str]:
    built, profile = found.built, found.built.profile
    stretch = built.shades.stretch
    values = np.linspace(stretch.low, stretch.high, 256)[1:-1]
    before, after = (np.maximum(row[1:-1], 0.5) for row in built.histograms.astype(np.float64))
    curves = [Curve("before", before), Curve("after", after)]
    yield chart("Histogram", values, curves, Axes("value", "pixels", is_log=True))
    places = profile.column + np.arange(len(profile.before), dtype=np.float64)
    curves = [Curve("before", profile.before), Curve("after", profile.after)]
    title = f"Values along row {profile.row}"
    yield chart(title, places, curves, Axes("column in pixels", "value"))
    if found.shown is None:
        return
    power = found.shown.power
    names = ("before", "after", "removed", "noise")
    curves = [Curve(name, getattr(power, name)) for name in names]
    axes = Axes("frequency in cycles a pixel", "power, 1 is noise", is_log=True)
    yield chart("Power by frequency", power.frequency, curves, axes)
    deciles = found.shown.figures.deciles
    if len(deciles) > 1:
        levels = np.array([one.level for one in deciles])
        change = np.array([one.change for one in deciles])
        yield chart(
            "Change of the mean by brightness", levels, [Curve("after", change)],
            Axes("value before", "change"),
        )  # fmt: skip


def _made(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "<p>The output does not say how it was made.</p>"
    rows = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(text))}</dd>"
        for name, text in record["facts"].items()
    )
    rest = {key: value for key, value in record.items() if key not in ("facts", "calibration")}
    text = escape(json.dumps(plain(rest), indent=1))
    return (
        f"<dl>{rows}</dl><details><summary>The rest of the record</summary>"
        f'<pre tabindex="0">{text}</pre></details>'
    )
