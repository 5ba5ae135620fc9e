"""Panel "Output": how an output is stored, and which share of it this run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unetmm.io.formats import WRITTEN
from unetmm_cli.parsing import parse_share, parse_suffix

if TYPE_CHECKING:
    from unetmm.io.image import Encoding

if TYPE_CHECKING:
    Format = str
else:  # OME-Zarr first: it is what a format that is not written becomes
    Format = Literal[("auto", *sorted(WRITTEN, key=lambda name: name != "ome-zarr"))]
Dtype = Literal[
    "auto", "input", "uint8", "int8", "uint16", "int16", "uint32", "int32",
    "float16", "float32", "float64",
]  # fmt: skip
"""Values of --dtype."""
OmeZarrVersion = Literal["0.5", "0.4"]
"""Values of --ome-zarr."""
Rounding = Literal["nearest", "dither"]
"""Values of --rounding."""


@dataclass(frozen=True)
class OutputChoices:
    """What is written; the help of each option says what its value means."""

    format: Annotated[Format, typer.Option(help="Format of the output.")] = "auto"
    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="auto|input|TYPE",
            help="Pixel type of the output: uint8, uint16, float32, ... Values keep their scale; "
            "those that do not fit are clipped and counted. auto: that of the input, but float32 "
            "where --model auto finds fewer than four counts a pixel, for which whole numbers are "
            "too coarse.",
        ),
    ] = "auto"
    scores: Annotated[
        bool,
        typer.Option(
            "--scores",
            help="Of a model that tells classes apart, write the scores of all of them, each as a "
            "channel, instead of one label image.",
        ),
    ] = False
    rounding: Annotated[
        Rounding,
        typer.Option(
            help="How values become whole numbers. dither: up or down by chance, the same for any "
            "run, so that means stay where an image has few counts a pixel.",
        ),
    ] = "nearest"
    compression: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How chunks are compressed: none, zstd, deflate, ... as the format allows.",
        ),
    ] = None
    quality: Annotated[
        int | None,
        typer.Option(metavar="1..100", min=1, max=100, help="Quality of a JPEG; 95 if not given."),
    ] = None
    pyramid: Annotated[
        bool,
        typer.Option(
            "--pyramid/--no-pyramid",
            help="Store smaller copies for viewers beside the full resolution.",
        ),
    ] = True
    ome_zarr: Annotated[
        OmeZarrVersion, typer.Option(help="Version of OME-Zarr; 0.4 for older viewers.")
    ] = "0.5"
    shard_px: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="OME-Zarr 0.5: put chunks into files of N x N pixels, a multiple of 512.",
        ),
    ] = None
    suffix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            parser=parse_suffix,
            help="Added to the names of outputs in a folder.",
        ),
    ] = ""
    share: Annotated[
        Any,
        typer.Option(
            metavar="I/N",
            parser=parse_share,
            help="Do the I-th of N shares, all of which write one output; auto: from the job "
            "array (Slurm, PBS, LSF). The last one finishes it.",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an existing output, once the new one is whole."),
    ] = False
    save_calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write the measured statistics for --calibration.",
        ),
    ] = None

    @property
    def encoding(self) -> Encoding:
        """How the output stores its pixels."""
        from unetmm.io.image import Encoding

        return Encoding(self.compression, self.pyramid, self.ome_zarr, self.shard_px, self.quality)
