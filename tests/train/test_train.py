"""Training is a function of config and step: killed and resumed, it gives the same weights."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from helpers import ROOT

from unetmm.errors import ImageError, ResumeError, ShapeError, WeightsError
from unetmm.models.weights import load_model
from unetmm.train.batches import Batches
from unetmm.train.checkpoint import SHARD_BYTES, load_checkpoint, save_checkpoint
from unetmm.train.config import (
    CameraNoise,
    MicrographNoise,
    NoiseConfig,
    TrainConfig,
    ValidationConfig,
    load_train_config,
)
from unetmm.train.curve import SIZE_PX, draw_curve, ticks
from unetmm.train.data import PatchSampler, load_images, make_sampler
from unetmm.train.degrade import add_noise
from unetmm.train.export import export, make_card
from unetmm.train.export import main as run_export
from unetmm.train.history import Row, append_row, log_path, read_rows, total_seconds
from unetmm.train.loop import Trainer, TrainingProgress, learning_rate
from unetmm.train.pack import load_pack, save_pack
from unetmm.train.validate import Validation, make_validation

TOML = """
name = "test"
data = ["{folder}"]
steps = 6
checkpoint_every = 3
stages = [{{ start = 0.0, patch_px = 16, batch = 2 }}, {{ start = 0.5, patch_px = 24, batch = 1 }}]
[net]
in_channels = {channels}
out_channels = {channels}
width = 8
encoder_blocks = [1, 1]
middle_blocks = 1
decoder_blocks = [1, 1]
[net.aggregate]
channels = 16
scale = 4
enhance_blocks = [0, 1]
"""


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        iio.imwrite(images / f"{i}.png", rng.integers(0, 256, (40, 50 + i, 3), np.uint8))
    path = tmp_path / "run.toml"
    path.write_text(TOML.format(folder=images, channels=3))
    return load_train_config(path)


def begin(config: TrainConfig, folder: Path) -> None:
    """Leave a run after its first step."""
    trainer = Trainer(config, folder)
    trainer.train_step(*Batches(config, make_sampler(config)[0])[0])
    trainer.save()


def test_a_resumed_run_equals_an_undisturbed_one(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run(lambda progress: None, every=2)
    batches = Batches(config, make_sampler(config)[0])
    first = Trainer(config, tmp_path / "cut")
    for _ in range(3):
        first.train_step(*batches[first.step])
    first.save()
    first.train_step(*batches[first.step])  # lost, as by a kill
    resumed = Trainer(config, tmp_path / "cut")
    assert resumed.step == 3
    assert resumed.run(lambda progress: None, every=2)
    for name, tensor in whole.ema.items():
        assert torch.equal(tensor, resumed.ema[name]), name


def test_worker_processes_give_the_same_run(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone, helped = (Trainer(config, tmp_path / f"{n}", workers=n) for n in (0, 2))
    for trainer in (alone, helped):
        assert trainer.run(lambda progress: None, every=2)
    assert all(torch.equal(tensor, helped.ema[name]) for name, tensor in alone.ema.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_recorded_on_a_gpu_are_those_of_a_cpu(
    config: TrainConfig, tmp_path: Path, compiled: bool
) -> None:
    exact = replace(config, precision="fp32")
    batches = Batches(exact, make_sampler(exact)[0])
    on_cpu = Trainer(exact, tmp_path / "cpu")
    on_gpu = Trainer(exact, tmp_path / "gpu", "cuda", compiled=compiled)
    for step in range(exact.steps):  # of two shapes
        losses = [t.train_step(*batches[step]).item() for t in (on_cpu, on_gpu)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    on_gpu.save()
    resumed = Trainer(exact, tmp_path / "gpu", "cuda")
    resumed.train_step(*batches[0])
    for name, tensor in on_cpu.ema.items():
        assert torch.allclose(tensor, on_gpu.ema[name].cpu(), atol=1e-4), name


CHILD = """
import sys, time
from pathlib import Path
import torch
from unetmm.train.config import load_train_config
from unetmm.train.loop import Trainer
torch.set_num_threads(1)
def report(progress):
    if progress.step >= int(sys.argv[3]):
        print("now", flush=True)
        time.sleep(600)
