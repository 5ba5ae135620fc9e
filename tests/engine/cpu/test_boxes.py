"""Boxes of many sizes in the memory of the largest."""

from __future__ import annotations

import numpy as np
from helpers import SMALL_UNETMM, compiled

from unetmm.engine.cpu.boxes import BoxNet
from unetmm.engine.cpu.stream import ObservingStream


def test_a_box_is_restored_as_in_a_stream_of_its_own() -> None:
    net, stride = compiled(SMALL_UNETMM), SMALL_UNETMM.stride_px
    boxes, rng = BoxNet(net, 12 * stride), np.random.default_rng(2)
    for rows, columns in ((12, 12), (3, 5), (12, 1), (3, 5), (1, 12), (5, 3), (12, 12)):
        box = rng.normal(0.5, 0.3, (rows * stride, columns * stride, 3)).astype(np.float32)
        alone = ObservingStream(net, net.unattended(), columns * stride, rows * stride)
        np.testing.assert_array_equal(boxes(box), alone.restore(box))
