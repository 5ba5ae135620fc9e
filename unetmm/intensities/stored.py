"""From the net's scale back to values as an image stores them: moved, rounded, clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.range import ValueScale, fits_float32, normalise
from unetmm.intensities.rounding import Losses, RoundingChoice, Spot, clip_to, may_clip, round_rows
from unetmm.intensities.validity import NoData, keep_measured, valid_mask


@dataclass(frozen=True)
class Storing:
    """How restored values are stored; by default as the input has them."""

    dtype: np.dtype[Any] | None = None
    """Pixel type of the output; None: that of the input. Values keep their scale."""
    rounding: RoundingChoice = "nearest"
    """Way in which values become integers."""

    def type_of(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Pixel type of the output of an input with this type."""
        return dtype if self.dtype is None else self.dtype


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
    spot: Spot | None = None,
) -> Losses:
    """Give the restored values of some rows, as the output stores them.

    What is not measured stays as it is, and so does what the net does not change.

    Parameters
    ----------
    answer : (rows, at least width, channels), C-contiguous
        The net's, on its scale; `first_column` belongs to `original`.
    original : (rows, width, channels)
        As stored.
    strength : 0 gives `original`, 1 the net's answer.
    nodata : what tells samples that hold no measurement; the output has the same.
    given : (rows, width), the mask that came with the pixels; None if all are measured.
    scratch : (rows, width, channels), C-contiguous
        Room to work in.
    out : (rows, width, channels), of the output's dtype
        Where that is the input's, nothing counts as lost.
    spot : place of the rows, where integers are dithered.
    """
    spot = spot if out.dtype.kind != "f" else None
    mask = _some_unmeasured(original, nodata, given)
    if mask is None and fits_float32(original.dtype) and fits_float32(out.dtype):
        losses = _move((answer, first_column), original, scale, strength, scratch, out, spot)
    else:
        if scale.samples:
            values = _unbent((answer, first_column), original, scale, strength, scratch)
        else:
            normalise(original, mask, scale, scratch)
            columns = slice(first_column, first_column + original.shape[1])
            change = np.subtract(answer[:, columns], scratch, out=scratch)
            values = changed(original, change, (scale.high - scale.low) * strength)
        losses = _put(values, original, mask, nodata, out, spot)
    if nodata.stated and out.dtype == original.dtype:
        keep_measured(out, original, nodata)
    elif nodata.stated:
        _step_aside(out, original, nodata, given)
    return losses


