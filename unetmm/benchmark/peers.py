"""Other ways to run the same net on the same image, where they are installed.

Torch exports the net in the process in which a runtime is then measured, so about 300 MB of the
peak of OpenVINO and ONNX Runtime are not theirs.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.benchmark.contenders import Contender, NotPossibleError, Pixels, Subject, interleaved
from unetmm.benchmark.windows import Window, windows
from unetmm.engine.layouts import make_layout
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig

TRACE_PX = 64
"""Side of the image with which a net is exported."""
WINDOWS_AN_AXIS = (2, 3, 4, 6)
"""Windows along an axis that are tried where the fastest size is taken."""
TILER_PX, TILER_OVERLAP_PX = 512, 16
"""Side of a tile that fits most graphics cards, and chaiNNer's overlap."""
MONAI_ROI_PX, MONAI_OVERLAP = 512, 0.25

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Net in a runtime: (1, c, h, w) -> the same shape."""
Build = Callable[[int, int], Infer]
"""Maker of a net in a runtime, for images of a height and a width."""


@dataclass(frozen=True)
class Peer:
    """A peer, what it needs, and how it is made ready."""

    label: str
    packages: tuple[str, ...]
    prepare: Callable[[Subject], Contender]

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [p for p in self.packages if importlib.util.find_spec(p) is None]


def halo_px(config: NetConfig) -> int:
    """Pixels around a cut that come out wrong."""
    return make_layout(config, config.stride_px).halo_px


def openvino_runtime(subject: Subject) -> Build:
    """The net in OpenVINO, float32."""
    import openvino
    import torch

    channels = subject.model.config.in_channels
    with torch.inference_mode():
        example = torch.zeros(1, channels, TRACE_PX, TRACE_PX)
        exported = openvino.convert_model(subject.frozen_net(), example_input=example)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": subject.setting.threads,
    }

    def build(height: int, width: int) -> Infer:
        sized = exported.clone()
        sized.reshape([1, channels, height, width])
        compiled = openvino.Core().compile_model(sized, "CPU", settings)

        def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
            answer: NDArray[np.float32] = compiled(pixels)[0]
            return answer

        return infer

    return build


def onnx_runtime(subject: Subject) -> Build:
    """The net in ONNX Runtime, float32."""
    import logging

    import onnxruntime
    import torch

    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    net, channels = subject.frozen_net(), subject.model.config.in_channels
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = subject.setting.threads

    def build(height: int, width: int) -> Infer:
        path = subject.files.folder / f"net{height}x{width}.onnx"
        if not path.exists():
            example = torch.zeros(1, channels, height, width)
            program = torch.onnx.export(net, (example,), dynamo=True, verbose=False)
            assert program is not None, "the dynamo exporter gives a program"
            program.save(str(path))
        session = onnxruntime.InferenceSession(
            str(path), chosen, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name

        def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
            answer: NDArray[np.float32] = session.run(None, {name: pixels})[0]
            return answer

        return infer

    return build


def whole(runtime: Callable[[Subject], Build]) -> Callable[[Subject], Contender]:
    """A runtime on the whole image."""

    def prepared(subject: Subject) -> Contender:
        pixels = subject.planar().numpy()
        infer = runtime(subject)(*pixels.shape[2:])

        def run() -> Pixels:
            answer: Pixels = infer(pixels)[0].transpose(1, 2, 0)
            return answer

        return Contender(run, note="whole image in one piece")

    return prepared


def in_windows(runtime: Callable[[Subject], Build]) -> Callable[[Subject], Contender]:
    """A runtime on the windows with an exact halo that are fastest for it."""

    def prepared(subject: Subject) -> Contender:
        pixels = subject.planar().numpy()
        size, infer = fastest_window(subject, pixels, runtime(subject))
        cut = cut_into(subject, size)

        def run() -> Pixels:
            return tiled(infer, pixels, cut)

        halo = halo_px(subject.model.config)
        return Contender(run, note=f"windows of {size} px with a halo of {halo} px, the fastest")

    return prepared


def fastest_window(
    subject: Subject, pixels: NDArray[np.float32], build: Build
) -> tuple[int, Infer]:
    """The size of window whose run over the image would take least time, and its inference.

    Raises
    ------
    NotPossibleError
        If no window smaller than the image has room for its halo.
    """
    best = None
    for size in window_sizes(subject.model.config, subject.setting.side_px):
        cut = cut_into(subject, size)
        box = pixels[:, :, cut[0].y, cut[0].x]
        infer = build(*box.shape[2:])
        infer(box)
        start = time.perf_counter()
        infer(box)
        seconds = len(cut) * (time.perf_counter() - start)
        if best is None or seconds < best[0]:
            best = seconds, size, infer
    if best is None:
        raise NotPossibleError(
            f"a halo of {halo_px(subject.model.config)} px leaves no window smaller than "
            f"{subject.setting.side_px} px"
        )
    return best[1], best[2]


def window_sizes(config: NetConfig, side_px: int) -> list[int]:
    """Windows that cover an image a few times an axis, with nothing but their halos twice."""
    halo, stride = halo_px(config), config.stride_px
    sizes = [round_up(-(-(side_px + 2 * halo * (n - 1)) // n), stride) for n in WINDOWS_AN_AXIS]
    return [s for s in sizes if 2 * halo + stride <= s < side_px]


def cut_into(subject: Subject, size_px: int) -> list[Window]:
    """Windows with an exact halo over the image."""
    config, side = subject.model.config, subject.setting.side_px
    return windows((side, side), size_px, halo_px(config), config.stride_px)


def tiled(infer: Infer, pixels: NDArray[np.float32], cut: list[Window]) -> Pixels:
    """All windows one after the other: (1, c, h, w) -> (h, w, c)."""
    _, channels, height, width = pixels.shape
    out = np.empty((height, width, channels), np.float32)
    for window in cut:
        answer = infer(pixels[:, :, window.y, window.x])[0].transpose(1, 2, 0)
        out[window.keep_y, window.keep_x] = answer[window.inside_y, window.inside_x]
    return out


def dask_overlap(subject: Subject) -> Contender:
    """Dask's map_overlap with an exact halo around the reference net.

    At least a chunk for every thread.
    """
    config, setting = subject.model.config, subject.setting
    per_side = max(2, math.isqrt(setting.threads - 1) + 1)
    chunk = round_up(-(-setting.side_px // per_side), config.stride_px)
    halo = halo_px(config)
    pixels = subject.scaled

    def run() -> Pixels:
        return map_overlap(subject, pixels, chunk, halo, setting.threads)

    return Contender(run, note=f"chunks of {chunk} px with a halo of {halo} px, channels-last")


def map_overlap(
    subject: Subject, pixels: NDArray[np.float32], chunk: int, halo: int, workers: int
) -> Pixels:
    """The frozen reference net over (h, w, c) by Dask, `workers` chunks at once."""
    import dask
    import dask.array as da
    import torch

    net = subject.frozen_net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    threads = max(1, subject.setting.threads // workers)

    def forward(block: NDArray[np.float32]) -> NDArray[np.float32]:
        torch.set_num_threads(threads)
        planar = torch.from_numpy(np.ascontiguousarray(block)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return interleaved(net(planar))

    image = da.from_array(pixels, chunks=(chunk, chunk, -1))
    depth = {0: halo, 1: halo, 2: 0}
    mapped = da.map_overlap(
        forward, image, depth=depth, boundary="none", dtype=np.float32, meta=np.empty((0, 0, 0))
    )
    answer: Pixels = dask.compute(mapped, scheduler="threads", num_workers=workers)[0]
    return answer


def monai_sliding(subject: Subject) -> Contender:
    """MONAI's sliding window as its users run it: windows that are blended."""
    import torch
    from monai.inferers import sliding_window_inference

    net, pixels = subject.frozen_net(), subject.planar()
    roi = min(MONAI_ROI_PX, subject.setting.side_px)

    def run() -> Pixels:
        with torch.inference_mode():
            answer = sliding_window_inference(
                pixels, (roi, roi), 1, net, overlap=MONAI_OVERLAP, mode="gaussian"
            )
        return interleaved(answer)

    return Contender(run, note=f"windows of {roi} px, overlap {MONAI_OVERLAP:.0%}, blended")


