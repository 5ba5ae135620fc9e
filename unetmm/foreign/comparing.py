"""An ONNX graph in onnxruntime beside our own answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.geometry import round_up
from unetmm.models.weights import Model

Planes = NDArray[np.float32]
TOLERANCE = 1e-4
"""Largest difference, as a share of the answer's range."""
LEAST_PX = 48
"""Least rows and columns of the image that both restore."""


class NotRunError(WeightsError):
    """A graph that onnxruntime cannot carry out."""


def compared(
    path: Path, ours: Callable[[Planes], Planes], size: tuple[int, ...], name: str
) -> float:
    """Largest difference of two answers to a random image, as a share of their range.

    ours : gives the answer to (1, channels, rows, columns).
    size : channels, rows and columns of the image.

    Raises
    ------
    WeightsError
        If they differ by more than rounding.
    NotRunError
        If onnxruntime cannot carry the graph out.
    """
    import onnxruntime

    image = np.random.default_rng(0).random((1, *size), np.float32)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        theirs = session.run(None, {session.get_inputs()[0].name: image})[0]
    except Exception as error:  # its own exceptions have no base class
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotRunError(f"{path}: onnxruntime cannot run the graph ({line[:200]})") from error
    mine = ours(image)
    difference = float(np.abs(mine - theirs).max() / max(1.0, float(np.ptp(theirs))))
    if mine.shape != theirs.shape or not difference <= TOLERANCE:
        raise WeightsError(
            f"{name}: our answer differs from onnxruntime's by {difference:.2g} of its range; "
            "please report this net"
        )
    return difference


def difference_from(path: Path, model: Model, size_px: tuple[int, int]) -> float:
    """The same between a graph that was read and the stream of its model.

    size_px : rows and columns that the graph was made for; 0: any.
    """
    from unetmm.engine.cpu.engine import CpuEngine

    config, net = model.config, CpuEngine().fold(model.config, model.tensors)
    rows, columns = (n or round_up(LEAST_PX, config.stride_px) for n in size_px)

    def ours(image: Planes) -> Planes:
        band = round_up(16, config.stride_px)
        stream = net.open_stream({}, columns, rows, band)
        pixels = np.ascontiguousarray(image[0].transpose(1, 2, 0))
        bands = [each.copy() for each in stream.push(pixels)]
        bands += [each.copy() for each in stream.flush()]
        return shuffled(np.concatenate(bands), config.output_scale)[None]

    if rows % config.stride_px or columns % config.stride_px:
        raise WeightsError(
            f"{path}: it was made for images of {rows} x {columns} px, which its own steps of "
            f"{config.stride_px} px do not divide; export it for another size"
        )
    return compared(path, ours, (config.in_channels, rows, columns), model.name)


def shuffled(answer: NDArray[np.float32], scale: int) -> Planes:
    """(rows, columns, channels * scale * scale) -> (channels, scale * rows, scale * columns)."""
    h, w, n = answer.shape
    cells = answer.reshape(h, w, n // scale**2, scale, scale).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(cells.reshape(n // scale**2, h * scale, w * scale))