def _some_unmeasured(
    original: NDArray[Any], nodata: NoData, given: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Where pixels are measured; None if all are."""
    mask = valid_mask(original, nodata, given)
    return None if mask is None or mask.all() else mask


def _move(
    answer: tuple[NDArray[np.float32], int],
    original: NDArray[Any],
    scale: ValueScale,
    strength: float,
    scratch: NDArray[np.float32],
    out: NDArray[Any],
    spot: Spot | None,
) -> Losses:
    """In one compiled pass, where every pixel is measured and float32 holds all values.

    answer : the net's, and the column of it that belongs to `original`.
    """
    # Numba is loaded when the first rows are done: a plan needs this package without it.
    from unetmm.intensities.kernel import move_bent, move_stored

    same = out.dtype == original.dtype and out.dtype != np.float16
    at_once = spot is None and (same or not may_clip(original.dtype, out.dtype))
    kind = out.dtype if at_once else scratch.dtype
    scratch[...] = original
    if scale.samples:
        move_bent(scratch, *answer, scale.samples, strength, kind)
    else:
        move_stored(scratch, *answer, scale.low, scale.high, strength, kind)
    losses = Losses() if at_once else _to_limits(scratch, original.dtype, out.dtype, spot)
    np.copyto(out, scratch, casting="unsafe")
    return losses


def _unbent(
    answer: tuple[NDArray[np.float32], int],
    original: NDArray[Any],
    scale: ValueScale,
    strength: float,
    scratch: NDArray[np.float32],
) -> NDArray[np.floating[Any]]:
    """Restored values where samples have scales of their own, not yet rounded."""
    from unetmm.intensities.kernel import move_bent

    values: NDArray[np.floating[Any]] = scratch
    if fits_float32(original.dtype):
        scratch[...] = original
    else:
        values = original.astype(np.float64, order="C")
    with np.errstate(invalid="ignore"):
        move_bent(values, *answer, scale.samples, strength, values.dtype)
    return values


def _put(
    values: NDArray[np.floating[Any]],
    original: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    nodata: NoData,
    out: NDArray[Any],
    spot: Spot | None,
) -> Losses:
    """Store restored values, which are used up; pixels without a measurement stay."""
    integers = out.dtype.kind != "f"
    if integers and out.dtype.itemsize == 4:
        values = values.astype(np.float64, copy=False)  # or its limits would be rounded
    if mask is not None and integers:
        values[~mask] = 0
    losses = _to_limits(values, original.dtype, out.dtype, spot)
    with np.errstate(over="ignore"):  # of pixels that are not measured
        np.copyto(out, values, casting="unsafe")
    if mask is not None:
        _keep_unmeasured(out, original, mask, nodata, losses)
    return losses


def _to_limits(
    values: NDArray[np.floating[Any]],
    source: np.dtype[Any],
    target: np.dtype[Any],
    spot: Spot | None,
) -> Losses:
    """Bring values into a type's limits in place, rounded for integers."""
    if target.kind != "f":
        round_rows(values, spot)
    return Losses(clip_to(values, source, target))


def _keep_unmeasured(
    out: NDArray[Any],
    original: NDArray[Any],
    mask: NDArray[np.bool_],
    nodata: NoData,
    losses: Losses,
) -> None:
    """Pixels without a measurement stay; what integers cannot hold of them becomes nodata or 0."""
    lost = ~mask
    if out.dtype.kind == "f" or out.dtype == original.dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            out[lost] = original[lost].astype(out.dtype)
        return
    limits = np.iinfo(out.dtype)
    values = original[lost]
    with np.errstate(invalid="ignore"):
        whole = np.rint(values) if values.dtype.kind == "f" else values
        fits = (whole >= limits.min) & (whole <= limits.max)
    value = next((v for v in nodata.values if _is_in(v, out.dtype)), None)
    stands = int(value or 0)
    out[lost] = np.where(fits, whole, stands).astype(out.dtype)
    if value is None:
        losses.unmeasured += int(np.count_nonzero(~fits))


def _is_in(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a type of integers has a value."""
    limits = np.iinfo(dtype)
    return np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max


def _step_aside(
    out: NDArray[Any],
    original: NDArray[Any],
    nodata: NoData,
    given: NDArray[np.bool_] | None,
) -> None:
    """As `keep_measured`, for an output of another type than the input's."""
    measured = valid_mask(original, nodata, given)
    assert measured is not None, "something is said of values"
    if nodata.in_range:
        keep_measured(out, original, replace(nodata, bands=()))
    several = len(nodata.bands) > 1
    for i, values in enumerate(nodata.bands):
        where: Any = (..., i) if several else ...
        for value in values:
            _step_off(out[where], original[where], measured[where], value)


def _step_off(
    out: NDArray[Any], original: NDArray[Any], measured: NDArray[np.bool_], nodata: float
) -> None:
    """Move what became one value to a neighbour of it, on the side of the original."""
    hit = measured & (out == nodata)
    if not hit.any():
        return
    above = original[hit] > nodata
    if out.dtype.kind == "f":
        far = np.where(above, np.inf, -np.inf).astype(out.dtype)
        out[hit] = np.nextafter(out[hit], far)
        return
    limits = np.iinfo(out.dtype)
    up = (above | (nodata == limits.min)) & (nodata != limits.max)
    out[hit] = np.where(up, int(nodata) + 1, int(nodata) - 1).astype(out.dtype)


def opacity_as(alpha: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Opacity in another type of the same kind: the largest unsigned value, or 1, is opaque."""
    if alpha.dtype == dtype or dtype.kind == "f":
        return alpha.astype(dtype, copy=False)
    factor = np.iinfo(dtype).max / np.iinfo(alpha.dtype).max
    scaled: NDArray[Any] = np.rint(alpha * np.float64(factor)).astype(dtype)
    return scaled


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


def keep_even(out: NDArray[Any], original: NDArray[Any], even: Sequence[float]) -> None:
    """Give back pixels with the one value of an even image, by sample, where the type has it."""
    for i, value in enumerate(even):
        if out.dtype.kind != "f" and not _is_in(value, out.dtype):
            continue
        for stored, made in zip(original[..., i], out[..., i], strict=True):
            made[stored == original.dtype.type(value)] = value


def keep_saturated(out: NDArray[Any], original: NDArray[Any], levels: Sequence[float]) -> None:
    """Give back pixels at which a sensor saturated, and let no other exceed them, by sample.

    levels : stored value at which it does; infinite where it does not.
    """
    for i, level in enumerate(levels):
        if not math.isfinite(level) or (out.dtype.kind != "f" and not _is_in(level, out.dtype)):
            continue
        stored, made = original[..., i], out[..., i]
        full = stored >= original.dtype.type(level)
        np.minimum(made, out.dtype.type(level), out=made, where=~full)
        np.copyto(made, stored, casting="unsafe", where=full)


def keep_from_sinking(
    out: NDArray[Any],
    original: NDArray[Any],
    nodata: NoData,
    given: NDArray[np.bool_] | None,
    floor: float,
) -> None:
    """Bring measured values that sank below a floor up to it, or to the stored value where that is
    below: edges that are sharpened swing too far.

    nodata, given : as for `to_stored`.
    """
    if out.dtype.kind == "u" or not (swung := (out < floor)).any():
        return
    if (measured := valid_mask(original, nodata, given)) is not None:
        swung &= measured
    out[swung] = np.maximum(out[swung], np.minimum(original[swung], floor))


def clipped(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in another pixel type, at its limits where it cannot hold them."""
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if values.dtype == np.float16:  # which does not hold the limits of 16 bits
        values = values.astype(np.float32)
    with np.errstate(invalid="ignore"):  # of NaN, which the caller knows
        held: NDArray[Any] = np.clip(values, limits.min, limits.max).astype(dtype)
    return held
