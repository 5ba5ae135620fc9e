"""Images of other libraries as arrays, and the way back: xarray, PIL, torch, masked by NaN.

A library is never imported here: who gives its image has imported it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError, ShapeError

log = logging.getLogger(__name__)

_DIMENSIONS = {
    "T": ("t", "time", "frame", "frames"),
    "C": ("c", "ch", "channel", "channels", "band", "bands", "wavelength"),
    "Z": ("z", "depth", "plane", "planes", "slice"),
    "Y": ("y", "lat", "latitude", "northing", "row", "rows", "height"),
    "X": ("x", "lon", "long", "longitude", "easting", "col", "column", "columns", "width"),
    "S": ("s", "sample", "samples", "rgb", "rgba", "colour", "color"),
}
"""Letter of an axis -> names, in small letters, that dimensions of xarray have for it."""
_PIL_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I", "F")


@dataclass(frozen=True)
class Given:
    """An image as somebody gave it."""

    pixels: Any
    """Pixels as a NumPy or Dask array."""
    axes: str | None
    """Letters of the axes; None where they are to be guessed."""
    nodata: float | None
    """Value of pixels that hold no measurement, as the image says it; None where it does not."""
    back: Callable[[Any, str], Any]
    """Function that makes the same kind of image of restored pixels, with their axes where these
    are others than the image's."""


