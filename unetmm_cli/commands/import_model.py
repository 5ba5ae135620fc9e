"""`unetmm import`: a net of another project as a model of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetmm.errors import WeightsError
from unetmm_cli import display
from unetmm_cli.files import check_new_file
from unetmm_cli.options.arguments import AsJson
from unetmm_cli.parsing import parse_numbers, parse_range

if TYPE_CHECKING:
    from unetmm.foreign.importing import Imported


File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A checkpoint (.pth, .safetensors) or an ONNX graph.")
]
Written = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="Weight file to write: .safetensors."),
]
Noise = Annotated[
    float | None,
    typer.Option(
        metavar="SIGMA",
        min=0,
        max=255,
        help="Strength of the noise in counts of 255, for nets that have to be told (FFDNet, "
        "DRUNet).",
    ),
]
Scale = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=4, help="Factor, for files that enlarge by several."),
]
Task = Annotated[
    str | None, typer.Option(metavar="TASK", help="What it is for: denoise, deblur or upscale.")
]
Gives = Annotated[
    str | None,
    typer.Option(
        metavar="image|map|classes",
        help="What its output is: the image restored, maps of something else (opacity, a "
        "probability), or scores of classes. By default as its channels and its end tell.",
    ),
]
Final = Annotated[
    str | None,
    typer.Option(
        metavar="none|sigmoid|softmax",
        help="What comes behind maps or classes. By default what the file has at its end, and what "
        "the code of its layout puts there; none is right for heights and other free values.",
    ),
]
Names = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Names of the maps or classes, in their order."),
]
NetRange = Annotated[
    Any,
    typer.Option(
        "--net-range",
        metavar="BLACK,WHITE",
        parser=parse_range,
        help="Values that the net takes for black and white, where they are not 0 and 1: 0,255 or "
        "-1,1. Of nets of bands, maps or classes others, as 0,10000, are the stored values that it "
        "was trained on, and a run shows it those of any image.",
    ),
]
Mean = Annotated[
    Any,
    typer.Option(
        metavar="A,B,...",
        parser=parse_numbers,
        help="What the net's own code takes off each channel before the net, which is done here "
        "then: a number for each, or one for all. They are of values within --net-range.",
    ),
]
Std = Annotated[
    Any,
    typer.Option(
        metavar="A,B,...",
        parser=parse_numbers,
        help="What it divides each channel by after that, alike.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the weight file if it is there.")
]


def import_model(
    file: File,
    output: Written,
    noise: Noise = None,
    scale: Scale = None,
    task: Task = None,
    gives: Gives = None,
    final: Final = None,
    names: Names = None,
    net_range: NetRange = None,
    mean: Mean = None,
    std: Std = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a net of another project, so that it restores images of any size within a budget.

    Known are checkpoints of NAFNet, DnCNN, FFDNet, IRCNN, DRUNet, CARN, SPAN, EDSR, MSRResNet,
    FSRCNN, ESPCN, ESRGAN and Real-ESRGAN, and U-Nets; and any ONNX graph whose layers can be
    streamed. Others are refused with the layer's name and the reason.

    Example: unetmm import ffdnet_color.pth --noise 25 -o ffdnet.safetensors
    """
    from unetmm.foreign.importing import import_model as read_net
    from unetmm.foreign.ranged import USUAL
    from unetmm.models.weights import save_model

    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file")
    check_new_file(output, ".safetensors", overwrite, file)
    named = tuple(name.strip() for name in names.split(",")) if names else ()
    found = read_net(
        file, noise=noise, scale=scale, task=task, gives=gives, final=final, names=named,
        net_range=net_range or USUAL, mean=mean or (), std=std or (),
    )  # fmt: skip
    model = found.model
    save_model(output, model.config, model.tensors, model.card)
    if as_json:
        display.result_json(_facts(found, output))
        return
    display.result(f"{output}: {_in_words(found)}")
    for line in (*found.lines, checked(found.difference, "the file")):
        display.result(f"  {line}")
    display.result(f"use it: unetmm {model.task} IMAGE --model {output}")


def _in_words(found: Imported) -> str:
    """What was imported, and for what."""
    from unetmm.models.answers import answer_of
    from unetmm.nets.shapes import macs_per_px

    model, config = found.model, found.model.config
    enlarges = f", enlarges {config.output_scale} times" * (config.output_scale > 1)
    colours = "colour" if config.in_channels == 3 else "single channels"
    if config.takes_bands:
        colours = f"{config.in_channels} bands together"
    meant = answer_of(model, scores=config.gives == "classes")
    does = f"to {model.task}" if meant is None else f"that gives {meant.in_words}"
    return (
        f"{found.layout} {does}{enlarges}, {colours}, {model.parameters} weights, "
        f"{macs_per_px(config) / 1000:.3g} kMAC/px"
    )


def _facts(found: Imported, output: Path) -> dict[str, Any]:
    """What --json says."""
    from unetmm_cli.display.models import model_as_dict

    return {
        **model_as_dict(found.model),
        "written": str(output),
        "layout": found.layout,
        "notes": list(found.lines),
        "difference": found.difference,
    }


def checked(difference: float | None, what: str) -> str:
    """Line on how far an answer is from that of another runtime."""
    if difference is None:
        return f"not checked: {what} was not run by other software"
    return f"checked: {what} in onnxruntime gives the same within {difference:.1g} of the range"
