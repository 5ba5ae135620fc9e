"""Option types that commands share. Parsing only; nothing here touches an image or a model."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from unetmm.errors import ShapeError
from unetmm.io.formats import WRITTEN
from unetmm.sizes import parse_size

if TYPE_CHECKING:
    from unetmm.io.places import Place
    from unetmm.io.select import Selection
    from unetmm.options import Options
    from unetmm.provenance.facts import Share

INPUT, NET, OUTPUT, REPORTING = "Input", "Restoration", "Output", "Reporting"
CLUSTER = "Cluster"
"""Panels of the help text."""

if TYPE_CHECKING:
    OutputFormat = str
else:  # OME-Zarr first: it is what a format that is not written becomes
    OutputFormat = Literal[("auto", *sorted(WRITTEN, key=lambda name: name != "ome-zarr"))]
OmeZarrVersion = Literal["0.5", "0.4"]
LogStyle = Literal["text", "json"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
BatchSystem = Literal["slurm", "pbs", "lsf"]


def parse_budget(text: str | int) -> int:
    """Bytes of a memory size; a usage error if it is none."""
    try:
        return parse_size(str(text))
    except ShapeError as error:
        raise typer.BadParameter(str(error)) from error


def parse_device_budget(text: str | int) -> int:
    """Bytes of a memory size; a usage error if it is none, or a share of the host's memory."""
    if str(text).strip().endswith("%"):
        raise typer.BadParameter(f'"{text}": write the size of --device-budget, as in 8GB')
    return parse_budget(text)


def parse_device(text: str) -> str:
    """auto, cpu, torch, cuda or cuda:N; a usage error otherwise."""
    if not re.fullmatch(r"auto|cpu|torch|cuda(:\d{1,3})?", text):
        raise typer.BadParameter(f'"{text}" is not auto, cpu, torch, cuda or cuda:N; write cuda:0')
    return text


def parse_range(text: str) -> tuple[float, float] | None:
    """(low, high) of "lo,hi", None of "auto"; a usage error otherwise."""
    if text == "auto":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f'"{text}" is not lo,hi with lo < hi; write 0,4095') from None
    return low, high


def parse_suffix(text: str) -> str:
    """A part of a file's name; a usage error if it names a folder."""
    if "/" in text:
        raise typer.BadParameter(f'"{text}" names a folder; write a part of a name, as _dn')
    return text


def parse_strength(text: str | float) -> float:
    """A number from 0 to 1; a usage error otherwise."""
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise typer.BadParameter(f'"{text}" is not a number from 0 to 1')
    return strength


def _part(kind: str) -> Callable[[str], Any]:
    """A parser of a part of an image: channels, planes or bands; its errors are usage errors."""

    def parsed(text: str) -> Any:
        from unetmm.io import select

        try:
            return getattr(select, f"parse_{kind}")(text)
        except ShapeError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


def parse_place(text: str | Place) -> Place:
    """A path or an URL."""
    from unetmm.io.places import to_place

    return to_place(text)


def parse_shard(text: str) -> Share:
    """Share "i/n" of a run, i from 1; "auto" takes it from the batch system's job array."""
    from unetmm.provenance.facts import Share

    try:
        index, count = _array_task() if text == "auto" else (int(n) for n in text.split("/"))
        if not 1 <= index <= count:
            raise ValueError
    except (ValueError, KeyError):
        if text == "auto" and "PBS_ARRAY_INDEX" in os.environ:
            raise typer.BadParameter(
                "PBS does not tell how many tasks an array has, counted from 1: set UNETMM_SHARDS "
                "to that, or give --shard $PBS_ARRAY_INDEX/8"
            ) from None
        raise typer.BadParameter(
            f'"{text}" is not i/n with 1 <= i <= n, or auto within a job array; write 3/8'
        ) from None
    return Share(index - 1, count)


