"""Adapting: blocks of any image, a loss that hides pixels, an end in good time, clear refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from helpers import lively_model
from numpy.typing import NDArray
from torch import nn

from unetmm.errors import BudgetError, ImageError, ShapeError, WeightsError
from unetmm.io.array import ArraySource, array_info
from unetmm.models.weights import load_model, save_model
from unetmm.nets.config import NetConfig
from unetmm.train import adapt as adapting
from unetmm.train import blocks
from unetmm.train.adapt import (
    AdaptOptions,
    AdaptProgress,
    adapt,
    adapt_file,
)
from unetmm.train.adapt_memory import check_budget, projected_bytes
from unetmm.train.blocks import BLOCK_PX, BlockReader
from unetmm.train.noise_measure import Noise, estimated_error, measure_noise
from unetmm.train.selfsupervised import blind_spot_loss
from unetmm_cli.__main__ import run as run_cli

MONO = NetConfig(1, 1, 8, (1,), 0, (1,))
MODEL = lively_model(MONO)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(adapting, "LEARNING_RATE", 3e-3)
    monkeypatch.setattr(adapting, "WARM_UP_STEPS", 5)
    monkeypatch.setattr(adapting, "CHECK_EVERY", 5)
    monkeypatch.setattr(blocks, "LEAST_BLOCKS", 8)


def noisy_image(shape: tuple[int, ...] = (256, 320), sigma: float = 30) -> NDArray[np.uint8]:
    """A smooth picture with white noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = 120 + 60 * np.sin(y / 30) * np.cos(x / 40)
    picture = picture if len(shape) == 2 else np.repeat(picture[..., None], shape[2], 2)
    return np.clip(picture + rng.normal(0, sigma, shape), 0, 255).astype(np.uint8)


def source_of(image: NDArray[np.generic], axes: str | None = None) -> ArraySource:
    return ArraySource(image, array_info(image.shape, image.dtype, axes))


def test_blocks_cover_every_plane_and_sample_once() -> None:
    image = np.arange(2 * 3 * 128 * 192, dtype=np.uint16).reshape(2, 3, 128, 192)
    reader = BlockReader(source_of(image, "CZYX"), MONO, 0)
    assert len(reader.grid) == 2 * 3 * 2 * 3 and reader.grid.block_px == BLOCK_PX
    places = [reader.grid.place(i) for i in range(len(reader.grid))]
    seen = {(plane, group, box.y0, box.x0) for plane, group, box in places}
    assert len(seen) == len(places)
    assert all(box.y1 <= 128 and box.x1 <= 192 for _, _, box in places)


def test_blocks_are_on_the_scale_a_run_would_choose() -> None:
    image = np.random.default_rng(0).uniform(100, 300, (256, 256)).astype(np.float32)
    reader = BlockReader(source_of(image), MONO, 0)
    assert reader.held_out.shape == (4, 1, 64, 64)
    assert reader.held_out.min() == pytest.approx(0, abs=0.01)
    assert reader.held_out.max() == pytest.approx(1, abs=0.01)


def test_held_out_blocks_are_never_trained_on() -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    reader = BlockReader(source_of(image), MONO, 0)
    stream = reader.training_blocks()
    training = {next(stream).tobytes() for _ in range(40)}
    assert len(training) == 16 - len(reader.held_out)
    assert not training & {block.tobytes() for block in reader.held_out}


def test_blocks_without_measurement_are_passed_over() -> None:
    image = np.random.default_rng(0).random((256, 256), np.float32)
    image[:128] = np.nan
    reader = BlockReader(source_of(image), MONO, 0)
    assert np.isfinite(reader.held_out).all()
    assert np.isfinite(next(reader.training_blocks())).all()
    with pytest.raises(ShapeError, match="hardly any part of the image holds measurements"):
        BlockReader(source_of(np.full((256, 256), np.nan, np.float32)), MONO, 0)


