"""Tiles that were measured on a card, kept on disk."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from device_streams import GPU
from helpers import SMALL_UNETMM

from unetmm.engine.layouts import make_layout
from unetmm.engine.torch import cuda
from unetmm.engine.torch.footprint import shapes_of
from unetmm.engine.torch.kernels.kept import CardOfTiles, find, keep
from unetmm.engine.torch.kernels.tiles import DEPTHWISE, POINTWISE, Fusing, Measured, Tile

CARD = CardOfTiles("NVIDIA H200", (9, 0), "3.7.1")
WIDE = Tile(128, 8, 0, 16, 6)
FOUND = (
    Measured("depthwise", 2, 16, WIDE),
    Measured("pointwise", 2, 32, Tile(32, 4, 0)),
    Measured("gradient", 2, 16, Tile(64, 4, 0, resident=1)),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("UNETMM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_tiles_are_kept_by_card_and_compiler(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find(CARD) == () and keep(CARD, 2, FOUND) == cache / "tiles-nvidia-h200-9.0.json"
    assert find(CARD) == FOUND and not caplog.records
    assert find(replace(CARD, name="NVIDIA H100")) == find(replace(CARD, capability=(8, 0))) == ()
    with caplog.at_level(logging.WARNING):
        assert find(replace(CARD, triton="3.8.0")) == ()
    assert "measured with Triton 3.7.1 and are not used with 3.8.0" in caplog.text
    assert [p.name for p in cache.iterdir()] == ["tiles-nvidia-h200-9.0.json"]


def test_each_size_of_numbers_is_measured_by_itself() -> None:
    wide = Measured("pointwise", 4, 16, WIDE)
    keep(CARD, 2, FOUND)
    keep(CARD, 4, [wide])
    assert set(find(CARD)) == {*FOUND, wide}
    keep(CARD, 2, [])
    assert find(CARD) == (wide,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pixels", 48),  # no power of two
        ("pixels", 2**20),
        ("warps", 0),
        ("warps", True),
        ("rows", -1),
        ("resident", 1e9),
        ("channels", "16"),
        ("kind", "other"),
        ("item_bytes", None),
    ],
)
def test_damaged_files_are_left_alone_with_a_word(
    name: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep(CARD, 2, FOUND)
    content = json.loads(path.read_text())
    content["tiles"][1][name] = value
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        assert find(CARD) == ()
    assert "damaged and not used" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", '{"tiles": 3, "triton": 1}', "[" * 9999]
)
def test_other_files_are_left_alone_too(content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = keep(CARD, 2, FOUND)
    path.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert find(CARD) == ()
    path.write_bytes(b"\xff" * 10**6)
    assert find(CARD) == ()
    assert caplog.text.count("damaged and not used") == 2


def test_measured_tiles_take_the_place_of_the_tables() -> None:
    plain = Fusing(2, 132, 227 * 1024)
    tuned = replace(plain, measured=FOUND)
    assert plain.halves(16) == (DEPTHWISE[2, 16], POINTWISE[2, 16])
    assert tuned.halves(16) == tuned.halves(9) == (WIDE, POINTWISE[2, 16])
    assert tuned.halves(32) == (DEPTHWISE[2, 32], Tile(32, 4, 0))
    assert replace(tuned, item_bytes=4).halves(16) == replace(plain, item_bytes=4).halves(16)
    assert tuned.gradient(16) == Tile(64, 4, 0, resident=1)


def test_the_plan_counts_the_scratch_of_measured_tiles() -> None:
    layout = make_layout(SMALL_UNETMM, 64)
    plain = Fusing(2, 132, 227 * 1024)
    few = Measured("depthwise", 2, 16, Tile(64, 4, 0, rows=16, resident=1))
    arenas = [
        shapes_of(layout, 2048, replace(plain, measured=m)).arena for m in ((), FOUND, (few,))
    ]
    assert arenas[1] > arenas[0] > arenas[2]


def test_what_pixels_depend_on_names_them() -> None:
    pytest.importorskip("triton")
    plain = Fusing(4, 132, 227 * 1024)
    engine = replace(GPU, fusing=plain)
    assert "tiles" not in engine.recorded
    others = replace(engine, fusing=replace(plain, measured=FOUND))  # of half precision
    assert others.recorded == engine.recorded
    gradient = Measured("gradient", 4, 16, WIDE)  # of training
    pointwise, depthwise = (Measured(k, 4, 16, WIDE) for k in ("pointwise", "depthwise"))  # type: ignore[arg-type]
    names = [
        replace(engine, fusing=replace(plain, measured=m)).recorded
        for m in ((gradient,), (pointwise,), (pointwise, depthwise), (depthwise, pointwise))
    ]
    assert names[0] == engine.recorded and names[2] == names[3] != names[1]
    assert "with measured tiles " in names[1]


def test_tiles_that_do_not_work_give_way_to_the_tables(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    properties = SimpleNamespace(multi_processor_count=132, shared_memory_per_block_optin=10**5)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(cuda, "has", lambda name: True)
    monkeypatch.setattr(cuda, "model", lambda index: CARD.name)
    monkeypatch.setattr(cuda, "card", lambda index: CARD)
    refusals = ["out of resource", None]
    monkeypatch.setattr(cuda, "_refusal", lambda index, precision, fusing: refusals.pop(0))
    keep(CARD, 2, FOUND)
    cuda.fusing.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            found = cuda.fusing(0, "bf16")
        assert found == Fusing(2, 132, 10**5) and "do not work and are not used" in caplog.text
        refusals.append(None)
        kept = cuda.fusing(1, "bf16")
        assert kept is not None and kept.measured == FOUND
    finally:
        cuda.fusing.cache_clear()
