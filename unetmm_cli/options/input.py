"""Panel "Input": which part of an image is read, and whether more images are waited for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unetmm_cli.parsing import (
    ALL_SERIES,
    parse_axes,
    parse_bands,
    parse_channels,
    parse_crop,
    parse_nodata,
    parse_planes,
    parse_rgb_bands,
    parse_series,
)

if TYPE_CHECKING:
    from unetmm.io.select import Selection

Palette = Literal["auto", "values", "colours"]
"""Values of --palette."""
ReadPalette = Annotated[
    Palette,
    typer.Option(
        help="What is restored of an image with a palette: the stored values or their colours. "
        "auto: values where the palette is a microscope's, a grey ramp, gradual or of 16 bits."
    ),
]
StatedAxes = Annotated[
    Any,
    typer.Option(
        metavar="LETTERS",
        parser=parse_axes,
        help="Axes of .npy and bare Zarr arrays, of T, C, Z, Y, X and S (colours): YXC.",
    ),
]
_SERIES_HELP = (
    "Which image of a TIFF, CZI, LIF or HDF5 with several is read, counted from 0; a warning lists "
    "them. By default the largest, of scenes the first."
)
Series = Annotated[int | None, typer.Option(metavar="N", min=0, help=_SERIES_HELP)]
SeriesOrAll = Annotated[
    Any,
    typer.Option(
        metavar="N|all",
        parser=parse_series,
        help=f"{_SERIES_HELP} all: each of them, into a folder.",
    ),
]


@dataclass(frozen=True)
class InputChoices:
    """What is read; the help of each option says what its value means."""

    channels: Annotated[
        Any,
        typer.Option(
            metavar="LIST",
            parser=parse_channels,
            help="Only these channels: numbers from 0 or names, 0,2 or DAPI,Cy5.",
        ),
    ] = None
    bands: Annotated[
        Any,
        typer.Option(
            metavar="LIST",
            parser=parse_bands,
            help="Only these bands: numbers from 1, as GDAL counts, or names, 4,3 or B04,B03.",
        ),
    ] = None
    planes: Annotated[
        Any,
        typer.Option(
            metavar="LIST",
            parser=parse_planes,
            help="Only these times and depths: T=0:5,Z=3 (0 to 4, and 3).",
        ),
    ] = None
    rgb_bands: Annotated[
        Any,
        typer.Option(
            metavar="R,G,B",
            parser=parse_rgb_bands,
            help="Restore these three bands as one colour image: 4,3,2 (from 1) or Red,Green,Blue.",
        ),
    ] = None
    palette: ReadPalette = "auto"
    axes: StatedAxes = None
    series: SeriesOrAll = None
    restore_labels: Annotated[
        bool,
        typer.Option(
            "--restore-labels",
            help="Restore an image of labels of an OME-Zarr, which is refused otherwise: its "
            "numbers are names of things.",
        ),
    ] = False
    nodata: Annotated[
        Any,
        typer.Option(
            metavar="VALUE",
            parser=parse_nodata,
            help="Pixels of this value, or of several (-9999,0), hold no measurement: they stay as "
            "they are and influence nothing. none: all pixels count, whatever the image says of "
            "values, masks or opacity. By default as the image says.",
        ),
    ] = None
    crop: Annotated[
        Any,
        typer.Option(
            metavar="X,Y,W,H",
            parser=parse_crop,
            help="Write only this part of each plane: left, top, width and height in pixels. Its "
            "pixels are exactly those of the whole run, at their place on Earth or on the stage.",
        ),
    ] = None
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Look for new images in the input folders every second, until Ctrl-C or SIGTERM: "
            "exit 130 if it stopped an image midway, else 0.",
        ),
    ] = False
    watch_for: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="--watch until no new image has come for so long.",
        ),
    ] = None

    @property
    def selection(self) -> Selection | None:
        """The part of the image that was chosen, None for all of it."""
        from unetmm.io.select import Selection

        chosen = Selection(self.channels or (), self.planes or {}, self.rgb_bands)
        chosen = replace(chosen, palette=self.palette, axes=self.axes or "", bands=self.bands or ())
        chosen = replace(chosen, series=self._number, labels=self.restore_labels)
        return None if chosen == Selection() else chosen

    @property
    def _number(self) -> int | None:
        """Number of the image that is wanted; None if none is named."""
        return self.series if isinstance(self.series, int) else None

    @property
    def takes_all_series(self) -> bool:
        """Whether every image of a file is wanted."""
        return bool(self.series == ALL_SERIES)

    @property
    def watches(self) -> bool:
        """Whether new images are waited for."""
        return self.watch or self.watch_for is not None
