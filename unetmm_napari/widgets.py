"""What napari shows as panels: it makes them of the functions' parameters.

A result is (pixels, settings, "image"), as napari takes layers from its plugins. Panels are made of
the annotations, so those of this module are objects, but for napari's own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from unetmm.errors import ImageError
from unetmm.models.weights import load_model, zoo_models

if TYPE_CHECKING:
    import napari

AUTO = "auto"
"""Choice of a denoiser by looking at the image."""


def model_names(widget: Any = None) -> list[str]:
    """What a panel offers."""
    return [AUTO, *zoo_models()]


Model = Annotated[str, {"choices": model_names}]
"""Name of a model, chosen from a list."""
Strength = Annotated[float, {"widget_type": "FloatSlider", "min": 0.0, "max": 1.0}]
"""Share of the change that is kept, as a slider."""
AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
"""Axes of a layer without colours by their number; napari does not name them."""
_KEPT = ("colormap", "contrast_limits", "gamma", "blending", "rgb")
"""Settings of a layer that its restored copy gets too."""


def restore_layer(
    layer: "napari.layers.Image", model: Model = AUTO, strength: Strength = 1.0
) -> "napari.types.LayerDataTuple":
    """A restored copy of a layer; planes are computed when they are looked at."""
    import dask.array as da

    import unetmm

    pixels, axes = _pixels_of(layer)
    if not isinstance(pixels, da.Array):
        pixels = da.from_array(pixels, chunks=_planes(pixels.shape, axes))
    restored = unetmm.restore(pixels, model, axes=axes, strength=strength)
    return restored, _settings(layer, f"{layer.name} restored", _scale(model), axes), "image"


def preview_view(
    viewer: "napari.Viewer",
    layer: "napari.layers.Image",
    model: Model = AUTO,
    strength: Strength = 1.0,
) -> "napari.types.LayerDataTuple":
    """The part of a layer that is in view, restored as in the whole plane."""
    import unetmm

    pixels, axes = _pixels_of(layer)
    rows, columns = axes.index("Y"), axes.index("X")
    step = tuple(viewer.dims.current_step)[-len(axes.rstrip("S")) :]
    plane = np.asarray(pixels[step[:rows]])  # what a film or a stack shows now
    (y0, x0), (y1, x1) = (corner[[rows, columns]] for corner in np.asarray(layer.corner_pixels))
    y0, x0 = max(0, int(y0)), max(0, int(x0))
    box = x0, y0, min(int(x1) + 1, plane.shape[1]) - x0, min(int(y1) + 1, plane.shape[0]) - y0
    if min(box[2:]) < 1:
        raise ImageError(f"no part of {layer.name} is in view; move or zoom to it")
    found = unetmm.preview(plane, [box], model, strength, axes=axes[rows:])
    (restored,) = found.takes[0].pixels
    restored = restored if "S" in axes else restored[..., 0]
    scale = _scale(model)
    settings = _settings(layer, f"{layer.name} preview", scale, axes)
    size, at = np.asarray(layer.scale, float), np.array(settings["translate"])
    at[[rows, columns]] += np.array([y0, x0]) * size[[rows, columns]]
    flat = [rows, columns]
    settings |= {"translate": at[flat], "scale": np.asarray(settings["scale"])[flat]}
    return restored, settings, "image"


def _pixels_of(layer: Any) -> tuple[Any, str]:
    """The pixels of a layer at full resolution, and its axes."""
    pixels = layer.data[0] if layer.multiscale else layer.data
    ndim = len(pixels.shape) - bool(layer.rgb)
    if ndim not in AXES:
        raise ImageError(f"{layer.name}: has {ndim} axes; give a layer of two to five")
    return pixels, AXES[ndim] + "S" * bool(layer.rgb)


def _planes(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Chunks of a plane each."""
    return tuple(n if axis in "YXS" else 1 for n, axis in zip(shape, axes, strict=True))


def _scale(model: str) -> int:
    """Factor by which a model enlarges."""
    return 1 if model == AUTO else load_model(model).config.output_scale


def _settings(layer: Any, name: str, scale: int, axes: str) -> dict[str, Any]:
    """Settings of a layer that lies where another does; pixels may be a part of its own."""
    size, place = np.array(layer.scale, float), np.array(layer.translate, float)
    for axis in (axes.index("Y"), axes.index("X")):
        place[axis] -= size[axis] * (1 - 1 / scale) / 2  # napari counts from centres
        size[axis] /= scale
    kept = {key: getattr(layer, key) for key in _KEPT if hasattr(layer, key)}
    return {"name": name, "scale": size, "translate": place, **kept}
