"""A net described completely by one frozen dataclass. No torch, so planning stays instant."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from unetmm.errors import ShapeError
from unetmm.nets import layers as listed
from unetmm.nets.layers import Layers

BODIES = ("nafnet", "unet", "layers")
"""Kinds of what a net is made of: NAFNet blocks or double 3x3 convolutions, whatever its skips;
or a list of layers."""

MOST_CHANNELS = 4096
"""Largest number of channels of an image, or of a net at full resolution."""
MOST_LEVELS = 8
"""Largest number of levels: at the coarsest a pixel is 256 of the image."""
MOST_BLOCKS = 256
"""Largest number of blocks at one scale."""
MOST_PARAMETERS = 10**9
"""Largest number of weights: 4 GB of them."""

OUTPUT_SCALES = (1, 2, 3, 4)
"""Factors by which a net may enlarge an image."""
PADDINGS = ("mirror", "zeros")
"""Ways in which an image is continued to a multiple of a net's stride, at the bottom and right."""
GIVES = ("image", "map", "classes")
"""Meanings of what a net gives: the image restored; maps of something else, such as opacity or a
probability; or a score for each of several classes."""
FINALS = ("", "sigmoid", "softmax")
"""Functions at the very end of a net: of each value, or of a pixel's channels together."""


@dataclass(frozen=True)
class AggregateConfig:
    """Map E' that replaces the skip-connections of a UNet-- (MSIAM in, IEM out)."""

    channels: int
    """Channels of E'; the default UNet-- keeps twice the net's width."""
    scale: int = 4
    """Side length in image pixels of one pixel of E'; a power of two."""
    enhance_blocks: tuple[int, ...] = ()
    """Body blocks in the IEM of each level, finest first."""
    reads_image: bool = True
    """Whether the finest IEM also sees the input image, which the global residual keeps anyway."""