Trainer(load_train_config(Path(sys.argv[1])), Path(sys.argv[2])).run(report, every=2)
"""


def test_a_run_killed_with_sigkill_reaches_the_same_curve_and_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    path = tmp_path / "run.toml"
    path.write_text(path.read_text().replace("steps = 6", "steps = 14"))
    config = load_train_config(path)
    kill_at = int(np.random.default_rng(3).integers(4, 13))
    arguments = [sys.executable, "-c", CHILD, str(path), str(tmp_path / "cut"), str(kill_at)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    before = read_rows(log_path(tmp_path / "cut"))
    resumed = Trainer(config, tmp_path / "cut")
    assert 0 < resumed.step < before[-1].step < config.steps, "nothing was lost by the kill"
    assert resumed.run(lambda progress: None, every=2)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run(lambda progress: None, every=2)
    curve = [(r.step, r.psnr_db) for r in read_rows(log_path(tmp_path / "whole"))]
    after = read_rows(log_path(tmp_path / "cut"))
    assert len(curve) == 7 and {(r.step, r.psnr_db) for r in after} == set(curve)
    step, states = load_checkpoint(tmp_path / "whole") or (0, {})
    other_step, others = load_checkpoint(tmp_path / "cut") or (0, {})
    assert step == other_step == 14
    for name in ("net", "ema", "moment1", "moment2"):
        assert all(torch.equal(t, others[name][n]) for n, t in states[name].items()), name


def test_training_for_a_time_leaves_what_an_export_needs(
    config: TrainConfig, tmp_path: Path
) -> None:
    script = ROOT / "training" / "train_for.py"
    brought = tmp_path / "runs" / "test"
    command = [sys.executable, script, tmp_path / "run.toml", "--seconds", "15", "-o", brought]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    chosen = load_train_config(brought / "run.toml")
    assert f"{chosen.steps} steps" in done.stderr and chosen.steps >= 100
    card = export(chosen, brought, tmp_path / "m.safetensors", {})
    # A machine that becomes slower meanwhile ends a run early, which has to be as usable.
    finished = card["steps"] == chosen.steps
    assert 0 < card["steps"] <= card["planned_steps"] == chosen.steps
    assert done.returncode == (0 if finished else 1), done.stderr
    assert not finished or read_rows(brought / "test.csv")[-1].step == card["steps"]


def test_a_checkpoint_without_a_curve_is_resumed(config: TrainConfig, tmp_path: Path) -> None:
    """As versions before wrote them."""
    first = Trainer(config, tmp_path)
    first.train_step(*Batches(config, make_sampler(config)[0])[0])
    first.save()
    step, states = load_checkpoint(tmp_path) or (0, {})
    for curve in ({"psnr_db": torch.ones(1)}, {}):
        save_checkpoint(tmp_path, step, {**states, "curve": curve})
        assert Trainer(config, tmp_path).step == 1
    del states["curve"]
    save_checkpoint(tmp_path, step, states)
    assert Trainer(config, tmp_path).step == 1


def test_a_checkpoint_cut_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, {"net": {"t": torch.ones(3)}})

    def killed(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unetmm.train.checkpoint.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, {"net": {"t": torch.zeros(3)}})
    step, states = load_checkpoint(tmp_path) or (0, {})
    assert step == 1 and torch.equal(states["net"]["t"], torch.ones(3))


def test_checkpoint_files_stay_below_16_mib(tmp_path: Path) -> None:
    states = {"net": {f"t{i}": torch.full((1 << 20,), float(i)) for i in range(9)}}
    save_checkpoint(tmp_path, 5, states)
    save_checkpoint(tmp_path, 7, states)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == 3 and all(f.stat().st_size <= SHARD_BYTES + 4096 for f in files)
    step, found = load_checkpoint(tmp_path) or (0, {})
    assert step == 7
    assert all(torch.equal(found["net"][k], v) for k, v in states["net"].items())


def test_noise_has_the_level_it_was_given() -> None:
    clean = np.full((400, 1, 16, 16), 0.5, np.float32)
    rng = np.random.default_rng(1)
    gaussian = add_noise(clean, NoiseConfig(50, 0.0), rng) - clean
    levels = gaussian.std((1, 2, 3)) * 255
    assert 20 < levels.mean() < 30 and levels.max() < 60 and levels.min() < 2
    poisson = add_noise(clean, NoiseConfig(50, 1.0), rng)
    assert abs(poisson.mean() - 0.5) < 0.005


def test_patches_are_reproducible_and_in_range(config: TrainConfig) -> None:
    sampler = PatchSampler(load_images(config.data, 3), 0.5)
    a, b = (sampler.batch(np.random.default_rng(4), 5, 16) for _ in range(2))
    assert np.array_equal(a, b) and a.shape == (5, 3, 16, 16)
    assert a.min() >= 0 and a.max() <= 1


def test_grey_training_images_use_the_fields_luma(config: TrainConfig) -> None:
    colour, grey = load_images(config.data, 3)[0], load_images(config.data, 1)[0]
    expected = colour @ np.array([0.298936, 0.587043, 0.114021])
    assert np.abs(grey[..., 0] - expected).max() <= 0.5001


def test_learning_rate_warms_up_and_falls(config: TrainConfig) -> None:
    long = TrainConfig(config.name, config.data, config.net, steps=1000)
    rates = [learning_rate(long, s) for s in range(1000)]
    assert rates[0] < rates[199] and rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[999] < 2e-5


BAD_LINES = ('precision = "fp16"\n', "data_shares = [0.5, 0.5]\n", "seed = -1\n")


def test_bad_configs_and_empty_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for text in (
        "not = [toml",
        "name = 'a'",
        TOML.format(folder=tmp_path, channels=3) + "typo = 1",
        *(line + TOML.format(folder=tmp_path, channels=3) for line in BAD_LINES),
        TOML.format(folder=tmp_path, channels=3).replace(f'["{tmp_path}"]', f'"{tmp_path}"'),
        TOML.format(folder=tmp_path, channels=3).replace("start = 0.0", "start = 0.1"),
        TOML.format(folder=tmp_path, channels=3) + "[validation]\nheld_out = 1\nevery = 0\n",
    ):
        path.write_text(text)
        with pytest.raises(ShapeError, match="cannot be used"):
            load_train_config(path)
    with pytest.raises(ImageError, match="no training image"):
        load_images([str(tmp_path)], 3)


def with_camera_and_validation(config: TrainConfig) -> TrainConfig:
    noise = NoiseConfig(camera=CameraNoise(0.7), row_share=0.5, impulse_share=0.5)
    validation = ValidationConfig(held_out=1, patches=3, patch_px=24, every=2)
    return replace(config, noise=noise, validation=validation)


def test_validation_and_camera_noise_resume_to_the_bit(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    chosen = with_camera_and_validation(config)
    told: list[TrainingProgress] = []
    whole = Trainer(chosen, tmp_path / "whole")
    assert whole.run(told.append, every=3)
    assert [p.step for p in told] == [2, 3, 4, 6]
    stop = threading.Event()
    cut = Trainer(chosen, tmp_path / "cut")
    assert not cut.run(lambda progress: stop.set(), every=2, stop=stop)
    resumed = Trainer(chosen, tmp_path / "cut")
    assert resumed.step == 2
    assert resumed.run(lambda progress: None)
    assert all(torch.equal(t, resumed.ema[n]) for n, t in whole.ema.items())
    rows = {r.step: r.validation_db for r in read_rows(log_path(tmp_path / "cut"))}
    assert rows == {r.step: r.validation_db for r in read_rows(log_path(tmp_path / "whole"))
                    if r.step != 3}  # fmt: skip
    assert told[-1].loss == pytest.approx(-told[-1].psnr_db * np.log(10) / 10)


def test_held_out_images_are_never_trained_on(config: TrainConfig) -> None:
    sampler, held_out = make_sampler(with_camera_and_validation(config))
    assert len(sampler.images) == 2 and len(held_out) == 1
    assert all(held_out[0].shape != image.shape for image in sampler.images)


def test_validation_measures_the_psnr_of_the_net() -> None:
    clean = np.full((2, 1, 8, 8), 0.5, np.float32)
    validation = Validation(clean + np.float32(0.1), clean)
    assert validation.psnr_db(torch.nn.Identity()) == pytest.approx(20.0, abs=1e-4)


def test_validation_pairs_are_brought_to_one_scale(config: TrainConfig, tmp_path: Path) -> None:
    clean = np.random.default_rng(1).integers(0, 200, (40, 40, 3), np.uint8)
    for name, pixels in (("clean", clean), ("noisy", np.rint(0.5 * clean + 30).astype(np.uint8))):
        (tmp_path / name).mkdir()
        iio.imwrite(tmp_path / name / "a.png", pixels)
    chosen = ValidationConfig(str(tmp_path / "clean"), str(tmp_path / "noisy"), True, 0, 2, 32)
    validation = make_validation(replace(config, validation=chosen), [])
    assert validation is not None and validation.noisy.shape == (2, 3, 32, 32)
    assert np.abs(validation.noisy - validation.clean).max() < 0.003


def test_weights_of_a_zoo_model_are_the_start(config: TrainConfig, tmp_path: Path) -> None:
    trainer = Trainer(config, tmp_path / "first")
    trainer.run(lambda progress: None)
    path = tmp_path / "start.safetensors"
    card = export(config, tmp_path / "first", path, {})
    assert card["steps"] == 6 and "quality" not in card
    started = Trainer(replace(config, init=str(path)), tmp_path / "second")
    assert all(torch.equal(trainer.ema[n], t) for n, t in started.ema.items())
    other = replace(config.net, middle_blocks=2)
    with pytest.raises(WeightsError, match="holds another net than the one of test"):
        Trainer(replace(config, net=other, init=str(path)), tmp_path / "third")
    with pytest.raises(ResumeError, match="holds a checkpoint of another net"):
        Trainer(replace(config, net=other), tmp_path / "first")
    assert load_model(path).card["noise"].startswith("Gaussian, sigma 0 to 55 of 255")


def test_an_exported_card_has_a_command_for_every_figure(
    config: TrainConfig, tmp_path: Path
) -> None:
    begin(config, tmp_path / "run")
    pairs = tmp_path / "my pairs"
    for half in ("noisy", "clean"):
        shutil.copytree(config.data[0], pairs / half)
    sets = {"white": Path(config.data[0]), "real": pairs}
    card = export(config, tmp_path / "run", tmp_path / "out.safetensors", sets, affine=True)
    assert card["quality_commands"] == {
        "white": f"unetmm evaluate test {config.data[0]}",
        "real": f"unetmm evaluate test '{pairs}' --affine",
    }
    assert card["quality"].keys() == card["quality_ssim"].keys() == sets.keys()
    assert "pairs: real noise" in card["quality_protocol"] and " -> " in card["quality"]["real"]


def test_a_run_goes_on_with_its_own_data_only(config: TrainConfig, tmp_path: Path) -> None:
    """Or a card would tell of data and terms that the weights were not trained on."""
    folder = tmp_path / "run"
    begin(config, folder)
    longer = replace(config, steps=9, learning_rate=1e-4)
    assert Trainer(longer, folder).step == 1
    others = {"data": ("elsewhere",), "seed": 5, "exclude": ("1.png",)}
    for name, value in others.items():
        other = replace(config, **{name: value})
        for use in (Trainer, lambda c, f: export(c, f, tmp_path / "m.safetensors", {})):
            with pytest.raises(ResumeError, match=f"holds a run with another {name} than test's"):
                use(other, folder)
    (folder / "state.json").write_text("")
    with pytest.raises(ResumeError, match="its checkpoint is damaged"):
        Trainer(config, folder)


def test_a_run_is_exported_without_test_sets_too(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(config, tmp_path / "run")
    path = tmp_path / "out.safetensors"
    words = ["export", tmp_path / "run.toml", "--folder", tmp_path / "run", "-o", path]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    assert run_export() == 0
    assert "quality" not in load_model(path).card


def test_finished_weights_survive_the_next_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "camera-tiny.safetensors").write_bytes(b"kept")
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"net": {"t": torch.zeros(3)}})
    names = sorted(p.name for p in tmp_path.glob("*.safetensors"))
    assert names == ["camera-tiny.safetensors", "net-2-0.safetensors"]


def test_pack_trains_like_its_folders(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "packs" / "pack.safetensors"
    save_pack(config, path)
    packed = replace(config, pack=str(path))
    for a, b in zip(make_sampler(config)[0].images, make_sampler(packed)[0].images, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(ImageError, match="holds other images than test asks for"):
        load_pack(replace(config, exclude=("1.png",)), path)
    path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="is no pack of training images"):
        load_pack(config, path)


@pytest.mark.parametrize("shape", [(30, 20, 21), (2, 30, 20, 3)])
def test_stacks_are_no_training_images(
    config: TrainConfig, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    iio.imwrite(tmp_path / "stack.tif", np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="is a stack of shape"):
        make_sampler(replace(config, data=(str(tmp_path),)))


def test_an_only_image_is_not_held_out(config: TrainConfig) -> None:
    chosen = replace(config, exclude=("1.png", "2.png"), validation=ValidationConfig(held_out=1))
    with pytest.raises(ImageError, match="the only image of a folder cannot be held out"):
        make_sampler(chosen)


def test_folders_get_their_share_of_the_patches(config: TrainConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    iio.imwrite(other / "dull.png", np.zeros((30, 30, 3), np.uint8))
    iio.imwrite(other / "left_out.png", np.zeros((30, 30, 3), np.uint8))
    folders = (*config.data, str(other))
    chosen = replace(config, data=folders, data_shares=(0.2, 0.8), exclude=("left_*",))
    sampler, _ = make_sampler(chosen)
    assert sampler.probability[-1] == pytest.approx(0.8) and len(sampler.images) == 4
    with pytest.raises(ValueError, match="2 folders of data, but 1 data_shares"):
        replace(config, data=folders, data_shares=(1.0,))


def test_log_keeps_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    rows = [Row(100, 30.125, 10.0), Row(200, 31.5, 20.5, 29.25), Row(200, 31.5, 4.0)]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == rows and read_rows(tmp_path / "none.csv") == []
    assert total_seconds(rows) == 24.5
    path.write_text("100,30.125,10.0\n")  # as old runs have it
    assert read_rows(path) == rows[:1]


def test_curve_shows_training_and_validation(tmp_path: Path) -> None:
    rows = [Row(i, 20 + i / 10, 0.0, 25.0 if i % 20 == 0 else None) for i in range(1, 100)]
    draw_curve(rows, tmp_path / "curve.png", "test")
    pixels = iio.imread(tmp_path / "curve.png")
    assert pixels.shape == (SIZE_PX[1], SIZE_PX[0], 3)
    for colour in ((0x9D, 0xB8, 0xD9), (0xC0, 0x39, 0x2B)):
        assert (pixels == colour).all(2).sum() > 300
    draw_curve([], tmp_path / "empty.png", "test")
    assert not (tmp_path / "empty.png").exists()
    assert len(ticks(30, 30)) == 2
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100] and ticks(31.2, 33.9)[0] <= 31.2


def test_card_names_every_kind_of_noise(config: TrainConfig, tmp_path: Path) -> None:
    noise = NoiseConfig(camera=CameraNoise(0.5), micrograph=MicrographNoise(0.25), row_share=0.1)
    told = make_card(replace(config, noise=noise), tmp_path / "run", 1)["noise"]
    for part in ("Camera noise", "in 50%", "2 to 400 photons", "in 25%", "rows or columns"):
        assert part in told
    assert "; else Gaussian" in told
