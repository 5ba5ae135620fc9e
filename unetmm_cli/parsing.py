"""Text of the command line -> values; what is wrong with it is a usage error."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from unetmm.engine.torch.described import CARDS
from unetmm.errors import ShapeError
from unetmm.sizes import parse_size

if TYPE_CHECKING:
    from unetmm.io.image import Box
    from unetmm.io.places import Place
    from unetmm.plan.share import Share


ALL_SERIES = "all"
"""Word of --series for every image of a file."""


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
    """auto, cpu, torch, cuda, cuda:N, cuda:N,M or a GPU to plan for; a usage error otherwise."""
    if text not in CARDS and not re.fullmatch(r"auto|cpu|torch|cuda(:\d{1,3}(,\d{1,3})*)?", text):
        raise typer.BadParameter(
            f'"{text}" is not auto, cpu, torch, cuda, cuda:N or cuda:N,M; write cuda:0'
        )
    several = split_devices(text)
    if len(set(several)) < len(several):
        raise typer.BadParameter(f'"{text}" names a GPU twice; write each once')
    return text


def split_devices(text: str) -> tuple[str, ...]:
    """cuda:0,2 -> cuda:0 and cuda:2; nothing of a choice that names one device."""
    numbers = text.removeprefix("cuda:").split(",")
    return tuple(f"cuda:{int(number)}" for number in numbers) if len(numbers) > 1 else ()


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


def parse_numbers(text: str) -> tuple[float, ...]:
    """Numbers of a list; a usage error otherwise."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f'"{text}" lists no numbers; write 0.485,0.456,0.406') from None
    return numbers


def parse_series(text: str | int) -> int | str:
    """A number from 0, or "all"; a usage error otherwise."""
    if str(text).isdecimal():
        return int(text)
    if text != ALL_SERIES:
        raise typer.BadParameter(f'"{text}" is neither a number from 0 nor all; write 1')
    return ALL_SERIES


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


def parse_crop(text: str | Box) -> Box:
    """A part of a plane of "left,top,width,height"; a usage error otherwise."""
    from unetmm.io.image import Box

    if isinstance(text, Box):
        return text
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        if width < 1 or height < 1:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f'"{text}" is not left,top,width,height in pixels; write 2000,1500,300,200'
        ) from None
    return Box(y, x, y + height, x + width)


def parse_place(text: str | Place) -> Place:
    """A path or an URL."""
    from unetmm.io.places import to_place

    return to_place(text)


def _selection_parser(kind: str) -> Callable[[str], Any]:
    """A parser of channels, planes, bands or axes; what the library refuses is a usage error."""

    def parsed(text: str) -> Any:
        from unetmm.io import select_words

        try:
            return getattr(select_words, f"parse_{kind}")(text)
        except ShapeError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


parse_channels = _selection_parser("channels")
parse_planes = _selection_parser("planes")
parse_bands = _selection_parser("bands")
parse_rgb_bands = _selection_parser("rgb_bands")
parse_axes = _selection_parser("axes")


def parse_nodata(text: str) -> tuple[float, ...]:
    """Values for "no data"; a usage error if they are no numbers."""
    from unetmm.intensities import validity

    try:
        return validity.parse_nodata(text)
    except ShapeError as error:
        raise typer.BadParameter(str(error)) from error


_ARRAY_NUMBERS = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX")
"""Variables in which batch systems give a task its number in its job array."""


def parse_share(text: str) -> Share:
    """Share "i/n" of a run, i from 1; "auto" takes it from the batch system's job array."""
    from unetmm.plan.share import Share

    try:
        index, count = _array_task() if text == "auto" else (int(n) for n in text.split("/"))
        if not 1 <= index <= count:
            raise ValueError
    except (ValueError, KeyError):
        if text == "auto" and "PBS_ARRAY_INDEX" in os.environ:
            raise typer.BadParameter(
                "PBS does not tell how many tasks an array has, counted from 1: set UNETMM_SHARES "
                "to that, or give --share $PBS_ARRAY_INDEX/8"
            ) from None
        if text == "auto" and not any(name in os.environ for name in _ARRAY_NUMBERS):
            raise typer.BadParameter(
                "auto takes the share from a job array, and there is none here: none of "
                f"{', '.join(_ARRAY_NUMBERS)} is set; write 3/8"
            ) from None
        raise typer.BadParameter(
            f'"{text}" is not i/n with 1 <= i <= n, or auto within a job array; write 3/8'
        ) from None
    return Share(index - 1, count)


def _array_task() -> tuple[int, int]:
    """(index from 1, count) of this task of a Slurm, PBS or LSF job array."""
    env = os.environ
    told = env.get("UNETMM_SHARES") or env.get("UNETMM_SHARDS")  # as older scripts call it
    if "SLURM_ARRAY_TASK_ID" in env:
        first = int(env.get("SLURM_ARRAY_TASK_MIN", "1"))
        step = int(env.get("SLURM_ARRAY_TASK_STEP", "1"))
        # A part of an array that is submitted again still belongs to the whole one.
        count = int(told or env["SLURM_ARRAY_TASK_COUNT"])
        first = 1 if told else first
        return (int(env["SLURM_ARRAY_TASK_ID"]) - first) // step + 1, count
    index = env.get("PBS_ARRAY_INDEX") or env["LSB_JOBINDEX"]
    return int(index), int(told or env["LSB_JOBINDEX_END"])
