"""What works without torch, and what says that it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import DATA

CLI = "import sys; sys.modules['torch'] = None; from unetmm_cli.__main__ import main; main()"


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    """A command line in a process that has no torch."""
    command = [sys.executable, "-c", CLI, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "in.tif"
    tifffile.imwrite(path, np.random.default_rng(0).poisson(200, (80, 90)).astype(np.uint16))
    return path


def test_an_image_is_restored(image: Path) -> None:
    output, report = image.parent / "out.ome.zarr", image.parent / "r.json"
    done = without_torch("denoise", image, "-o", output, "--report", report)
    assert (done.returncode, done.stderr) == (0, done.stderr) and "torch" not in done.stderr
    assert json.loads(report.read_text())["complete"]
    for words in (("info", output), ("verify", output), ("plan", image), ("models",)):
        looked = without_torch(*words)
        assert looked.returncode == 0, looked.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "IN", "-o", "x.tif", "--device", "torch"),
        ("denoise", "IN", "-o", "x.tif", "--device", "cuda"),
        ("denoise", "IN", "-o", "x.tif", "--model", DATA / "nafnet_w8.pth"),
        ("adapt", "IN", "-o", "x.safetensors"),
        ("train", Path(__file__).parents[1] / "training" / "tiny-mono.toml", "--folder", "FOLDER"),
        ("benchmark",),
    ],
    ids=["torch", "cuda", "pth", "adapt", "train", "benchmark"],
)
def test_what_needs_it_says_so_in_one_line(words: tuple[object, ...], image: Path) -> None:
    names = {"IN": image, "FOLDER": image.parent / "run", "x.tif": image.parent / "x.tif"}
    done = without_torch(*(names.get(str(word), word) for word in words))
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if "torch" in text]
    assert 'pip install "unetmm[torch]"' in line and "Traceback" not in done.stderr
    assert not (image.parent / "x.tif").exists()