def test_colour_nets_get_colour_blocks() -> None:
    config = NetConfig(3, 3, 8, (1,), 0, (1,))
    reader = BlockReader(source_of(noisy_image((256, 256, 3))), config, 0)
    assert reader.held_out.shape[1:] == (3, 64, 64)


def test_small_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_BLOCKS", 30)
    BlockReader(source_of(noisy_image((384, 384))), MONO, 0)
    with pytest.raises(ShapeError, match="256 x 320 px is too small .* at least 256 x 256 px"):
        BlockReader(source_of(noisy_image()), MONO, 0)
    with pytest.raises(ShapeError, match="2 x 90 px is too small to adapt"):
        BlockReader(source_of(np.zeros((2, 90), np.uint8)), MONO, 0)


def test_only_denoisers_can_be_adapted() -> None:
    model = lively_model(NetConfig(1, 2, 8, (1,), 0, (1,)))
    with pytest.raises(ShapeError, match="makes 2 channels of 1 at 1 times the size"):
        adapt(source_of(noisy_image()), model, AdaptOptions(steps=1))


class Spy(nn.Module):
    """Keeps what it is shown, and says nothing about it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown = x
        return x


@pytest.mark.parametrize(("reach", "share"), [((0, 0), 0.03), ((0, 1), 0.087), ((1, 1), 0.24)])
def test_asked_pixels_and_those_within_reach_are_hidden(
    reach: tuple[int, int], share: float
) -> None:
    spy, noisy = Spy(), torch.rand((4, 2, 64, 64), generator=torch.Generator().manual_seed(1))
    loss = blind_spot_loss(spy, noisy, torch.Generator().manual_seed(2), reach)
    changed = spy.shown != noisy
    assert changed[:, 0].float().mean().item() == pytest.approx(share, abs=0.02)
    assert torch.equal(changed[:, 0], changed[:, 1])
    # A net that hands on what it sees is off by two independent values: 2 * 1/12.
    assert loss.item() == pytest.approx(1 / 6, abs=0.02)


def test_stand_ins_come_from_near_by_and_beyond_reach() -> None:
    spy = Spy()
    ramp = torch.arange(40.0).view(1, 1, 1, 40).expand(1, 1, 40, 40).contiguous()
    blind_spot_loss(spy, ramp, torch.Generator().manual_seed(0), (0, 1))
    moved = (spy.shown - ramp)[..., 5:35].abs()
    assert moved.max() == 3
    steep = (ramp + 1000 * ramp.transpose(2, 3)).contiguous()
    blind_spot_loss(spy, steep, torch.Generator().manual_seed(0), (0, 1))
    change = (spy.shown - steep)[..., 5:35, 5:35]
    same_row = change.abs() < 500
    assert (change[same_row & (change != 0)].abs() > 1).all()


def test_reach_of_noise_is_found_in_either_direction() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(8, 1, 64, 64)).astype(np.float32)
    smooth = np.sin(np.arange(64) / 12).astype(np.float32)
    smeared = 0.7 * white + 0.15 * (np.roll(white, 1, 3) + np.roll(white, -1, 3)) + smooth
    assert measure_noise(white + 3 * smooth).reach == (0, 0)
    level = torch.zeros(1, 1, 64, 64)
    assert measure_noise(white).variance(level).mean() == pytest.approx(1, rel=0.1)
    assert measure_noise(smeared).reach == (0, 1)
    assert measure_noise(np.ascontiguousarray(smeared.swapaxes(2, 3))).reach == (1, 0)


def test_variance_follows_the_signal() -> None:
    rng = np.random.default_rng(0)
    signal = rng.uniform(0.1, 1, (64, 1, 1, 1)) * np.ones((64, 1, 64, 64))
    noisy = signal + np.sqrt(0.04 * signal + 0.01) * rng.normal(size=signal.shape)
    found = measure_noise(noisy.astype(np.float32))
    assert (found.slope, found.offset) == pytest.approx((0.04, 0.01), abs=0.005)
    dark = found.variance(torch.tensor([-5.0, 0.5]))
    assert dark[0] == pytest.approx(found.floor) and dark[1] == pytest.approx(0.03, abs=0.003)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.45])
def test_drawn_noise_has_the_variance_and_correlation_of_the_image(correlation: float) -> None:
    noise = Noise(0.0, 0.25, 0.0, (0.0, correlation))
    drawn = noise.draw(
        noise.variance(torch.zeros(16, 1, 64, 64)), torch.Generator().manual_seed(0)
    ).numpy()
    assert drawn.var() == pytest.approx(0.25, rel=0.03)
    across = (drawn[..., 1:] * drawn[..., :-1]).mean() / drawn.var()
    assert across == pytest.approx(correlation, abs=0.03)
    assert noise.reach == (0, int(correlation > 0))


def test_error_is_estimated_without_a_clean_image() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:64, :64]
    clean = np.stack([0.5 + 0.3 * np.sin((y + i) / 9) * np.cos(x / 7) for i in range(16)])[:, None]
    noisy = (clean + 0.1 * rng.normal(size=clean.shape)).astype(np.float32)
    noise = measure_noise(noisy)
    truth = torch.from_numpy(clean.astype(np.float32))
    smooth = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    for net in (nn.Identity(), smooth):
        recorrupted = torch.from_numpy(noisy) + 0.05 * torch.randn(
            noisy.shape, generator=torch.Generator().manual_seed(1)
        )
        expected = float(((net(recorrupted) - truth) ** 2).mean())
        found = estimated_error(net, torch.from_numpy(noisy), noise, truth, 3)
        assert found == pytest.approx(expected, abs=0.0008)


def test_images_without_independent_noise_are_refused() -> None:
    smooth = np.sin(np.arange(64) / 5).astype(np.float32) * np.ones((4, 1, 64, 1), np.float32)
    with pytest.raises(ImageError, match="no noise was found that is independent"):
        measure_noise(smooth)


def test_what_is_measured_is_not_all_held_out() -> None:
    """Or there would be nothing to learn from, and nothing would ever end that."""
    image = noisy_image((640, 640)).astype(np.float32)
    measured = image[:256, :256].copy()
    image[:] = np.nan
    image[:256, :256] = measured
    reader = BlockReader(source_of(image), MONO, 0)
    assert len(reader.held_out_indices) == 4
    given = [next(reader.training_blocks()) for _ in range(3)]
    assert all(np.isfinite(block).all() for block in given)
    reader.read = lambda index: None  # type: ignore[method-assign]
    with pytest.raises(ShapeError, match="hardly any part"):
        next(reader.training_blocks())


def test_adapting_lowers_the_held_out_error() -> None:
    image = noisy_image()
    checks: list[AdaptProgress] = []
    adapted = adapt(source_of(image), MODEL, AdaptOptions(steps=20), checks.append)
    assert [c.step for c in checks] == [0, 5, 10, 15, 20]
    assert adapted.gain > 0.1 and adapted.best_error == min(c.error for c in checks)
    assert adapted.reach == (0, 0) and adapted.ended_by == "number of steps"
    assert adapted.tensors.keys() == MODEL.tensors.keys()
    # The start is untouched.
    assert all(
        np.array_equal(MODEL.tensors[n], t.numpy()) for n, t in MODEL.net.state_dict().items()
    )


def test_equal_steps_give_equal_weights() -> None:
    first, second = (
        adapt(source_of(noisy_image()), MODEL, AdaptOptions(steps=6)).tensors for _ in range(2)
    )
    assert all(np.array_equal(first[n], second[n]) for n in first)


def test_it_ends_in_order_when_asked_to() -> None:
    stop = threading.Event()
    stop.set()
    adapted = adapt(source_of(noisy_image()), MODEL, AdaptOptions(), stop=stop)
    assert (adapted.steps, adapted.ended_by) == (1, "a signal")
    adapted = adapt(source_of(noisy_image()), MODEL, AdaptOptions(minutes=1e-6))
    assert (adapted.steps, adapted.ended_by) == (1, "time")


def test_it_ends_when_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(adapting, "CHECK_EVERY", 1)
    adapted = adapt(source_of(noisy_image()), MODEL, AdaptOptions(minutes=5))
    assert (adapted.steps, adapted.best_step) == (adapting.PATIENCE, 0)
    assert adapted.ended_by == "no improvement" and adapted.gain == 0


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    path = tmp_path / "dim.tif"
    tifffile.imwrite(path, noisy_image())
    return path


def test_weights_are_written_with_their_card(tmp_path: Path, tiff: Path) -> None:
    output = tmp_path / "mine.safetensors"
    adapted = adapt_file(tiff, output, AdaptOptions(MODEL, steps=20))
    found = load_model(output)
    assert found.config == MONO and found.card["adapted_from"] == "lively"
    assert found.card["adapted_to"] == "dim.tif"
    assert all(np.array_equal(adapted.tensors[n], found.tensors[n]) for n in adapted.tensors)


def test_a_net_that_did_not_gain_is_not_written(
    tmp_path: Path, tiff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "LEARNING_RATE", 0.0)
    with pytest.raises(WeightsError, match="removed 0% of its held-out error.*nothing was written"):
        adapt_file(tiff, tmp_path / "mine.safetensors", AdaptOptions(MODEL, steps=1))
    assert not (tmp_path / "mine.safetensors").exists()


def test_budget_is_checked_first(tiff: Path) -> None:
    source = source_of(noisy_image())
    needed = projected_bytes(source, MONO)
    assert check_budget(source, MONO, needed) == needed
    with pytest.raises(BudgetError, match="is too small to adapt a net") as caught:
        check_budget(source, MONO, needed - 1)
    assert caught.value.needed_bytes == needed


def test_command_line(tmp_path: Path, tiff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, output = tmp_path / "start.safetensors", tmp_path / "mine.safetensors"
    save_model(start, MONO, MODEL.tensors, {})
    command = ["adapt", str(tiff), "-o", str(output), "--model", str(start), "--steps"]
    assert run_cli([*command, "20"]) == 0
    told = capsys.readouterr()
    assert "mine.safetensors:" in told.out and "estimated error" in told.err
    assert "of the held-out error gone" in told.out
    for arguments, message in (
        ([*command, "20"], "give --overwrite to replace it"),
        ([*command, "2", "--minutes", "0", "--overwrite"], "asked for 0 minutes"),
        (["adapt", str(tiff), "-o", str(tmp_path / "mine.tif")], "weights are written as"),
        ([*command, "1", "--overwrite", "--mem-budget", "100MB"], "is too small to adapt"),
    ):
        assert run_cli(arguments) == 1
        told = capsys.readouterr()
        assert told.err.startswith("error: ") and message in told.err


MEASURE = """
import sys, numpy as np
from pathlib import Path
from unetmm import process
from unetmm.io.open import open_source
from unetmm.nets.config import tiny_config
from unetmm.nets.nafnet import build_net
from unetmm.train.adapt import AdaptOptions, adapt
from unetmm.train.adapt_memory import projected_bytes
from unetmm.models.weights import Model
config = tiny_config(1)
tensors = {k: v.numpy() for k, v in build_net(config).state_dict().items()}
source = open_source(Path(sys.argv[1]))
adapt(source, Model("tiny", config, {}, None, tensors), AdaptOptions(steps=4))
print(process.peak_bytes(), projected_bytes(source, config))
"""


@pytest.mark.slow
def test_measured_peak_stays_under_the_projected(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, noisy_image((2048, 3000)), tile=(256, 256))
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured, projected = (int(word) for word in done.stdout.split())
    assert measured <= projected < 3 * measured