def power_of_two_tiler(subject: Subject) -> Contender:
    """Tiles of a power of two with a small fixed overlap, as chaiNNer cuts; seams and all."""
    import torch

    net, pixels = subject.frozen_net(), subject.planar().numpy()
    side, stride = subject.setting.side_px, subject.model.config.stride_px
    size = TILER_PX
    cut = windows((side, side), size + 2 * TILER_OVERLAP_PX, TILER_OVERLAP_PX, stride)

    def infer(box: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer: NDArray[np.float32] = net(torch.from_numpy(box)).numpy()
            return answer

    def run() -> Pixels:
        return tiled(infer, pixels, cut)

    return Contender(run, note=f"tiles of {size} px, overlap {TILER_OVERLAP_PX} px")


PEERS: dict[str, Peer] = {
    "openvino": Peer("OpenVINO", ("openvino",), whole(openvino_runtime)),
    "openvino-tiled": Peer("OpenVINO, tiled", ("openvino",), in_windows(openvino_runtime)),
    "onnxruntime": Peer("ONNX Runtime", ("onnxruntime", "onnx", "onnxscript"), whole(onnx_runtime)),
    "onnxruntime-tiled": Peer(
        "ONNX Runtime, tiled", ("onnxruntime", "onnx", "onnxscript"), in_windows(onnx_runtime)
    ),
    "dask": Peer("Dask map_overlap", (), dask_overlap),
    "monai": Peer("MONAI sliding window", ("monai",), monai_sliding),
    "tiler": Peer("power-of-two tiler", (), power_of_two_tiler),
}
"""Peers by the name that --peer takes."""
