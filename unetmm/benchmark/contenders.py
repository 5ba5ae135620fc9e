"""What is measured, each in a process of its own: the stream, its bound, the plain forwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm import process
from unetmm.benchmark.setting import Files, Setting
from unetmm.calibrate.calibration import Calibration
from unetmm.engine.precision import Precision
from unetmm.models.weights import Model, load_model
from unetmm.options import Options
from unetmm.provenance.record import load_calibration
from unetmm.run.loaded import Loaded
from unetmm.run.of_array import restore_array

if TYPE_CHECKING:
    import torch

    from unetmm.nets.nafnet import ReferenceNet

Pixels = NDArray[Any]
PREPARE = "prepare"
REFERENCE = "nchw"
START_PX = 512
"""Side of the image that the start-up is measured with."""
NOISE_STD = 25
"""Standard deviation of the synthetic image's noise, in grey levels of 255."""


class NotPossibleError(Exception):
    """A contender has nothing to measure here; the message says why."""


@dataclass
class Subject:
    """The setting of a benchmark with what its files hold, read when it is needed."""

    setting: Setting
    files: Files

    @cached_property
    def model(self) -> Model:
        return load_model(self.files.model)

    @cached_property
    def image(self) -> Pixels:
        """Image to restore, uint8, (height, width, channels)."""
        pixels: Pixels = np.load(self.files.image)
        return pixels

    @property
    def scaled(self) -> NDArray[np.float32]:
        """The image on the net's scale, by the very arithmetic of the stream."""
        return self.image.astype(np.float32) * np.float32(1 / 255)

    @cached_property
    def calibration(self) -> Calibration:
        return load_calibration(self.files.calibration)

    def options(self, **chosen: Any) -> Options:
        return Options(self.model, workers=self.setting.threads, device="cpu", **chosen)

    def frozen_net(self) -> ReferenceNet:
        """The reference net, its channel attention replaced by the image's frozen factors."""
        import torch

        from unetmm.nets.blocks import NAFBlock

        torch.set_num_threads(self.setting.threads)
        factors = self.calibration.entry(0, 0).attention
        for name, module in self.model.net.named_modules():
            if isinstance(module, NAFBlock):
                module.sca.frozen = torch.from_numpy(factors[name])
        return self.model.net

    def planar(self) -> torch.Tensor:
        """The image as (1, c, h, w)."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.scaled.transpose(2, 0, 1)[None]))

    def difference(self, answer: Pixels) -> float | None:
        """Largest absolute difference from the untiled forward, if that could be made."""
        if not self.files.reference.exists():
            return None
        reference = np.load(self.files.reference, mmap_mode="r")
        assert answer.shape == reference.shape, f"{answer.shape} instead of {reference.shape}"
        rows = range(0, len(answer), 64)
        return max(float(np.abs(answer[y : y + 64] - reference[y : y + 64]).max()) for y in rows)


@dataclass
class Contender:
    """Something that is ready to be measured."""

    run: Callable[[], Any]
    """Work that is timed; gives float32 (height, width, channels), or nothing to compare."""
    answer: Callable[[], Pixels] | None = None
    """Source of the result to compare, where `run` does not give it."""
    seconds: Callable[[], float] | None = None
    """Work that takes its own time, in place of `run`; gives seconds."""
    peak_bytes: Callable[[], int | None] = process.peak_bytes
    per_px: bool = True
    note: str = ""


def prepare(subject: Subject) -> None:
    """Write the files that all processes share: weights, image, frozen statistics."""
    import imageio.v3 as iio
    import tifffile

    from unetmm.benchmark.setting import load_subject
    from unetmm.io.array import ArraySource, array_info
    from unetmm.models.weights import save_model
    from unetmm.run.job import compile_and_calibrate

    files, setting = subject.files, subject.setting
    model = load_subject(setting.model)
    save_model(files.model, model.config, model.tensors, model.card)
    image = synthetic_image(setting.side_px, model.config.in_channels)
    np.save(files.image, image)
    squeezed = image[..., 0] if image.shape[-1] == 1 else image
    photometric = "rgb" if image.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(
        files.tiff, squeezed, tile=(256, 256), compression="zlib", photometric=photometric
    )
    small = synthetic_image(START_PX, model.config.in_channels)
    iio.imwrite(files.png, small[..., 0] if small.shape[-1] == 1 else small)
    source = ArraySource(image, array_info(image.shape, image.dtype, "YXS"))
    # A new `Model`: the first has given its tensors back.
    _, calibration = compile_and_calibrate(source, load_model(files.model), Options(device="cpu"))
    files.calibration.write_text(calibration.to_json(), encoding="utf-8")


def synthetic_image(side_px: int, channels: int) -> Pixels:
    """A smooth scene with white noise, uint8, (side_px, side_px, channels)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side_px, :side_px].astype(np.float32)
    clean = 128 + 60 * np.sin(x / 40) * np.cos(y / 60) + 30 * np.sin((x + y) / 7)
    noise = rng.normal(0, NOISE_STD, (side_px, side_px, channels)).astype(np.float32)
    pixels: Pixels = np.clip(np.rint(clean[..., None] + noise), 0, 255).astype(np.uint8)
    return pixels


