"""A file of another project becomes a model of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import has
from unetmm.foreign.checkpoints import LAYOUTS, not_streamed
from unetmm.foreign.comparing import NotRunError, difference_from
from unetmm.foreign.found import ForeignNet
from unetmm.foreign.meaning import meaning_of
from unetmm.foreign.ranged import USUAL, Normal, in_range, stored_range
from unetmm.foreign.reading import Reading, Used, joined_norms
from unetmm.models.checkpoints import infer_config, read_checkpoint
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig

Array = NDArray[np.float32]
TASKS = ("denoise", "deblur", "upscale")
"""Tasks that a foreign net can be for."""
_OLD_NAMES = {
    "RRDB_trunk.": "body.", ".RDB": ".rdb", "trunk_conv.": "conv_body.", "upconv": "conv_up",
    "HRconv.": "conv_hr.", "recon_trunk.": "body.",
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A foreign net as a model of ours, and what became of its parts."""

    model: Model
    layout: str
    """Name of what was recognised: a layout of checkpoints, or ONNX."""
    lines: tuple[str, ...]
    """Lines on what was recognised, folded, frozen or assumed."""
    difference: float | None
    """Largest difference between the file in onnxruntime and our stream, as a share of the
    answer's range; None where it was not run."""


def import_model(
    path: Path,
    *,
    noise: float | None = None,
    scale: int | None = None,
    task: str | None = None,
    gives: str | None = None,
    final: str | None = None,
    names: Sequence[str] = (),
    net_range: tuple[float, float] = USUAL,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Imported:
    """Read a checkpoint (.pth, .safetensors) or an ONNX graph whose layers can be streamed.

    Parameters
    ----------
    noise : level of noise that nets which are told one are to be told, in counts of 255.
    scale : factor of enlargement, for files that hold several.
    task : what the net is for; None: enlarging ones for "upscale", all others for "denoise".
    gives : "image", "map" or "classes"; None: as its channels and its end tell.
    final : "sigmoid", "softmax" or "none" behind maps or classes; None: as its layout is known to.
    names : of the maps or classes, in their order.
    net_range : values of black and white that it was trained with, or stored ones of its bands.
    mean, std : what its code takes off each channel, and divides it by, a number or one for each.

    Raises
    ------
    WeightsError
        If the file is damaged, its layout is not known, or a layer cannot be streamed; the message
        names the layer and says why.
    """
    if task is not None and task not in TASKS:
        raise WeightsError(f"task is one of {', '.join(TASKS)}, found {task}")
    found = _read(path, noise, scale)
    end = found.config.final
    meant, said = meaning_of(path, found, gives if task is None else gives or "image", final)
    found = replace(found, config=meant)
    found = in_range(path, found, *net_range, Normal(tuple(mean), tuple(std)))
    config, lines = found.config, [*found.lines, *said]
    if noise is not None and not any(line.startswith("frozen: noise") for line in lines):
        lines.append("left out: --noise, as this net is not told how strong the noise is")
    own = stored_range(config, *net_range)
    card = _card(path, found, _task(path, config, task), lines, names, own)
    model = Model(path.stem, config, card, None, found.tensors)
    if found.is_half:
        lines.append("assumed: 32 bits do for what the graph computes with 16")
    as_in_file = replace(model, config=replace(config, final=end))
    difference, unchecked = _checked(path, as_in_file, found)
    return Imported(model, found.layout, (*lines, *unchecked), difference)


def _card(
    path: Path,
    found: ForeignNet,
    task: str,
    lines: list[str],
    names: Sequence[str],
    own: tuple[float, float] | None,
) -> dict[str, Any]:
    """The card of an imported net; own : stored values that it was made for."""
    card: dict[str, Any] = {
        "task": task,
        "source": path.name,
        "imported": {"layout": found.layout, "notes": lines},
        "what": f"{found.layout} of another project, imported",
        "licence": "that of its authors; not known to unetmm",
    }
    if names:
        card["output_names"] = _checked_names(path, found.config, names)
    if own is not None:
        card["stored_range"] = list(own)
        lines.append(
            f"set: of any image it sees the stored values {own[0]:g} to {own[1]:g}; --range of a "
            "run gives others"
        )
    return card


def _read(path: Path, noise: float | None, scale: int | None) -> ForeignNet:
    """The net of a checkpoint or of a graph."""
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    if path.suffix.lower() == ".onnx":
        from unetmm.foreign.onnx_graph import read_onnx

        found = read_onnx(path)
    else:
        found = _from_checkpoint(path, noise, scale)
    factor = found.config.output_scale
    if scale not in (None, factor):
        raise WeightsError(f"{path}: it enlarges {factor} times, not {scale} times")
    return found


def _checked(path: Path, model: Model, found: ForeignNet) -> tuple[float | None, list[str]]:
    """Difference from the graph in onnxruntime, if it can be run, and lines if it cannot."""
    if found.size_px is None:
        return None, []
    if found.end == "argmax":
        return None, ["left out: argmax at the end, which is done when labels are written"]
    if not has("onnxruntime"):
        return None, []
    try:
        return difference_from(path, model, found), []
    except NotRunError as error:
        return None, [f"not checked: {str(error).removeprefix(f'{path}: ')}"]


def _task(path: Path, config: NetConfig, asked: str | None) -> str:
    """What a net is for, unless it cannot be."""
    if config.gives != "image":
        if asked is not None:
            what = "maps" if config.gives == "map" else config.gives
            raise WeightsError(f"{path}: it gives {what}, and so cannot {asked} an image")
        return "apply"
    task = asked or ("upscale" if config.output_scale > 1 else "denoise")
    if (config.output_scale > 1) != (task == "upscale"):
        raise WeightsError(
            f"{path}: a net that enlarges {config.output_scale} times is not one to {task}"
        )
    return task


def _checked_names(path: Path, config: NetConfig, names: Sequence[str]) -> list[str]:
    """Names of what a net gives, if there are as many."""
    if config.gives == "image" or len(names) != config.out_channels:
        found = "an image" if config.gives == "image" else f"{config.out_channels} channels"
        raise WeightsError(f"{path}: {len(names)} names for a net that gives {found}")
    return list(names)


def _from_checkpoint(path: Path, noise: float | None, scale: int | None) -> ForeignNet:
    tensors = _renamed(_tensors_of(path))
    for name, fits, make in LAYOUTS:
        if fits(tensors):
            used = Used(tensors)
            reading = Reading(used, noise, scale)
            try:
                value = make(reading)
                if left := used.left():
                    raise WeightsError(
                        f"{len(left)} tensors have no place in it, among them {', '.join(left[:3])}"
                    )
                config, made = reading.builder.finish(value)
            except (WeightsError, ShapeError) as error:
                raise WeightsError(f"{path}: recognised as {name}, but {error}") from error
            except (KeyError, IndexError, ValueError) as error:
                raise WeightsError(
                    f"{path}: recognised as {name} by some tensors, but others are missing or have "
                    f"other shapes ({error})"
                ) from error
            return ForeignNet(reading.layout or name, config, made, tuple(reading.found))
    if "intro.weight" in tensors and "ending.weight" in tensors:
        config = infer_config({k: v.shape for k, v in tensors.items()}, str(path))
        lines = (
            f"recognised: NAFNet of width {config.width}, continued by zeros as its code does",
            "frozen: channel attention, by the averages of each whole image; the local averages "
            "of the code for GoPro and REDS (TLC) are not done",
        )
        return ForeignNet("NAFNet", config, tensors, lines)
    if reason := not_streamed(tensors):
        raise WeightsError(f"{path}: {reason}")
    known = ", ".join(dict.fromkeys(["NAFNet", *(name for name, _, _ in LAYOUTS)]))
    raise WeightsError(
        f"{path}: a layout that is not known (its tensors begin with "
        f"{', '.join(sorted(tensors)[:3])}); known are {known}. Save the net as ONNX, which needs "
        "no layout: torch.onnx.export(net, image, 'net.onnx')"
    )


def _tensors_of(path: Path) -> dict[str, Array]:
    if path.suffix.lower() not in (".safetensors", ".pth", ".pt", ".ckpt"):
        raise WeightsError(f"{path}: .pth, .pt, .ckpt, .safetensors and .onnx are read")
    if path.suffix.lower() != ".safetensors":
        tensors = read_checkpoint(path)
    else:
        tensors = _of_safetensors(path)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{path}: weights of {name} are NaN or infinite")
    return tensors


def _of_safetensors(path: Path) -> dict[str, Array]:
    import safetensors
    from safetensors import SafetensorError, safe_open

    deserialize: Any = safetensors.deserialize
    try:
        with safe_open(path, "np") as file:
            if "unetmm.config" in (file.metadata() or {}):
                raise WeightsError(f"{path}: a model of unetmm already; give it as --model")
        return {name: _floats(entry) for name, entry in deserialize(path.read_bytes())}
    except KeyError as error:
        raise WeightsError(f"{path}: it holds {error}, floats are read; save it as F32") from error
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged weight file ({error})") from error


def _floats(entry: Mapping[str, Any]) -> Array:
    """A tensor of safetensors; numpy has no bfloat16, which is the upper half of a float."""
    kinds = {
        "F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
        "BOOL": "?",
    }  # fmt: skip
    values = np.frombuffer(entry["data"], kinds[entry["dtype"]])
    if entry["dtype"] == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.astype(np.float32).reshape(entry["shape"])


def _renamed(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors by the names of today's code, without prefixes that all of them have."""
    tensors = joined_norms(tensors)
    for prefix in ("net_g.", "generator.", "net.", "network."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    first = {name.partition(".")[0] for name in tensors}
    if len(first) == 1 and not any(fits(tensors) for _, fits, _ in LAYOUTS):
        tensors = {name.partition(".")[2] or name: tensor for name, tensor in tensors.items()}
    if not any(name.startswith(("RRDB_trunk.", "recon_trunk.")) for name in tensors):
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _OLD_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed
