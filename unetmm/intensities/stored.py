"""From the net's scale back to values as an image stores them: moved, rounded, clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.range import ValueScale, fits_float32, normalise
from unetmm.intensities.validity import NoData, keep_measured, valid_mask


def to_stored(
    answer: NDArray[np.float32],
    first_column: int,
    original: NDArray[Any],
    scale: ValueScale,
    strength: float,
    nodata: NoData,
    given: NDArray[np.bool_] | None,
    scratch: NDArray[np.float32],
    out: NDArray[Any],
) -> None:
    """Give the restored values of some rows, as the image stores them.

    What is not measured stays as it is, and so does what the net does not change.

    Parameters
    ----------
    answer : (rows, at least width, channels), C-contiguous
        The net's, on its scale; `first_column` belongs to `original`.
    original : (rows, width, channels)
        As stored.
    strength : 0 gives `original`, 1 the net's answer.
    nodata : what tells samples that hold no measurement.
    given : (rows, width), the mask that came with the pixels; None if all are measured.
    scratch : (rows, width, channels), C-contiguous
        Room to work in.
    out : (rows, width, channels), of the image's dtype
    """
    mask = valid_mask(original, nodata, given)
    if (mask is None or mask.all()) and fits_float32(out.dtype):
        # Numba is loaded when the first rows are done: a plan needs this package without it.
        from unetmm.intensities.kernel import move_stored

        scratch[...] = original
        move_stored(scratch, answer, first_column, scale.low, scale.high, strength, out.dtype)
        np.copyto(out, scratch, casting="unsafe")
    else:
        normalise(original, mask, scale, scratch)
        columns = slice(first_column, first_column + original.shape[1])
        change = np.subtract(answer[:, columns], scratch, out=scratch)
        values = changed(original, change, (scale.high - scale.low) * strength)
        restored = to_dtype(values, out.dtype)
        out[...] = restored if mask is None else np.where(mask, restored, original)
    if nodata.stated:
        keep_measured(out, original, nodata)


def changed(
    stored: NDArray[Any], change: NDArray[np.float32], factor: float
) -> NDArray[np.floating[Any]]:
    """Stored values moved by what the net changed; where it changed nothing they stay bit for bit.

    Wide types are added in float64, or their low digits would be lost although the net, which
    sees float32, has nothing to say about them.
    """
    if not fits_float32(stored.dtype):
        moved: NDArray[np.float64] = stored + change * np.float64(factor)
        return moved
    change *= np.float32(factor)
    change += stored
    return change


def to_dtype(values: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round and clip to the limits of an integer dtype, using up `values`; floats are only
    converted.
    """
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    np.rint(values, out=values)
    return np.clip(values, limits.min, limits.max, out=values).astype(dtype)
