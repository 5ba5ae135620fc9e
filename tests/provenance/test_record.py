"""Outputs that are there already: kept, refused, or cleaned up after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import content
from interrupted import OUTPUTS, go_on, options

from unetmm.errors import ImageError
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.output import Output
from unetmm.io.select import Selection
from unetmm.plan.share import Share
from unetmm.provenance.record import read_record, remove_leftovers
from unetmm.provenance.verify import finalize
from unetmm.run.of_file import restore_file


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_finished_output_is_not_made_again(folder: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert not go_on(folder, output).already_done
    before = {p: p.stat().st_mtime_ns for p in (output, *output.rglob("*"))}
    # Neither the budget nor the workers matter, nor whether it was a share that came again.
    for share in (Share(), Share(1, 3)):
        report = restore_file(
            folder / "in.tif", output, options(folder, budget_bytes=1, workers=1), share=share
        )
        assert report.already_done and report.complete and report.as_dict()["plan"] is None
        assert report.calibration.entries.keys() == {"0.0"}
    with pytest.raises(ImageError, match=r"exists and was made with strength 1\.0, now it is 0\.5"):
        go_on(folder, output, strength=0.5)
    with pytest.raises(ImageError, match=r"part of the image all, now it is channels 0, Z 0:1;"):
        go_on(folder, output, select=Selection(channels=("0",), planes={"Z": (0, 1)}))
    other = tmp_path / "in.tif"
    other.write_bytes((folder / "in.tif").read_bytes())
    with pytest.raises(ImageError, match=r"exists and was made with input in\.tif, .*--overwrite"):
        restore_file(other, output, options(folder))
    assert {p: p.stat().st_mtime_ns for p in (output, *output.rglob("*"))} == before
    assert not go_on(folder, output, overwrite=True).already_done
    assert content(output) == content(folder / name)


def test_what_viewers_read_of_an_image_is_short(folder: Path) -> None:
    path = folder / "out.ome.zarr"
    assert (path / "zarr.json").stat().st_size < 10_000
    record = read_record(path)
    assert record is not None and "entries" in record["calibration"]
    assert "calibration" not in zarr.open_group(path).attrs["unetmm"]["record"]


def test_foreign_outputs_and_npy_only_exist(folder: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "out.tif", np.zeros((8, 8), np.uint8))
    zarr.create_group(tmp_path / "out.ome.zarr")
    (tmp_path / "text.tif").write_text("precious")
    (tmp_path / "link.tif").symlink_to(tmp_path / "nothing.tif")
    go_on(folder, tmp_path / "out.npy")
    for name in ("out.tif", "out.ome.zarr", "out.npy", "text.tif", "link.tif"):
        with pytest.raises(ImageError, match=r"exists; give --overwrite"):
            go_on(folder, tmp_path / name)
    assert (tmp_path / "text.tif").read_text() == "precious"


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("by", ["run", "finalize"])
def test_what_a_run_killed_while_tidying_left_is_removed(
    folder: Path, tmp_path: Path, name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "remove", lambda self: None)
        go_on(folder, output)
    assert part_path(output).is_dir() and output.exists()
    if by == "finalize":
        assert finalize(output)
    else:
        assert go_on(folder, output).already_done
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert content(output) == content(folder / name)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_is_being_replaced_is_no_leftover(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    go_on(folder, output, strength=0.5)
    before, put = content(output), Output._put

    def failing(self: Output, key: ChunkKey, pixels: Any) -> None:
        put(self, key, pixels)
        raise ImageError("the cable was pulled")

    with monkeypatch.context() as patch, pytest.raises(ImageError, match="cable"):
        patch.setattr(Output, "_put", failing)
        go_on(folder, output, overwrite=True)
    assert not remove_leftovers(output) and part_path(output).is_dir()
    assert content(output) == before
    go_on(folder, output, overwrite=True)
    assert content(output) == content(folder / name)
