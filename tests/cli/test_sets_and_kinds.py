"""A folder run: a set of files is restored once, and files of other formats are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import BUDGET, one_error, run_ok

OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def set_of_channels(folder: Path) -> list[Path]:
    """An OME-TIFF of three channels in three files."""
    paths = [folder / f"w{i}.ome.tif" for i in range(3)]
    parts = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="{p.name}">urn:uuid:{i}'
        "</UUID></TiffData>"
        for i, p in enumerate(paths)
    )
    for i, path in enumerate(paths):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="urn:uuid:{i}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="40" SizeY="32" '
            f'SizeC="3" SizeZ="1" SizeT="1">{parts}</Pixels></Image></OME>'
        )
        pixels = np.random.default_rng(i).integers(0, 900, (32, 40), dtype=np.uint16)
        tifffile.imwrite(path, pixels, description=xml, metadata=None)
    return paths


def test_a_set_is_restored_once(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    set_of_channels(folder)
    for name in ("a.psd", "b.psd", "c.nef", "notes.txt", ".d.nef"):
        (folder / name).write_bytes(b"x")
    out, err = run_ok(
        ["denoise", folder, "-o", tmp_path / "out/", "--model", mono, "--mem-budget", BUDGET],
        capsys,
    )
    assert "1 done, 0 skipped, 0 failed" in out
    assert "3 files of other formats left out: psd 2, nef 1" in err
    assert f"{folder / 'w0.ome.tif'} is restored with its parts: w1.ome.tif, w2.ome.tif" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["w0.ome.tif"]
    assert tifffile.imread(tmp_path / "out" / "w0.ome.tif").shape == (3, 32, 40)


def test_every_image_of_a_file(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    images = [rng.integers(0, 900, shape, dtype=np.uint16) for shape in ((24, 32), (40, 48))]
    with tifffile.TiffWriter(path) as writer:
        for image in images:
            writer.write(image, metadata=None)
    words = ["denoise", path, "--model", mono, "--mem-budget", BUDGET, "--series", "all"]
    assert "holds 2 images; give -o FOLDER/" in one_error(
        [*words, "-o", tmp_path / "b.tif"], capsys, 2
    )
    out, _ = run_ok([*words, "-o", f"{tmp_path}/out/"], capsys)
    assert "2 done" in out
    for i, image in enumerate(images):
        assert tifffile.imread(tmp_path / "out" / f"a_s{i}.tif").shape == image.shape
    assert "neither a number from 0 nor all" in one_error([*words[:-1], "x"], capsys, 2)
