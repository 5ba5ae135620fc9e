"""The plugin for napari: its manifest, and its panels' functions on layers made by hand.

napari itself is a large application; its layers are stood in for by what they say of themselves.
"""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import yaml
from helpers import lively_model

import unetmm
import unetmm_napari
from unetmm.errors import ImageError
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm_napari.widgets import AUTO, model_names, preview_view, restore_layer

IMAGE = np.random.default_rng(0).normal(1000, 50, (3, 80, 90)).astype(np.float32)


def layer(pixels: Any, **more: Any) -> Any:
    """What a layer says of itself; scale and place are of its axes without colours."""
    rgb = more.get("rgb", False)
    ndim = len(pixels.shape) - rgb
    said = {
        "name": "cells", "rgb": rgb, "multiscale": False, "scale": (2.0,) * ndim,
        "translate": (10.0,) * ndim, "colormap": "gray", "contrast_limits": (0, 2000),
        "corner_pixels": np.array([[0] * (ndim - 2) + [10, 20], [0] * (ndim - 2) + [49, 69]]),
    }  # fmt: skip
    return SimpleNamespace(data=pixels, **(said | more))


def test_the_manifest_names_functions_that_are_there() -> None:
    path = Path(unetmm_napari.__file__).parent / "napari.yaml"
    manifest = yaml.safe_load(path.read_text())
    assert manifest["name"] == "unetmm"
    commands = {c["id"]: c["python_name"] for c in manifest["contributions"]["commands"]}
    assert {w["command"] for w in manifest["contributions"]["widgets"]} == set(commands)
    for command, target in commands.items():
        assert command.startswith("unetmm.")
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name))
    project = tomllib.loads((path.parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {"unetmm": "unetmm_napari:napari.yaml"}


def test_a_stack_is_restored_lazily_and_keeps_how_it_is_shown() -> None:
    pixels, settings, kind = restore_layer(layer(IMAGE), "tiny-mono")
    assert kind == "image" and isinstance(pixels, da.Array) and pixels.shape == IMAGE.shape
    assert settings["name"] == "cells restored" and settings["colormap"] == "gray"
    np.testing.assert_array_equal(settings["scale"], (2, 2, 2))
    expected = unetmm.restore(IMAGE, "tiny-mono", axes="ZYX")
    np.testing.assert_array_equal(pixels[1].compute(), expected[1])


def test_the_preview_is_the_plane_that_is_seen_restored() -> None:
    viewer = SimpleNamespace(dims=SimpleNamespace(current_step=(2, 0, 0)))
    pixels, settings, _ = preview_view(viewer, layer(IMAGE), "tiny-mono")
    whole = unetmm.restore(IMAGE[2], "tiny-mono")
    np.testing.assert_array_equal(pixels, whole[10:50, 20:70])
    np.testing.assert_array_equal(settings["translate"], (30, 50))
    away = layer(IMAGE, corner_pixels=np.array([[0, 90, 100], [0, 120, 130]]))
    with pytest.raises(ImageError, match="no part of cells is in view"):
        preview_view(viewer, away, "tiny-mono")


def test_enlarged_layers_lie_over_their_image(tmp_path: Path) -> None:
    config = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=2)
    zeros = {k: 0 * v for k, v in lively_model(config).tensors.items()}
    model = tmp_path / "x2.safetensors"
    save_model(model, config, zeros, {"task": "upscale"})
    pixels, settings, _ = restore_layer(layer(IMAGE[0]), str(model))
    np.testing.assert_allclose(pixels.compute(), IMAGE[0].repeat(2, 0).repeat(2, 1), rtol=1e-6)
    np.testing.assert_array_equal(settings["scale"], (1, 1))
    np.testing.assert_array_equal(settings["translate"], (9.5, 9.5))


def test_colours_pyramids_and_too_many_axes() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    many = layer(photo, rgb=True)
    many.data, many.multiscale = [photo, photo[::2, ::2]], True
    pixels, settings, _ = restore_layer(many, "tiny-rgb")
    assert pixels.shape == photo.shape and settings["rgb"]
    with pytest.raises(ImageError, match="has 6 axes"):
        restore_layer(layer(np.zeros((1,) * 6, np.float32)), "tiny-mono")
    assert model_names()[0] == AUTO and "tiny-rgb" in model_names()