def as_given(image: Any, axes: str | None = None) -> Given:
    """An image of whatever kind.

    Parameters
    ----------
    axes : what the caller says; it has precedence over what the image says.

    Raises
    ------
    ImageError
        If it is of no kind that is known, or of one that would lose something.
    ShapeError
        If its dimensions have names that are not known.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise ImageError(
            "the mask of a masked array would be lost; give image.filled(numpy.nan) as floats, "
            "whose NaN stay as they are"
        )
    if isinstance(image, np.ndarray) or is_dask_array(image):
        return Given(image, axes, None, lambda pixels, axes: pixels)
    for (package, name), take in _TAKEN.items():
        if _is_a(image, package, name):
            return take(image, axes)
    raise ImageError(
        f"cannot restore a {type(image).__name__}; give a NumPy or Dask array, an "
        "xarray.DataArray, a PIL image, a torch tensor, a list of such images, or a path"
    )


def is_dask_array(image: Any) -> bool:
    """Whether this is a Dask array, without importing Dask."""
    return type(image).__module__.startswith("dask.array")


def is_list_of_images(image: Any) -> bool:
    """Whether this is a list or tuple of images, not of numbers."""
    return isinstance(image, (list, tuple)) and bool(image) and all(map(_is_image, image))


def _is_image(image: Any) -> bool:
    known = isinstance(image, np.ndarray) or is_dask_array(image)
    return known or any(_is_a(image, *kind) for kind in _TAKEN)


def _is_a(image: Any, package: str, name: str) -> bool:
    """Whether an image is of a class of some name in a package, or of one made from it."""
    return any(
        cls.__name__ == name and cls.__module__.partition(".")[0] == package
        for cls in type(image).__mro__
    )


def _of_xarray(image: Any, axes: str | None) -> Given:
    """A DataArray; coordinates, attributes and name come back."""
    nodata = image.attrs.get("_FillValue", image.attrs.get("nodata"))
    known = None if nodata is None else float(nodata)
    named = axes or _axes_of(tuple(map(str, image.dims)))

    def back(pixels: Any, axes: str) -> Any:
        if axes:
            return _of_maps(image, pixels, dict(zip(named, image.dims, strict=True)), axes)
        if pixels.shape == image.shape:
            return image.copy(data=pixels)
        coordinates = dict(_enlarged_coordinates(image, pixels.shape))
        return type(image)(pixels, coordinates, image.dims, image.name, image.attrs)

    return Given(image.data, named, known, back)


def _of_maps(image: Any, pixels: Any, dims: dict[str, Any], axes: str) -> Any:
    """A DataArray of maps of another: coordinates of the axes that stayed."""
    names = [dims.get(axis, "channel" if axis == "C" else axis.lower()) for axis in axes]
    sizes = dict(zip(names, pixels.shape, strict=True))
    kept = {
        name: coordinate
        for name, coordinate in image.coords.items()
        if all(sizes.get(d) == n for d, n in zip(coordinate.dims, coordinate.shape, strict=True))
    }
    return type(image)(pixels, kept, names, image.name)


def _enlarged_coordinates(image: Any, shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Name and values of the coordinates of a DataArray that was enlarged to a shape."""
    sizes = dict(zip(image.dims, zip(image.shape, shape, strict=True), strict=True))
    for name, coordinate in image.coords.items():
        changed = [sizes[d] for d in coordinate.dims if sizes[d][0] != sizes[d][1]]
        if not changed:
            yield name, coordinate
        elif coordinate.dims == (name,) and coordinate.dtype.kind in "iuf":
            (before, after) = changed[0]
            values = _finer(np.asarray(coordinate.data, float), after // before)
            yield name, (name, values, coordinate.attrs)
        else:
            log.warning("the coordinate %s fits the image's own size only and is left out", name)


def _finer(centres: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Centres of pixels that are each a part of one of those with these centres."""
    if len(centres) < 2:
        return centres.repeat(scale)
    at = (np.arange(len(centres) * scale) + 0.5) / scale - 0.5
    left = np.clip(np.floor(at).astype(int), 0, len(centres) - 2)
    return np.asarray(centres[left] + (at - left) * (centres[left + 1] - centres[left]))


def _axes_of(dimensions: tuple[str, ...]) -> str:
    """Letters of dimensions by their names."""
    letters = {name: axis for axis, names in _DIMENSIONS.items() for name in names}
    found = [letters.get(name.lower(), "") for name in dimensions]
    if not all(found) or len(set(found)) < len(found):
        raise ShapeError(
            f"dimensions {', '.join(dimensions)} are not all known; name them t, c, z, y, x, or "
            'give axes="..." with a letter of TCZYXS for each'
        )
    return "".join(found)


def _of_pil(image: Any, axes: str | None) -> Given:
    """A PIL image; what it carries beside its pixels comes back."""
    if image.mode not in _PIL_MODES:
        wanted = "RGBA" if image.mode in ("PA", "RGBa") else "RGB"
        raise ImageError(
            f'a PIL image of mode {image.mode} has no samples to restore; give image.convert("'
            f'{wanted if image.mode != "1" else "L"}")'
        )

    def back(pixels: Any, axes: str) -> Any:
        from PIL import Image

        try:
            made = Image.fromarray(pixels)
        except TypeError:
            raise ImageError(
                f"a PIL image cannot hold {pixels.dtype} of {pixels.ndim} axes; give a NumPy array"
            ) from None
        made.info = dict(image.info)
        return made

    pixels = np.asarray(image)
    return Given(pixels, axes or ("YXS" if pixels.ndim == 3 else "YX"), None, back)


def _of_torch(image: Any, axes: str | None) -> Given:
    """A tensor, colours before rows as torch has them; its device and type come back."""
    import torch

    if not axes:
        axes = _tensor_axes(tuple(image.shape))
    detached = image.detach().cpu()
    pixels = (detached.float() if image.dtype is torch.bfloat16 else detached).numpy()

    def back(restored: Any, axes: str) -> Any:
        made = torch.from_numpy(np.ascontiguousarray(restored)).to(image.device)
        return made.to(image.dtype) if image.dtype is torch.bfloat16 and not axes else made

    return Given(pixels, axes, None, back)


def _tensor_axes(shape: tuple[int, ...]) -> str:
    """(rows, columns), (colours, rows, columns) or (images, colours, rows, columns)."""
    if len(shape) == 2:
        return "YX"
    if len(shape) in (3, 4) and shape[-3] in (1, 3):
        return ("T" if len(shape) == 4 else "") + ("S" if shape[-3] == 3 else "C") + "YX"
    raise ShapeError(
        f"a tensor of shape {shape} is no image of 1 or 3 colours, (colours, rows, columns) or "
        '(images, colours, rows, columns); give axes="..." with a letter of TCZYXS for each'
    )


_TAKEN = {
    ("xarray", "DataArray"): _of_xarray,
    ("PIL", "Image"): _of_pil,
    ("torch", "Tensor"): _of_torch,
}
"""Package and name of a class of images -> what makes arrays of them."""