def matrix(subject: Subject, precision: Precision = "fp32") -> Contender:
    """The time of the net's matrix products alone."""
    import torch

    from unetmm.benchmark.matrix import depthwise_share, seconds_per_mpx

    torch.set_num_threads(1)  # each thread of ours calls it by itself
    config, setting = subject.model.config, subject.setting
    return Contender(
        run=lambda: None,
        seconds=lambda: seconds_per_mpx(config, setting.threads, precision) * setting.megapixels,
        peak_bytes=lambda: None,
        note=f"without the depthwise convolutions' {depthwise_share(config):.0%} of the "
        f"multiply-adds",
    )


def stream(subject: Subject) -> Contender:
    """The row stream from array to array, calibration included."""
    return _stream(subject, subject.options(), "calibration included")


def calibrated_stream(subject: Subject) -> Contender:
    """The row stream from array to array, with statistics that are known."""
    return _stream(subject, subject.options(calibration=subject.calibration), "calibration given")


def bf16_stream(subject: Subject) -> Contender:
    """The stream with the blocks' 1x1s in bfloat16, calibration included."""
    return _stream(subject, subject.options(precision="bf16"), "calibration included")


def bf16_matrix(subject: Subject) -> Contender:
    """The time of the net's matrix products alone, those of the blocks in bfloat16."""
    return matrix(subject, "bf16")


def _stream(subject: Subject, options: Options, note: str) -> Contender:
    image, loaded = subject.image, Loaded()
    loaded.fold(subject.model, options.engine)  # peers load their nets before, too

    def answer() -> Pixels:
        """Answer of the stream to floats, which are not rounded in the end."""
        known = subject.calibration
        entry = replace(known.entry(0, 0), low=0.0, high=1.0)
        exact = replace(known, entries={key: entry for key in known.entries})
        return restore_array(subject.scaled, replace(options, calibration=exact), "YXS", loaded)

    def run() -> None:
        restore_array(image, options, "YXS", loaded)

    return Contender(run, answer, note=note)


def nchw(subject: Subject) -> Contender:
    """The whole image through torch as it is, which is what every tool does."""
    return _plain(subject, channels_last=False)


def channels_last(subject: Subject) -> Contender:
    """The whole image through torch, in the memory layout that suits most processors better."""
    return _plain(subject, channels_last=True)


def _plain(subject: Subject, channels_last: bool) -> Contender:
    import torch

    net, pixels = subject.frozen_net(), subject.planar()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels = pixels.contiguous(memory_format=torch.channels_last)

    def run() -> Pixels:
        with torch.inference_mode():
            return interleaved(net(pixels))

    return Contender(run, note="whole image in one piece")


def interleaved(planar: torch.Tensor) -> Pixels:
    """(1, c, h, w) -> a view (h, w, c)."""
    pixels: Pixels = planar[0].permute(1, 2, 0).numpy()
    return pixels


@dataclass
class _Command:
    """`unetmm denoise` as a whole, in a process of its own."""

    subject: Subject
    source: Path
    output: Path
    peak: int = field(default=0)

    def run(self) -> None:
        files, report = self.subject.files, self.output.with_suffix(".json")
        command = [
            sys.executable, "-P", "-m", "unetmm_cli", "restore", str(self.source),
            "-o", str(self.output), "--model", str(files.model),
            "--cores", str(self.subject.setting.threads),
            "--overwrite", "--quiet", "--report", str(report),
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=process.child_environment()
        )
        if done.returncode:
            raise NotPossibleError(done.stderr.strip() or f"exit code {done.returncode}")
        self.peak = json.loads(report.read_text(encoding="utf-8"))["measured_peak_bytes"]


def file_to_file(subject: Subject) -> Contender:
    """The whole command from TIFF to TIFF."""
    command = _Command(subject, subject.files.tiff, subject.files.folder / "restored.tif")
    note = "whole command, deflate TIFF to TIFF"
    return Contender(command.run, peak_bytes=lambda: command.peak, note=note)


def start_up(subject: Subject) -> Contender:
    """The whole command on an image so small that starting is most of it."""
    command = _Command(subject, subject.files.png, subject.files.folder / "restored.png")
    return Contender(
        command.run, peak_bytes=lambda: command.peak, per_px=False,
        note=f"whole command, {START_PX} x {START_PX} PNG to PNG, in seconds",
    )  # fmt: skip


OWN: dict[str, tuple[str, Callable[[Subject], Contender]]] = {
    REFERENCE: ("plain NCHW forward", nchw),
    "channels-last": ("channels-last forward", channels_last),
    "stream": ("row stream", stream),
    "stream-calibrated": ("row stream, calibrated", calibrated_stream),
    "matrix": ("its matrix products", matrix),
    "stream-bf16": ("row stream, bf16", bf16_stream),
    "matrix-bf16": ("its matrix products, bf16", bf16_matrix),
    "file": ("file to file", file_to_file),
    "start": ("start-up", start_up),
}
"""Contenders in the order of measuring: key -> label and function that makes it ready."""
BF16 = "stream-bf16", "matrix-bf16"
"""Contenders that need a processor with bfloat16."""
