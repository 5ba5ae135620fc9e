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
HALF_TOLERANCE = 2e-2
"""Largest difference from a graph that computes with 16 bits, as a share of the answer's range."""
MOST_PX = 2**21
"""Most pixels of a graph's images that it is run on."""
LEAST_PX = (49, 61)
"""Least rows and columns of the image that both restore."""


class NotRunError(WeightsError):
    """A graph that onnxruntime cannot carry out."""


def compared(
    path: Path,
    ours: Callable[[Planes], Planes],
    size: tuple[int, ...],
    name: str,
    tolerance: float = TOLERANCE,
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

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(taken.type)
        batch = taken.shape[0] if isinstance(taken.shape[0], int) else 1
        if size[1] * size[2] * max(1, batch) > MOST_PX:
            raise NotRunError(f"{path}: it is made for {batch} images of {size[1]} x {size[2]} px")
        image = np.random.default_rng(0).random((1, *size), np.float32)
        images = np.repeat(image, max(1, batch), 0).astype(kind or np.float32)
        theirs = session.run(None, {taken.name: images})[0][:1].astype(np.float32)
    except NotRunError:
        raise
    except Exception as error:  # its own exceptions have no base class
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotRunError(f"{path}: onnxruntime cannot run the graph ({line[:200]})") from error
    mine = ours(image)
    if mine.shape != theirs.shape:
        raise WeightsError(
            f"{name}: our answer has the shape {mine.shape}, onnxruntime's {theirs.shape}; please "
            "report this net"
        )
    difference = float(np.abs(mine - theirs).max() / max(0.01, float(np.ptp(theirs))))
    if not difference <= tolerance:
        raise WeightsError(
            f"{name}: our answer differs from onnxruntime's by {difference:.2g} of its range; "
            "please report this net"
        )
    return difference


def difference_from(
    path: Path, model: Model, size_px: tuple[int, int], tolerance: float = TOLERANCE
) -> float:
    """The same between a graph that was read and the stream of its model.

    size_px : rows and columns that the graph was made for; 0: any.
    """
    from unetmm.engine.cpu.engine import CpuEngine

    config, net = model.config, CpuEngine().fold(model.config, model.tensors)
    least = (round_up(n, config.stride_px) for n in LEAST_PX)
    rows, columns = (n or each for n, each in zip(size_px, least, strict=True))

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
    return compared(path, ours, (config.in_channels, rows, columns), model.name, tolerance)


def shuffled(answer: NDArray[np.float32], scale: int) -> Planes:
    """(rows, columns, channels * scale * scale) -> (channels, scale * rows, scale * columns)."""
    h, w, n = answer.shape
    cells = answer.reshape(h, w, n // scale**2, scale, scale).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(cells.reshape(n // scale**2, h * scale, w * scale))