@dataclass(frozen=True)
class NetConfig:
    """Everything that determines a net's layers and shapes.

    Raises
    ------
    ShapeError
        If counts are not positive, levels do not match, or `aggregate` does not divide into them.
    """

    in_channels: int
    """Channels of the input image: 1 mono, 3 RGB, others bands."""
    out_channels: int
    """Channels of the output image."""
    width: int
    """Channels at full resolution; level n has width * 2**n."""
    encoder_blocks: tuple[int, ...]
    """Blocks of each encoder level, finest first."""
    middle_blocks: int
    """Blocks at the coarsest scale."""
    decoder_blocks: tuple[int, ...]
    """Blocks of each decoder level, coarsest first, as in public NAFNet."""
    aggregate: AggregateConfig | None = None
    """Small map of a UNet-- in place of the skips; None keeps ordinary skips."""
    output_scale: int = 1
    """Output pixels per input pixel and axis: 1 restores, 2, 3 and 4 upscale."""
    body: str = "nafnet"
    """Kind of blocks, a name of BODIES."""
    padding: str = "mirror"
    """Way in which an image is continued, a name of PADDINGS: our nets see it mirrored, those of
    the public NAFNet code see zeros, which darkens the edges a little."""
    layers: Layers = ()
    """Layers of a net with the body "layers", in order, which then has no blocks; else empty."""
    gives: str = "image"
    """Meaning of the output channels, a name of GIVES; only of an image has the output the input's
    values."""
    final: str = ""
    """Function at the very end, a name of FINALS; only of nets that give no image."""

    def __post_init__(self) -> None:
        self._check_numbers()
        if min(self.in_channels, self.out_channels, self.width) < 1:
            raise ShapeError(f"net config: channel counts must be positive, found {self}")
        if min((self.middle_blocks, *self.encoder_blocks, *self.decoder_blocks)) < 0:
            raise ShapeError(f"net config: block counts must not be negative, found {self}")
        if self.output_scale not in OUTPUT_SCALES:
            raise ShapeError(f"net config: output_scale is 1, 2, 3 or 4, found {self.output_scale}")
        choices = {"body": BODIES, "padding": PADDINGS, "gives": GIVES, "final": FINALS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                named = " or ".join(word or "nothing" for word in known)
                raise ShapeError(f"net config: {name} is {named}, found {getattr(self, name)}")
        self._check_meaning()
        if self.body == "layers" or self.layers:
            self._check_layers()
        else:
            self._check_blocks()

    def _check_blocks(self) -> None:
        if not self.encoder_blocks or len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ShapeError(
                f"net config: needs as many decoder as encoder levels and at least one, found "
                f"{self.encoder_blocks} and {self.decoder_blocks}"
            )
        if self.body == "unet" and not all(
            (self.middle_blocks, *self.encoder_blocks, *self.decoder_blocks)
        ):
            raise ShapeError(
                f"net config: a unet needs at least one block everywhere, as they change the "
                f"channels, found {self}"
            )
        if self.aggregate is not None:
            self._check_aggregate(self.aggregate)

    def _check_meaning(self) -> None:
        if self.gives == "classes" and self.out_channels < 2:
            raise ShapeError("net config: classes need a channel for each, found 1; give a map")
        if self.final and self.gives == "image":
            raise ShapeError(f"net config: a {self.final} at the end gives no image, but a map")
        if self.final == "softmax" and self.gives != "classes":
            raise ShapeError("net config: a softmax is of classes, which this net does not give")

    def _check_layers(self) -> None:
        blocks = self.encoder_blocks or self.middle_blocks or self.decoder_blocks
        if self.body != "layers" or blocks or self.aggregate is not None:
            raise ShapeError('net config: a net of layers has the body "layers" and no blocks')
        listed.check_layers(self.layers, self.in_channels, self.answer_channels)

    def _check_numbers(self) -> None:
        """Refuse what is no count, or so large that even adding it up would take minutes."""
        blocks = (*self.encoder_blocks, *self.decoder_blocks, self.middle_blocks)
        counts = [*blocks, self.in_channels, self.out_channels, self.width, self.output_scale]
        if self.aggregate is not None:
            more = self.aggregate.enhance_blocks
            blocks = (*blocks, *more)
            counts += [*more, self.aggregate.channels, self.aggregate.scale]
        if any(type(count) is not int for count in counts):
            raise ShapeError("net config: counts of channels and blocks must be whole numbers")
        if max(len(self.encoder_blocks), len(self.decoder_blocks)) > MOST_LEVELS:
            raise ShapeError(
                f"net config: {MOST_LEVELS} levels are the most, found {len(self.encoder_blocks)}"
            )
        if max(blocks) > MOST_BLOCKS:
            raise ShapeError(
                f"net config: {MOST_BLOCKS} blocks at a scale are the most, found {max(blocks)}"
            )
        widest = max(self.in_channels, self.out_channels, self.width)
        if self.aggregate is not None:
            widest = max(widest, self.aggregate.channels // 16)
        if widest > MOST_CHANNELS:
            raise ShapeError(f"net config: {MOST_CHANNELS} channels are the most, found {widest}")

    def _check_aggregate(self, aggregate: AggregateConfig) -> None:
        scale = aggregate.scale
        if scale < 1 or scale & (scale - 1):
            raise ShapeError(f"net config: the scale of E' must be a power of two, found {scale}")
        if scale > self.stride_px:
            raise ShapeError(
                f"net config: the scale of E' must not exceed the net's stride {self.stride_px}, "
                f"found {scale}"
            )
        if aggregate.channels < 1 or aggregate.channels % scale**2:
            raise ShapeError(
                f"net config: E' at 1/{scale} needs a multiple of {scale**2} channels to reach "
                f"full resolution by pixel-shuffle, found {aggregate.channels}"
            )
        if len(aggregate.enhance_blocks) != self.levels:
            raise ShapeError(
                f"net config: enhance_blocks needs one count for each of {self.levels} levels, "
                f"found {aggregate.enhance_blocks}"
            )

    @property
    def answer_channels(self) -> int:
        """Values that the last convolution gives for a pixel of the input: all of its output's.

        Those of channel c, row dy and column dx lie at (c * scale + dy) * scale + dx, as
        pixel-shuffle takes them (Shi et al. 2016, arXiv 1609.05158, section 2.2).
        """
        return self.out_channels * self.output_scale**2

    @property
    def widest_end(self) -> int:
        """Channels of rows before or behind the stream, whichever are more."""
        return (
            self.in_channels if self.gives == "image" else max(self.in_channels, self.out_channels)
        )

    @property
    def takes_bands(self) -> bool:
        """Whether it takes bands of an image together: neither a single channel nor colours."""
        return self.in_channels not in (1, 3)

    @property
    def adds_image(self) -> bool:
        """Whether a net with blocks adds the image to its answer: if that is an image like it."""
        return self.gives == "image" and self.in_channels == self.out_channels

    @property
    def levels(self) -> int:
        """Number of resolutions that have a skip-connection."""
        return len(self.encoder_blocks)

    @property
    def stride_px(self) -> int:
        """Pixels of which image sizes and strip starts must be multiples."""
        if self.layers:
            return listed.stride_px(self.layers, self.in_channels)
        return 1 << self.levels

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each skip-connection, finest first."""
        return tuple(self.width << level for level in range(self.levels))

    @property
    def level_scales(self) -> tuple[int, ...]:
        """Image pixels per pixel of each skip-connection, finest first."""
        return tuple(1 << level for level in range(self.levels))

    @property
    def skip_floats_per_px(self) -> Fraction:
        """Floats kept for the decoder per image pixel, whole-image forward (UNet--, Table 1)."""
        if self.aggregate is not None:
            return Fraction(self.aggregate.channels, self.aggregate.scale**2)
        return sum(
            (
                Fraction(c, s * s)
                for c, s in zip(self.level_channels, self.level_scales, strict=True)
            ),
            Fraction(0),
        )

    def with_plain_skips(self) -> NetConfig:
        """The net of the same body with ordinary skips."""
        return dataclasses.replace(self, aggregate=None)

    def with_aggregate(self) -> NetConfig:
        """The UNet-- of the same body, with the default E' of width / 8 floats per pixel."""
        if self.aggregate is not None:
            return self
        scale = min(4, self.stride_px)
        aggregate = AggregateConfig(self.width * scale**2 // 8, scale, (1,) * self.levels)
        return dataclasses.replace(self, aggregate=aggregate)

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back.

        Newer fields are left out where they are their defaults: files with them stay what they
        were before there were others.
        """
        fields = dataclasses.asdict(self)
        fields["layers"] = listed.layers_to_json(self.layers)
        newer = {"body": BODIES[0], "padding": PADDINGS[0], "layers": []}
        newer |= {"gives": GIVES[0], "final": FINALS[0]}
        for name, default in newer.items():
            if fields[name] == default:
                del fields[name]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> NetConfig:
        """The config written by `to_json`.

        Raises
        ------
        ShapeError
            If fields are missing, unknown or of the wrong kind.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            aggregate = fields.pop("aggregate", None)
            for name in ("encoder_blocks", "decoder_blocks"):
                fields[name] = tuple(fields[name])
            fields["layers"] = listed.layers_from_json(fields.get("layers", []))
            if aggregate is not None:
                aggregate["enhance_blocks"] = tuple(aggregate["enhance_blocks"])
                aggregate = AggregateConfig(**aggregate)
            return cls(**fields, aggregate=aggregate)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ShapeError(f"net config cannot be read: {error}") from error
        except RecursionError:
            raise ShapeError("net config cannot be read: it is nested too deeply") from None


def layers_config(
    layers: Layers,
    in_channels: int,
    out_channels: int,
    output_scale: int = 1,
    padding: str = "mirror",
) -> NetConfig:
    """A net that is a list of layers; its width is that of its widest map at the image's size.

    Raises
    ------
    ShapeError
        If they are no such net.
    """
    shapes = listed.map_shapes(layers, in_channels)
    width = max((s.channels for s in shapes.values() if s.scale == 1), default=1)
    return NetConfig(
        in_channels, out_channels, min(width, MOST_CHANNELS), (), 0, (),
        output_scale=output_scale, body="layers", padding=padding, layers=layers,
    )  # fmt: skip


def tiny_config(channels: int) -> NetConfig:
    """The laptop net: 16 channels at full resolution, about 25 kMAC per pixel."""
    return NetConfig(
        in_channels=channels,
        out_channels=channels,
        width=16,
        encoder_blocks=(1, 1, 1, 2),
        middle_blocks=2,
        decoder_blocks=(1, 1, 1, 1),
        aggregate=AggregateConfig(channels=32, scale=4, enhance_blocks=(0, 1, 1, 1)),
    )


def nafnet32_config(channels: int = 3) -> NetConfig:
    """The public NAFNet-width32 layout for SIDD (arXiv 2204.04676, section 5)."""
    return NetConfig(channels, channels, 32, (2, 2, 4, 8), 12, (2, 2, 2, 2))