def _array_task() -> tuple[int, int]:
    """(index from 1, count) of this task of a Slurm, PBS or LSF job array."""
    env = os.environ
    if "SLURM_ARRAY_TASK_ID" in env:
        first = int(env.get("SLURM_ARRAY_TASK_MIN", "1"))
        step = int(env.get("SLURM_ARRAY_TASK_STEP", "1"))
        # A part of an array that is submitted again still belongs to the whole one.
        count = int(env.get("UNETMM_SHARDS") or env["SLURM_ARRAY_TASK_COUNT"])
        first = 1 if "UNETMM_SHARDS" in env else first
        return (int(env["SLURM_ARRAY_TASK_ID"]) - first) // step + 1, count
    index = env.get("PBS_ARRAY_INDEX") or env["LSB_JOBINDEX"]
    return int(index), int(env.get("UNETMM_SHARDS") or env["LSB_JOBINDEX_END"])


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Images, folders, patterns, @FILE with a name a line, or - for an image on stdin, or "
        "names of images. An image is first copied into $TMPDIR.",
    ),
]
Input = Annotated[
    Any,
    typer.Argument(
        metavar="INPUT",
        parser=parse_place,
        help="Image: TIFF of any kind, OME-Zarr, PNG, JPEG, WebP, .npy, ...",
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Where to write; the extension names the format, / at the end a folder. "
        "OME-Zarr may go to an URL, s3://... - writes TIFF (or --format npy, png, jpeg) to stdout, "
        "once it is whole in $TMPDIR.",
    ),
]
PlannedOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Output to plan for; an OME-Zarr beside the input if not given.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclass(frozen=True)
class Choices:
    """What a user may choose about a run, as `denoise`, `restore` and `plan` take it."""

    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Model of the zoo, or a .safetensors or .pth file. "
            "By default tiny-rgb for colour and tiny-mono otherwise.",
            rich_help_panel=NET,
        ),
    ] = None
    mem_budget: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=parse_budget,
            help="Peak resident memory of the process: 512MB, 4GB, 4GiB or 50%. "
            "By default half of what is available.",
            rich_help_panel=NET,
        ),
    ] = None
    strength: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            parser=parse_strength,
            help="0 gives the input back, 1 the net's answer.",
            rich_help_panel=NET,
        ),
    ] = 1.0
    range: Annotated[
        Any,
        typer.Option(
            metavar="LO,HI",
            parser=parse_range,
            help="Stored values that the net sees as 0 and 1. "
            "By default 0,255 for 8-bit, and measured otherwise.",
            rich_help_panel=NET,
        ),
    ] = None
    precision: Annotated[
        Precision,
        typer.Option(
            help="bf16: faster, on processors with AVX512_BF16; pixels move by less than a "
            "count of 255. auto is fp32. fp16 is for GPUs.",
            rich_help_panel=NET,
        ),
    ] = "auto"
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda[:N]",
            parser=parse_device,
            help="Where to compute; auto is cpu. cuda: an NVIDIA GPU, tried on an H200. Also "
            "torch: the CPU by plain torch operations, slower.",
            rich_help_panel=NET,
        ),
    ] = "auto"
    device_budget: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=parse_device_budget,
            help="Peak memory of the GPU, besides its CUDA context: 8GB. By default 80 % of what "
            "is free.",
            rich_help_panel=NET,
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Use these statistics instead of measuring the image, so a series matches: a "
            "file of --save-calibration, or an OME-Zarr or TIFF that unetmm made.",
            rich_help_panel=NET,
        ),
    ] = None
    channels: Annotated[
        Any,
        typer.Option(
            metavar="LIST",
            parser=_part("channels"),
            help="Only these channels: numbers from 0 or names, 0,2 or DAPI,Cy5.",
            rich_help_panel=INPUT,
        ),
    ] = None
    planes: Annotated[
        Any,
        typer.Option(
            metavar="LIST",
            parser=_part("planes"),
            help="Only these times and depths: T=0:5,Z=3 (0 to 4, and 3).",
            rich_help_panel=INPUT,
        ),
    ] = None
    rgb_bands: Annotated[
        Any,
        typer.Option(
            metavar="R,G,B",
            parser=_part("bands"),
            help="Restore these three bands, counted from 1, as one colour image.",
            rich_help_panel=INPUT,
        ),
    ] = None
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Look for new images in the input folders every second, until Ctrl-C or SIGTERM: "
            "exit 130 if it stopped an image midway, else 0.",
            rich_help_panel=INPUT,
        ),
    ] = False
    watch_for: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="--watch until no new image has come for so long.",
            rich_help_panel=INPUT,
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Cores used at most; 0 for all.",
            rich_help_panel=NET,
        ),
    ] = 0
    format: Annotated[
        OutputFormat, typer.Option(help="Format of the output.", rich_help_panel=OUTPUT)
    ] = "auto"
    compression: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How chunks are compressed: none, zstd, deflate, ... as the format allows.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    pyramid: Annotated[
        bool,
        typer.Option(
            "--pyramid/--no-pyramid",
            help="Store smaller copies for viewers beside the full resolution.",
            rich_help_panel=OUTPUT,
        ),
    ] = True
    ome_zarr: Annotated[
        OmeZarrVersion,
        typer.Option(help="Version of OME-Zarr; 0.4 for older viewers.", rich_help_panel=OUTPUT),
    ] = "0.5"
    shard_px: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="OME-Zarr 0.5: put chunks into files of N x N pixels, a multiple of 512.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    suffix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            parser=parse_suffix,
            help="Added to the names of outputs in a folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = ""
    shard: Annotated[
        Any,
        typer.Option(
            metavar="I/N",
            parser=parse_shard,
            help="Do the I-th of N shares, all of which write one output; auto: from the job "
            "array (Slurm, PBS, LSF). The last one finishes it.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing output, once the new one is whole.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    save_calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write the measured statistics for --calibration.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write plan, measured peak, times and SHA-256 of the output as JSON.",
            rich_help_panel=REPORTING,
        ),
    ] = None
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Print only the output's path, or of several images how many are done, and "
            "errors.",
            rich_help_panel=REPORTING,
        ),
    ] = False
    log: Annotated[
        LogStyle,
        typer.Option(
            help="json: one JSON object a line on stderr (start, progress, done, error).",
            rich_help_panel=REPORTING,
        ),
    ] = "text"
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Dask cluster: its tcp:// address, or local for worker processes here. "
            "--mem-budget is each worker's. Needs dask-jobqueue and distributed.",
            rich_help_panel=CLUSTER,
        ),
    ] = None
    cluster: Annotated[
        BatchSystem | None,
        typer.Option(
            help="Start Dask workers as jobs of this batch system and run on them.",
            rich_help_panel=CLUSTER,
        ),
    ] = None
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Jobs of --cluster, or workers of --scheduler local.",
            rich_help_panel=CLUSTER,
        ),
    ] = 2

    def __post_init__(self) -> None:
        if self.calibration is not None and self.range is not None:
            raise typer.BadParameter(
                "--calibration holds the range already: leave out one of --calibration and --range"
            )

    @property
    def written(self) -> dict[str, Path]:
        """Option -> path of each file that is written besides the output."""
        found = {"--report": self.report, "--save-calibration": self.save_calibration}
        return {option: path for option, path in found.items() if path is not None}

    @property
    def selection(self) -> Selection | None:
        """The part of the image that was chosen, None for all of it."""
        from unetmm.io.select import Selection

        chosen = Selection(self.channels or (), self.planes or {}, self.rgb_bands)
        return None if chosen == Selection() else chosen

    def to_options(self) -> Options:
        """The library's form of these choices."""
        from unetmm.calibrate.calibration import load_calibration
        from unetmm.io.image import Encoding
        from unetmm.options import Options

        return Options(
            model=self.model,
            budget_bytes=self.mem_budget,
            calibration=load_calibration(self.calibration) if self.calibration else None,
            fixed_range=self.range,
            strength=self.strength,
            format=None if self.format == "auto" else self.format,
            overwrite=self.overwrite,
            workers=self.workers,
            select=self.selection,
            encoding=Encoding(self.compression, self.pyramid, self.ome_zarr, self.shard_px),
            precision=self.precision,
            device=self.device,
            device_budget_bytes=self.device_budget,
        )


def with_choices(command: Callable[..., None], without: Container[str] = ()) -> Callable[..., None]:
    """Give a command whose last parameter is `choices` one option per field of Choices.

    without : fields that it has no option for.
    """
    hints = get_type_hints(command, include_extras=True)
    choice_hints = get_type_hints(Choices, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        p.replace(kind=keyword, annotation=hints[p.name])
        for p in inspect.signature(command).parameters.values()
        if p.name != "choices"
    ]
    shared = [
        inspect.Parameter(f.name, keyword, default=f.default, annotation=choice_hints[f.name])
        for f in fields(Choices)
        if f.name not in without
    ]

    @wraps(command)
    def wrapped(**values: Any) -> None:
        chosen = {p.name: values.pop(p.name) for p in shared}
        command(**values, choices=Choices(**chosen))

    wrapped.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    del wrapped.__wrapped__
    return wrapped
