"""Bands that a file marks as opacity, as GDAL does with the fourth of four bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.open import open_source
from unetmm.io.retyped import retype
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file


def scene() -> NDArray[Any]:
    """Four noisy bands with edges, (height, width, bands)."""
    y, x = np.mgrid[:64, :80]
    shape = 1 + 0.3 * ((x + y) // 17 % 2)
    levels = np.array([10, 60, 120, 170])
    noise = np.random.default_rng(0).normal(0, 2, (64, 80, 4))
    return np.rint(levels * shape[..., None] + noise).clip(1, 254).astype(np.uint8)


def items_of(names: Sequence[str], colours: Sequence[str] = ()) -> str:
    """GDAL_METADATA that names bands."""
    texts = [("description", *pair) for pair in enumerate(names)]
    texts += [("colorinterp", *pair) for pair in enumerate(colours)]
    items = "".join(f'<Item name="N" sample="{i}" role="{r}">{n}</Item>' for r, i, n in texts)
    return f"<GDALMetadata>{items}</GDALMetadata>"


@pytest.mark.parametrize(
    ("names", "colours", "is_band"),
    [
        (("B02", "B03", "B04", "B08 nir"), (), True),
        ((), ("Red", "Green", "Blue", "NIR"), True),
        (("B02", "B03", "B04", "B08"), ("Red", "Green", "Blue", "Alpha"), False),
        (("red", "green", "blue", "Alpha Channel"), (), False),
        (("Band_1", "Band_2", "Band_3", "Band_4"), (), False),
        ((), (), False),
    ],
)
def test_opacity_that_has_the_name_of_a_band_is_one(
    names: Sequence[str],
    colours: Sequence[str],
    is_band: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """GDAL marks the fourth of four bytes as opacity, whatever it is."""
    pixels = scene()
    tag = (42112, "s", 0, items_of(names, colours), True)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], extratags=[tag]
    )
    info = open_source(tmp_path / "a.tif").info
    assert (info.axes, info.alpha) == (("CYX", False) if is_band else ("YXS", True))
    assert ("restored as a band" in caplog.text) == is_band


def test_opacity_that_looks_like_a_measurement_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a cut-out with soft rims nor a picture that is half clear everywhere is one."""
    pixels = scene()
    cut_out, pale = pixels.copy(), pixels.copy()
    cut_out[..., 3] = np.where(pixels[..., 0] > 12, 255, 0)
    cut_out[:9, :, 3] = np.arange(80)
    model = lively_model(NetConfig(3, 3, 8, (1,), 1, (1,)))
    pale[..., 3] = 128
    for name, image, is_said in (("a", pixels, True), ("b", cut_out, False), ("c", pale, False)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unassalpha"])
        caplog.clear()
        restore_file(path, tmp_path / f"{name}_dn.tif", Options(model=model))
        assert ("sample 4 is marked as opacity" in caplog.text) == is_said
        assert ("--bands 1,2,3,4" in caplog.text) == is_said
    with pytest.raises(
        ImageError, match="--bands 1,2,3 leaves the opacity out, and --bands 1,2,3,4"
    ):
        retype(open_source(tmp_path / "a.tif").info, "float32")
