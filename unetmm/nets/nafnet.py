"""NAFNet, with ordinary skips or as UNet--, and the net of any config."""

from __future__ import annotations

from torch import nn

from unetmm.nets.blocks import body_blocks
from unetmm.nets.body import EncoderDecoder
from unetmm.nets.config import NetConfig
from unetmm.nets.stack import LayersNet
from unetmm.nets.unet import UNet


class NAFNet(EncoderDecoder):
    """NAFNet (arXiv 2204.04676); parameter names and shapes equal the public checkpoints'."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        c = config.width
        self.intro = nn.Conv2d(config.in_channels, c, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for count in config.encoder_blocks:
            self.encoders.append(body_blocks(c, count))
            self.downs.append(nn.Conv2d(c, 2 * c, 2, stride=2))
            c *= 2
        self.middle_blks = body_blocks(c, config.middle_blocks)
        for count in config.decoder_blocks:
            self.ups.append(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)))
            c //= 2
            self.decoders.append(body_blocks(c, count))
        self.ending = nn.Conv2d(c, config.answer_channels, 3, padding=1)
        self.replace_skips(body_blocks)


ReferenceNet = EncoderDecoder | LayersNet


def build_net(config: NetConfig) -> ReferenceNet:
    """The reference net that `config` describes, with fresh weights."""
    if config.layers:
        return LayersNet(config)
    return UNet(config) if config.body == "unet" else NAFNet(config)
