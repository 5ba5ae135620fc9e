"""The stages of a stream whose blocks are fused kernels; needs Triton."""

from __future__ import annotations

from torch import Tensor

from unetmm.engine.layout import Block, Ending, Product
from unetmm.engine.torch.folded import BlockWeights
from unetmm.engine.torch.footprint import is_fused
from unetmm.engine.torch.kernels.launch import (
    convolve,
    depthwise_band,
    gated_depthwise,
    on_device,
    pointwise,
    product,
)
from unetmm.engine.torch.kernels.tiles import Fusing, Tile
from unetmm.engine.torch.stages import Around, Map, Stages, flat


class FusedStages(Stages):
    """As `Stages`, with one or two kernels a block, or one an operation where maps are wide."""

    def _blocked(self, stage: Block, x: Map, new: int) -> None:
        w, third = self.net.blocks[stage.name], self.frozen[stage.name]
        fusing, kept = self.net.fusing, self.kept[stage.name]
        assert fusing is not None, "these stages are of a net with fused kernels"
        tiles = fusing.halves(stage.channels)
        with on_device(x.data):
            if tiles is None:
                self._by_operation(w, third, kept, x, new)
            else:
                self._by_half(w, third, kept, x, new, fusing, tiles)

    def _multiplied(
        self, stage: Product, taken: Tensor, out: Tensor, around: Around | None
    ) -> None:
        if not is_fused(stage):
            super()._multiplied(stage, taken, out, around)
            return
        weights = self.net.products[stage.name]
        with on_device(out):
            convolve(
                taken, weights.matrix, weights.bias, out, self.net.dtype, stage.taps,
                stage.step, stage.pad, stage.repeat, out if stage.accumulate else None,
                rectify=stage.rectify,
            )  # fmt: skip

    def _ended(self, stage: Ending, taken: Tensor, image: Tensor | None, out: Tensor) -> None:
        if not is_fused(stage):
            super()._ended(stage, taken, image, out)
            return
        weights = self.net.products["ending"]
        share = 1 if image is None else len(out) // len(image)  # several, where the net enlarges
        with on_device(out):
            convolve(
                taken, weights.matrix, weights.bias, out, self.net.dtype, taps=3, pad=1,
                base=image, share=share,
            )  # fmt: skip

    def _by_half(
        self, w: BlockWeights, third: Tensor, kept: Tensor, x: Map, new: int,
        fusing: Fusing, tiles: tuple[Tile, Tile],
    ) -> None:  # fmt: skip
        """The band's rows before and after; the two rows above are kept as they were."""
        c, band, width = len(x.data), x.band, x.data.shape[2]
        taken, out = x.rows(new, band), x.rows(new - 1, band)
        cut = fusing.cut(tiles[0], c, band, width)
        middle = self.arena.take((c, band, width))
        scratch = self.arena.take((cut.scratch,))
        weights = w.first, w.first_bias, w.depthwise, w.depthwise_bias, third, w.third_bias
        depthwise_band(taken, kept, middle, scratch, weights, new - 2, x.height, tiles[0], cut)
        if band == 1:
            kept[:, 0].copy_(kept[:, 1])
            kept[:, 1].copy_(taken[:, 0])
        else:
            kept.copy_(taken[:, band - 2 :])
        last = w.fourth, w.fourth_bias, w.fifth, w.fifth_bias
        pointwise(flat(middle), flat(out), last, tiles[1], fusing.programs(tiles[1]))

    def _by_operation(self, w: BlockWeights, third: Tensor, kept: Tensor, x: Map, new: int) -> None:
        """As torch's operations do it, but normalisation, gates and residuals with the products."""
        c, band, width = len(x.data), x.band, x.data.shape[2]
        taken, out = flat(x.rows(new, band)), flat(x.rows(new - 1, band))
        gated = self.arena.take((c, band, width))
        hidden = self.arena.take((2 * c, band + 2, width))
        hidden[:, :2].copy_(kept)
        rows = new, x.height, width
        product(w.first, w.first_bias, taken, flat(hidden[:, 2:]), norm=True, rows=rows)
        kept.copy_(hidden[:, band:])
        gated_depthwise(hidden, w.depthwise, w.depthwise_bias, gated)
        product(third, w.third_bias, flat(gated), out, base=out)
        product(w.fourth, w.fourth_bias, out, flat(gated), norm=True, gate=True)
        product(w.fifth, w.fifth_bias, flat(gated), out, base=out)
