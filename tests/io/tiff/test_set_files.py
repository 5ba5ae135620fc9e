"""An OME-TIFF of several files reads regular files beside it, whatever names it states."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.open import open_source

OWN, OTHER = (f"urn:uuid:{digit * 8}-1111-1111-1111-111111111111" for digit in "12")


def write_set(folder: Path, name: str, head: str = "") -> Path:
    """A file of which the second plane is in another, which is called so."""
    path = folder / "inbox" / "mail.ome.tif"
    path.parent.mkdir(exist_ok=True)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{OWN}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint16" SizeX="16" SizeY="16" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" FirstZ="0" '
        f'PlaneCount="1"><UUID FileName="mail.ome.tif">{OWN}</UUID></TiffData><TiffData IFD="0" '
        f'FirstZ="1" PlaneCount="1"><UUID FileName="{name}">{OTHER}</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    ones = np.full((16, 16), 7, np.uint16)
    tifffile.imwrite(path, ones, description=xml.encode(), metadata=None)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    path = tmp_path / "secret" / "private.tif"
    tifffile.imwrite(path, np.full((16, 16), 4242, np.uint16))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../secret/private.tif", "{}", "&#46;./secret/private.tif", "..\\secret\\private.tif",
        "&way;", "../inbox/../secret/private.tif",
    ],
)  # fmt: skip
def test_paths_out_of_the_folder_are_not_followed(tmp_path: Path, secret: Path, name: str) -> None:
    head = f'<!DOCTYPE OME [<!ENTITY way "{secret}">]>' if name == "&way;" else ""
    path = write_set(tmp_path, name.format(secret), head)
    with pytest.raises(ImageError, match=r"needs private\.tif; put|declares a DOCTYPE"):
        open_source(path)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, secret: Path, kind: str) -> None:
    path = write_set(tmp_path, "part.tif")
    part = path.with_name("part.tif")
    if kind == "pipe":
        os.mkfifo(part)
    elif kind == "link":
        part.symlink_to(secret)
    else:
        part.mkdir()
    with pytest.raises(ImageError, match=r"part\.tif as a part of its image, which is no regular"):
        open_source(path)


def test_files_beside_it_are_read_also_through_links_to_all(tmp_path: Path, secret: Path) -> None:
    path = write_set(tmp_path, "C:\\data\\private.tif")
    path.with_name("private.tif").write_bytes(secret.read_bytes())
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("mail.ome.tif", "private.tif"):
        (linked / name).symlink_to(path.with_name(name))
    for opened in (path, linked / "mail.ome.tif"):
        source = open_source(opened)
        assert source.read((0, 0, 1), Box(0, 0, 1, 1)).item() == 4242
        source.close()
