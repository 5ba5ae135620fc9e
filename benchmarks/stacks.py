"""Nets that are lists of layers: our stream beside torch and onnxruntime, in turns, two threads.

    python benchmarks/stacks.py

Nets of the shapes of DnCNN, FFDNet and SPAN with random weights, on square images of random pixels.
Needs the extras torch and onnx, onnxscript and onnxruntime.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from unetmm.engine.cpu.engine import CpuEngine
from unetmm.foreign.builder import Builder, Value
from unetmm.foreign.export import export_onnx
from unetmm.models.weights import Model
from unetmm.nets.shapes import macs_per_px

THREADS = 2
ROUNDS = 5
BAND_ROWS = 32


def conv(b: Builder, x: Value, n: int, k: int = 3) -> Value:
    """A convolution with random weights of a quiet size."""
    shape = n, x.channels, k, k
    weight = np.random.default_rng(len(b.layers)).normal(0, (x.channels * k * k) ** -0.5, shape)
    return b.conv(x, weight.astype(np.float32))


def dncnn() -> tuple[Builder, Value]:
    """17 convolutions of 64 channels, at the image's size."""
    b = Builder(1)
    x = b.image
    for _ in range(16):
        x = b.activation(conv(b, x, 64), "relu")
    return b, b.add(b.image, conv(b, x, 1), (1.0, -1.0), last=True)


def ffdnet() -> tuple[Builder, Value]:
    """12 convolutions of 96 channels, at half the image's size."""
    b = Builder(3)
    x = b.unshuffle(b.image, 2)
    for _ in range(11):
        x = b.activation(conv(b, x, 96), "relu")
    return b, b.shuffle(conv(b, x, 12), 2)


def span() -> tuple[Builder, Value]:
    """Six blocks of three convolutions of 48 channels, attention by themselves; twice as large."""
    b = Builder(3)
    first = x = conv(b, b.image, 48)
    outputs = []
    for _ in range(6):
        hidden = b.activation(conv(b, x, 48), "silu")
        third = conv(b, b.activation(conv(b, hidden, 48), "silu"), 48)
        attention = b.scaled(b.activation(third, "sigmoid"), 1.0, -0.5)
        x = b.multiply(b.add(third, x), attention)
        outputs.append(x)
    joined = conv(b, b.concat((first, conv(b, x, 48), outputs[0], hidden)), 48, 1)
    return b, b.shuffle(conv(b, joined, 12), 2)


def measure(name: str, make: Callable[[], tuple[Builder, Value]], side_px: int) -> str:
    """A row of the table."""
    builder, value = make()
    config, tensors = builder.finish(value)
    model = Model(name, config, {}, None, tensors)
    image = np.random.default_rng(0).random((1, config.in_channels, side_px, side_px), np.float32)
    rows = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    folded = CpuEngine().fold(config, tensors)
    net = model.net.to(memory_format=torch.channels_last)
    planar = torch.from_numpy(image).to(memory_format=torch.channels_last)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(model, Path(folder) / "net.onnx").path
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def ours() -> None:
        stream = folded.open_stream({}, side_px, side_px, BAND_ROWS, THREADS)
        for bands in (stream.push(rows), stream.flush()):
            for _ in bands:
                pass

    def by_torch() -> None:
        with torch.inference_mode():
            net(planar)

    ways = [ours, by_torch, lambda: session.run(None, {"image": image})]
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(ROUNDS + 1):
        for way, found in zip(ways, seconds, strict=True):
            begun = time.perf_counter()
            way()
            if turn:  # the first one warms up
                found.append(time.perf_counter() - begun)
    factors = [
        sorted(other / own for own, other in zip(seconds[0], found, strict=True))
        for found in seconds[1:]
    ]
    own_s = statistics.median(seconds[0])
    rate = macs_per_px(config) * side_px**2 / own_s / THREADS / 1e9
    texts = [f"{statistics.median(f):.2f} ({f[0]:.2f} to {f[-1]:.2f})" for f in factors]
    kmac = macs_per_px(config) / 1000
    return f"| {name} | {side_px} | {kmac:.0f} | {own_s:.2f} | {rate:.0f} | {' | '.join(texts)} |\n"


def main() -> int:
    """Print a table: how many times as long the others take."""
    torch.set_num_threads(THREADS)
    sys.stdout.write(
        "| net | side px | kMAC/px | ours s | GMAC/s a core | torch | onnxruntime |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    for name, make, side_px in (
        ("DnCNN", dncnn, 512),
        ("FFDNet", ffdnet, 1024),
        ("SPAN", span, 384),
    ):
        sys.stdout.write(measure(name, make, side_px))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
