"""Shapes and costs of a net from its config alone: strict loading and planning without torch."""

from __future__ import annotations

from unetmm.nets.config import NetConfig
from unetmm.nets.layers import layer_tensors, layers_macs_per_px

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(config: NetConfig) -> Shapes:
    """Every tensor of the net's state, name -> shape, as in public NAFNet checkpoints."""
    if config.layers:
        return layer_tensors(config.layers, config.in_channels)
    shapes: Shapes = {}
    if config.body == "unet":
        _unet(shapes, config)
    else:
        _nafnet(shapes, config)
    if config.aggregate is not None:
        _aggregate(shapes, config)
    return shapes


def parameter_count(config: NetConfig) -> int:
    """Trained numbers of the net."""
    total = 0
    for shape in tensor_shapes(config).values():
        size = 1
        for length in shape:
            size *= length
        total += size
    return total


def macs_per_px(config: NetConfig) -> int:
    """Multiply-adds per image pixel of a whole-image forward, channel attention apart."""
    if config.layers:
        return layers_macs_per_px(config.layers, config.in_channels)
    quarter_pixels = {f"encoders.{n}": n for n in range(config.levels)}
    quarter_pixels |= {f"downs.{n}": n + 1 for n in range(config.levels)}
    quarter_pixels |= {f"ups.{n}": config.levels - n for n in range(config.levels)}
    quarter_pixels |= {f"decoders.{n}": config.levels - 1 - n for n in range(config.levels)}
    quarter_pixels |= {f"iems.{n}": n for n in range(config.levels)}
    quarter_pixels |= {f"msiam.reducers.{n}": n for n in range(config.levels)}
    quarter_pixels["middle_blks"] = config.levels
    if config.aggregate is not None:
        quarter_pixels["msiam.fusion"] = config.aggregate.scale.bit_length() - 1
    total = 0.0
    for name, shape in tensor_shapes(config).items():
        if len(shape) != 4 or name.endswith(("beta", "gamma")) or ".sca." in name:
            continue
        level = max((n for p, n in quarter_pixels.items() if name.startswith(f"{p}.")), default=0)
        total += shape[0] * shape[1] * shape[2] * shape[3] / 4**level
    return round(total)


def _nafnet(shapes: Shapes, config: NetConfig) -> None:
    c = config.width
    _conv(shapes, "intro", c, config.in_channels, 3)
    for level, count in enumerate(config.encoder_blocks):
        _blocks(shapes, f"encoders.{level}", c, count)
        _conv(shapes, f"downs.{level}", 2 * c, c, 2)
        c *= 2
    _blocks(shapes, "middle_blks", c, config.middle_blocks)
    for level, count in enumerate(config.decoder_blocks):
        shapes[f"ups.{level}.0.weight"] = (2 * c, c, 1, 1)
        c //= 2
        _blocks(shapes, f"decoders.{level}", c, count)
    _conv(shapes, "ending", config.answer_channels, c, 3)


def _unet(shapes: Shapes, config: NetConfig) -> None:
    below, c = config.in_channels, config.width
    for level, count in enumerate(config.encoder_blocks):
        _double_convs(shapes, f"encoders.{level}", c, below, count)
        below, c = c, 2 * c
    _double_convs(shapes, "middle_blks", c, below, config.middle_blocks)
    for level, count in enumerate(config.decoder_blocks):
        shapes[f"ups.{level}.weight"] = (c, c // 2, 2, 2)
        shapes[f"ups.{level}.bias"] = (c // 2,)
        _double_convs(shapes, f"decoders.{level}", c // 2, c, count)
        c //= 2
    _conv(shapes, "ending", config.answer_channels, c, 3)


def _conv(shapes: Shapes, name: str, n: int, c: int, size: int) -> None:
    shapes[f"{name}.weight"] = (n, c, size, size)
    shapes[f"{name}.bias"] = (n,)


def _blocks(shapes: Shapes, name: str, c: int, count: int) -> None:
    for i in range(count):
        block = f"{name}.{i}"
        for norm in ("norm1", "norm2"):
            shapes[f"{block}.{norm}.weight"] = shapes[f"{block}.{norm}.bias"] = (c,)
        shapes[f"{block}.beta"] = shapes[f"{block}.gamma"] = (1, c, 1, 1)
        _conv(shapes, f"{block}.conv1", 2 * c, c, 1)
        _conv(shapes, f"{block}.conv2", 2 * c, 1, 3)
        _conv(shapes, f"{block}.sca.1", c, c, 1)
        _conv(shapes, f"{block}.conv3", c, c, 1)
        _conv(shapes, f"{block}.conv4", 2 * c, c, 1)
        _conv(shapes, f"{block}.conv5", c, c, 1)


def _double_convs(shapes: Shapes, name: str, n: int, c: int, count: int) -> None:
    for i in range(count):
        _conv(shapes, f"{name}.{i}.conv1", n, n if i else c, 3)
        _conv(shapes, f"{name}.{i}.conv2", n, n, 3)


def _aggregate(shapes: Shapes, config: NetConfig) -> None:
    assert config.aggregate is not None
    aggregate = config.aggregate
    for level, (c, scale) in enumerate(
        zip(config.level_channels, config.level_scales, strict=True)
    ):
        resized = aggregate.channels * scale**2 // aggregate.scale**2
        _conv(shapes, f"msiam.reducers.{level}", resized, c, 1)
        image = config.in_channels if level == 0 and aggregate.reads_image else 0
        _conv(shapes, f"iems.{level}.expansion", c, resized + image, 3 if image else 1)
        enhance, count = f"iems.{level}.enhance", aggregate.enhance_blocks[level]
        if config.body == "unet":
            _double_convs(shapes, enhance, c, c, count)
        else:
            _blocks(shapes, enhance, c, count)
    _conv(shapes, "msiam.fusion", aggregate.channels, aggregate.channels * config.levels, 1)
