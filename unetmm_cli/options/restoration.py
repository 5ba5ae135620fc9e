"""Panel "Restoration": which model computes, on what, and within how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unetmm_cli.parsing import (
    parse_budget,
    parse_device,
    parse_device_budget,
    parse_range,
    parse_strength,
)

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""Values of --precision."""
Transform = Literal["auto", "none", "anscombe"]
"""Values of --transform."""

Outliers = Literal["keep", "replace", "none"]
"""Values of --outliers."""
SINGLE_OUTLIERS = (
    "Single pixels that no optics can make (hot, dead, cosmic rays). keep: they keep their value "
    "and do not disturb what is around them, replace: they get one that fits, none: none are "
    "looked for."
)
"""Help of --outliers where whole columns and rows are not looked for."""


@dataclass(frozen=True)
class RestorationChoices:
    """How pixels are computed; the help of each option says what its value means."""

    model: Annotated[
        str | None,
        typer.Option(
            metavar="auto|NAME|FILE",
            help="Model of the zoo, or a .safetensors or .pth file. By default the one that fits "
            "the image: several are tried on parts of it. auto-clean chooses among those whose "
            "training data allow commercial use.",
        ),
    ] = None
    same_model: Annotated[
        bool,
        typer.Option(
            "--same-model",
            help="Choose one model for all images of a run: the one that fits the first.",
        ),
    ] = False
    mem_budget: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=parse_budget,
            help="Peak resident memory of the process: 512MB, 4GB (10^9 bytes), 4GiB or 4G (2^30), "
            "or 50% of what is available. "
            "By default half of what is available.",
        ),
    ] = None
    strength: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            parser=parse_strength,
            help="0 gives the input back, 1 the net's answer.",
        ),
    ] = 1.0
    range: Annotated[
        Any,
        typer.Option(
            metavar="LO,HI",
            parser=parse_range,
            help="Stored values that the net sees as 0 and 1. "
            "By default 0,255 for 8-bit (if it is not dark and grey), and measured otherwise.",
        ),
    ] = None
    outliers: Annotated[
        Outliers,
        typer.Option(
            help="Single pixels, columns and rows that no optics can make (hot, dead, cosmic "
            "rays) do not disturb what is around them. keep: they keep their value, replace: "
            "they get one that fits, none: none are looked for.",
        ),
    ] = "keep"
    transform: Annotated[
        Transform,
        typer.Option(
            help="anscombe: where noise grows with the signal, as counts of photons have it, "
            "restore their square roots, whose noise is even. auto: where that is measured and "
            "the model gains by it.",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        typer.Option(
            help="bf16: faster, on processors with AVX512_BF16; pixels move by less than a "
            "count of 255. auto is fp32. fp16 is for GPUs.",
        ),
    ] = "auto"
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda[:N]|cuda:N,M",
            parser=parse_device,
            help="Where to compute; auto is cpu. cuda: an NVIDIA GPU, tried on an H200. "
            "cuda:0,2: these GPUs of one kind share an image, a process each, with --mem-budget "
            "each; not tried yet. Also torch: the CPU by plain torch operations, slower. `plan` "
            "also takes a100, h100 and h200, which need not be here.",
        ),
    ] = "auto"
    device_budget: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=parse_device_budget,
            help="Peak memory of the GPU, besides its CUDA context: 8GB. By default 80 % of what "
            "is free.",
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Use these statistics instead of measuring the image, so a series matches: a "
            "file of --save-calibration, or an OME-Zarr or TIFF that unetmm made.",
        ),
    ] = None
    cores: Annotated[
        int, typer.Option(metavar="N", min=0, help="Cores used at most; 0 for all.")
    ] = 0

    def __post_init__(self) -> None:
        if self.calibration is not None and self.range is not None:
            raise typer.BadParameter(
                "--calibration holds the range already: leave out one of --calibration and --range"
            )
        if self.calibration is not None and self.transform != "auto":
            raise typer.BadParameter(
                "--calibration holds the transform already: leave out one of --calibration and "
                "--transform"
            )
