"""An ONNX graph in onnxruntime beside our own answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.finals import finish_rows
from unetmm.errors import WeightsError
from unetmm.foreign.found import USUAL_VALUES, ForeignNet, Values
from unetmm.geometry import round_up
from unetmm.io.enlarged import unshuffled
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
    axes: tuple[int, ...] = (0, 1, 2, 3),
    values: Values = USUAL_VALUES,
    gives_image: bool = True,
) -> float:
    """Largest difference of two answers to a random image, as a share of their range.

    ours : gives the answer to (1, channels, rows, columns).
    size : channels, rows and columns of the image.
    axes : order in which the graph has images, channels, rows and columns.
    values : that the graph sees of ours, and gives, where its answer is an image.

    Raises
    ------
    WeightsError
        If they differ by more than rounding.
    NotRunError
        If onnxruntime cannot carry the graph out.
    """
    image = np.random.default_rng(0).random((1, *size), np.float32)
    theirs = _run(path, values.seen(image), axes)
    if gives_image:
        theirs = values.back(theirs)
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


def _run(path: Path, image: Planes, axes: tuple[int, ...]) -> Planes:
    """What onnxruntime makes of an image."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(taken.type)
        batch = max(1, taken.shape[0]) if isinstance(taken.shape[0], int) else 1
        images = np.repeat(image, batch, 0).astype(kind or np.float32).transpose(axes)
        given = session.run(None, {taken.name: np.ascontiguousarray(images)})[0]
        theirs: Planes = given.transpose(np.argsort(axes))[:1].astype(np.float32)
    except Exception as error:  # its own exceptions have no base class
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotRunError(f"{path}: onnxruntime cannot run the graph ({line[:200]})") from error
    return theirs


def difference_from(path: Path, model: Model, found: ForeignNet) -> float:
    """The same between a graph that was read and the stream of its model.

    found : what was read of the graph.
    """
    from unetmm.engine.cpu.engine import CpuEngine

    assert found.size_px is not None, "it has them where it is a graph"
    tolerance = HALF_TOLERANCE if found.is_half else TOLERANCE
    config, net = model.config, CpuEngine().fold(model.config, model.tensors)
    least = (round_up(n, config.stride_px) for n in LEAST_PX)
    rows, columns = (n or each for n, each in zip(found.size_px, least, strict=True))

    def ours(image: Planes) -> Planes:
        band = round_up(16, config.stride_px)
        stream = net.open_stream({}, columns, rows, band)
        pixels = np.ascontiguousarray(image[0].transpose(1, 2, 0))
        bands = [each.copy() for each in stream.push(pixels)]
        bands += [each.copy() for each in stream.flush()]
        answer = unshuffled(np.concatenate(bands), config.output_scale)
        finish_rows(answer, config.final)
        return answer.transpose(2, 0, 1)[None]

    if rows % config.stride_px or columns % config.stride_px:
        raise WeightsError(
            f"{path}: it was made for images of {rows} x {columns} px, which its own steps of "
            f"{config.stride_px} px do not divide; export it for another size"
        )
    if rows * columns > MOST_PX:
        raise NotRunError(f"{path}: it is made for images of {rows} x {columns} px")
    return compared(
        path, ours, (config.in_channels, rows, columns), model.name, tolerance, found.axes,
        found.values, config.gives == "image",
    )  # fmt: skip
