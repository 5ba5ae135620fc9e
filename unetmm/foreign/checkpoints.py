"""Public checkpoints: the layout is recognised by the tensors' names."""

from __future__ import annotations

import re
from collections.abc import Callable

from unetmm.foreign.builder import Value
from unetmm.foreign.denoisers import dncnn, drunet, unet
from unetmm.foreign.reading import Reading, Tensors
from unetmm.foreign.reasons import ATTENTION, WHOLE
from unetmm.foreign.upscalers import (
    carn,
    compact,
    edsr,
    edsr_of_basicsr,
    espcn,
    fsrcnn,
    msrresnet,
    rrdb,
    span,
)

Layout = tuple[str, Callable[[Tensors], bool], Callable[[Reading], Value]]
"""Name of a layout, whether tensors are of it, and what makes the net of them."""


def _has(*names: str) -> Callable[[Tensors], bool]:
    return lambda tensors: all(name in tensors for name in names)


LAYOUTS: tuple[Layout, ...] = (
    ("CARN", _has("entry.weight", "c1.body.0.weight", "exit.weight"), carn),
    ("SPAN", _has("conv_1.sk.weight", "conv_cat.weight", "upsampler.0.weight"), span),
    ("EDSR", _has("head.0.weight", "body.0.body.0.weight", "tail.1.weight"), edsr),
    ("EDSR", _has("body.0.conv1.weight", "conv_after_body.weight"), edsr_of_basicsr),
    ("MSRResNet", _has("body.0.conv1.weight", "upconv1.weight", "conv_hr.weight"), msrresnet),
    ("FSRCNN", _has("first_part.0.weight", "mid_part.0.weight", "last_part.weight"), fsrcnn),
    ("ESPCN", _has("first_part.0.weight", "first_part.2.weight", "last_part.0.weight"), espcn),
    ("RRDBNet", _has("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight"), rrdb),
    ("DRUNet", _has("m_head.weight", "m_body.0.res.0.weight", "m_tail.weight"), drunet),
    ("U-Net", _has("inc.double_conv.0.weight", "outc.conv.weight"), unet),
    ("SRVGGNetCompact", _has("body.0.weight", "body.1.weight", "body.2.weight"), compact),
    ("DnCNN", _has("model.0.weight", "model.2.weight"), dncnn),
    ("DnCNN", _has("dncnn.0.weight", "dncnn.2.weight"), lambda reading: dncnn(reading, "dncnn")),
)
"""All layouts but NAFNet's, the ones of the clearest names first."""

NOT_STREAMED = (
    ("IMDN", r"IMDB1\.c1\.weight", f"its channel attention: {WHOLE}"),
    (
        "RFDN or RLFN",
        r"(B1|block_1)\.esa\.conv1\.weight",
        "its attention enlarges a map by a factor that depends on the image's size",
    ),
    ("RCAN", r"body\.0\.body\.0\.body\.\d+\.conv_du\.0\.weight", f"its channel attention: {WHOLE}"),
    ("MPRNet", r"shallow_feat1\.\d+\.CA\.conv_du\.0\.weight", f"its channel attention: {WHOLE}"),
    ("a transformer", r".*\.(attn|attention)\..*(qkv|relative_position|temperature).*", ATTENTION),
    ("Noise2Void or another net of Keras", r"model_weights.*", "save it as ONNX"),
)
"""Name of nets that cannot be streamed, pattern of one of their tensors' names, reason."""


def not_streamed(tensors: Tensors) -> str | None:
    """Which net of those that cannot be streamed tensors are of, and why."""
    for name, pattern, reason in NOT_STREAMED:
        if any(re.fullmatch(pattern, tensor) for tensor in tensors):
            return f"it is {name}, which cannot be streamed; {reason}"
    return None
