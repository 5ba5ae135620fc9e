"""The untiled forward of the reference net on a device, as everybody runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from gpu_subject import Subject, begin, seconds
from torch import Tensor

from unetmm.benchmark.setting import load_subject
from unetmm.engine.torch.folded import DTYPES
from unetmm.nets.blocks import NAFBlock

if TYPE_CHECKING:
    from unetmm.nets.body import EncoderDecoder

Figures = dict[str, Any]
LEAST_PX = 512
"""Side of the smallest image that is tried."""
PLAIN_STEP = 0.75
"""Side of the next smaller image where a plain forward does not fit."""


def plain(subject: Subject) -> Figures:
    """The untiled forward of the reference net, in either memory layout, image on the device."""
    net = frozen_net(subject)
    found: Figures = {}
    for label, layout in (
        ("nchw", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        net = net.to(memory_format=layout)  # type: ignore[call-overload]
        found |= {f"plain_{label}_{k}": v for k, v in largest(net, subject, layout).items()}
    return found


def frozen_net(subject: Subject) -> EncoderDecoder:
    """Reference net with the image's channel factors."""
    dtype, device = DTYPES[subject.precision], subject.engine.device
    net = load_subject(subject.name).net.to(device, dtype)
    factors = subject.calibration.entry(0, 0).attention
    for name, module in net.named_modules():
        if isinstance(module, NAFBlock):
            module.sca.frozen = torch.from_numpy(factors[name]).to(device, dtype)
    return net


def largest(net: EncoderDecoder, subject: Subject, layout: torch.memory_format) -> Figures:
    """Speed and peak for the largest image up to the subject's that it can take."""
    side, refused = subject.size_px, ""
    while True:
        try:
            return {"side_px": side, "refused": refused, **forward(net, side, subject, layout)}
        except RuntimeError as error:  # too little memory, or too many numbers for an operation
            refused = refused or f"{side} px: {str(error).partition(chr(10))[0]}"
            side = int(side * PLAIN_STEP) // 64 * 64
            if side < LEAST_PX:
                raise


def forward(
    net: EncoderDecoder, side: int, subject: Subject, layout: torch.memory_format
) -> Figures:
    engine, dtype = subject.engine, DTYPES[subject.precision]
    begin(engine)
    image = torch.rand((1, 3, side, side), device=engine.device).to(dtype)
    image = image.contiguous(memory_format=layout)

    def work() -> Tensor:
        made: Tensor = net(image)
        return made

    with torch.no_grad(), quickest():
        work()  # cuDNN tries its ways, some of which take more memory than the one it chooses
        begin(engine)
        taken_s = seconds(work, engine, subject.repeats)
    figures: Figures = {"mpx_per_s": side**2 / taken_s / 1e6}
    if engine.gpu is not None:
        figures["peak_bytes"] = torch.cuda.max_memory_reserved(engine.gpu)
    return figures


@contextmanager
def quickest() -> Iterator[None]:
    """cuDNN with its choice of the fastest, but without TF32, which the stream does not use."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield
