"""Every chunk of an output is compared with its checksum, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr
from interrupted import go_on

from unetmm.errors import ImageError
from unetmm.io.output.disk import part_path
from unetmm.io.output.local_workspace import Workspace
from unetmm.provenance.verify import verify


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_verify_changes_nothing(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "remove", lambda self: None)
        go_on(folder, output)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))}
    assert part_path(output) in before
    assert not verify(output).damaged
    assert {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))} == before


def test_verify_finds_one_changed_pixel(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    go_on(folder, output)
    assert verify(output).damaged == () and verify(output).chunks == 6
    array = zarr.open_group(str(output), mode="r+")["0"]
    array[600, 600] += 1
    assert verify(output).damaged == ("plane (0, 0, 0), rows 512:1024, columns 512:700",)
    assert verify(folder / "out.tif").damaged == ()
    with pytest.raises(ImageError, match="no checksums"):
        verify(folder / "out.png")
