"""Cuts cover the image once, and every cut sees the same pixel grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unetmm.geometry import mirrored, recomputed_share, split_axis

CUTS = {
    "length_px": st.integers(1, 5000),
    "parts": st.integers(1, 40),
    "cells": st.integers(1, 32),
    "halo": st.integers(0, 20),
    "stride_px": st.sampled_from([1, 2, 16, 48]),
}


@given(**CUTS)
def test_writes_cover_every_pixel_exactly_once(
    length_px: int, parts: int, cells: int, halo: int, stride_px: int
) -> None:
    spans = split_axis(length_px, parts, cells * stride_px, halo * stride_px, stride_px)
    assert spans[0].write_start == 0 and spans[-1].write_stop == length_px
    for left, right in zip(spans, spans[1:], strict=False):
        assert left.write_stop == right.write_start
    assert all(s.write_px > 0 for s in spans) and len(spans) <= parts


@given(**CUTS)
def test_reads_start_on_the_grid_and_hold_the_halo(
    length_px: int, parts: int, cells: int, halo: int, stride_px: int
) -> None:
    halo_px = halo * stride_px
    for span in split_axis(length_px, parts, cells * stride_px, halo_px, stride_px):
        assert span.read_start % stride_px == 0 and span.read_stop % stride_px == 0
        assert span.write_start % (cells * stride_px) == 0
        assert span.read_start == max(0, span.write_start - halo_px)
        assert span.read_stop >= min(length_px, span.write_stop + halo_px)


def test_one_part_recomputes_nothing_but_the_padding() -> None:
    assert recomputed_share(split_axis(1600, 1, 16, 80, 16), 1600) == 0
    assert recomputed_share(split_axis(1024, 2, 16, 64, 16), 1024) == 0.125


@given(st.integers(1, 50), st.integers(0, 120))
def test_mirrored_is_the_symmetric_extension(length: int, count: int) -> None:
    expected = np.pad(np.arange(length), (0, count), "symmetric")[length:]
    assert mirrored(length, count) == expected.tolist()
