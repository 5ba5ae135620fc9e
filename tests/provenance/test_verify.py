"""Every chunk of an output is compared with its checksum, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr
from interrupted import go_on, options

from unetmm.errors import ImageError
from unetmm.io.output.disk import part_path
from unetmm.io.output.local_workspace import Workspace
from unetmm.plan.share import Share
from unetmm.provenance.verify import verify
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run


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
    array[600, 600] = int(array[600, 600]) + 1
    assert verify(output).damaged == ("plane (0, 0, 0), rows 512:1024, columns 512:700",)
    assert verify(folder / "out.tif").damaged == ()
    with pytest.raises(ImageError, match="no checksums"):
        verify(folder / "out.png")


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_an_output_that_is_not_finished_is_one_line(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / name
    restore_file(folder / "in.tif", output, options(folder), share=Share(0, 3))
    capsys.readouterr()
    assert run(["verify", str(output)]) == 1
    out, err = capsys.readouterr()
    assert (
        out == "" and err.startswith(f"error: {output}: is not finished") and err.count("\n") == 1
    )
