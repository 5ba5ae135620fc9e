"""Runs that are stopped before their time, and what a run in peace makes of the same image."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm.errors import ImageError
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.output.output import Output
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file
from unetmm.run.report import Report

OUTPUTS = ("out.ome.zarr", "out.tif", "out.png")
NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))


def make_finished(folder: Path) -> Path:
    """An image of 3 x 2 chunks, a model, and what a run in peace makes of them."""
    pixels = np.random.default_rng(1).normal(3000, 400, (1300, 700)).astype(np.uint16)
    tifffile.imwrite(folder / "in.tif", pixels, rowsperstrip=64)
    save_model(folder / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    for name in OUTPUTS:
        restore_file(folder / "in.tif", folder / name, options(folder))
    return folder


def options(folder: Path, **changes: Any) -> Options:
    return Options(**{"model": folder / "m.safetensors", "budget_bytes": 2 * 10**9, **changes})


def stop_after(
    folder: Path, output: Path, chunks: int, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> None:
    """A run that fails at its chunk number `chunks` + 1."""
    put, seen, lock = Output._put, [0], threading.Lock()

    def failing(self: Output, key: ChunkKey, pixels: Any) -> None:
        with lock:
            seen[0] += key.level == 0
            if seen[0] > chunks:
                raise ImageError("the cable was pulled")
        put(self, key, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", failing)
        with pytest.raises(ImageError, match="cable"):
            restore_file(folder / "in.tif", output, options(folder, workers=1, **changes))
    assert not output.exists() and part_path(output).is_dir()


def go_on(folder: Path, output: Path, **changes: Any) -> Report:
    return restore_file(folder / "in.tif", output, options(folder, **changes))
