"""What an output does not keep, as a user of the command line reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import denoise, run_ok
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def test_what_is_lost_is_said_reported_and_shown(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output, texts = tmp_path / "a.png", tmp_path / "b.tif", PngInfo()
    texts.add_text("Title", "of it")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=texts)
    report = tmp_path / "report.json"
    _, err = run_ok(denoise(path, output, mono, "--report", report), capsys)
    assert f"warning: {output}: not kept: PNG texts\n" in err
    told = json.loads(report.read_text())
    assert told["not_kept"] == ["PNG texts"] and not told["already_done"]
    _, err = run_ok(denoise(path, output, mono, "--report", report), capsys)
    told = json.loads(report.read_text())
    assert told["not_kept"] == ["PNG texts"] and told["already_done"]
    out, _ = run_ok(["info", path], capsys)
    assert "tiff: PNG texts" in out
    out, _ = run_ok(["info", path, "--json"], capsys)
    assert json.loads(out)["not_kept"] == {"tiff": ["PNG texts"]}
