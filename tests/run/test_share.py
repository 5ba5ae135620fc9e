"""Shares of a run make the output of one run, whichever of them ends last."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import content
from interrupted import OUTPUTS, go_on, options

from unetmm.errors import ResumeError
from unetmm.io.image import Encoding
from unetmm.io.output.output import Output
from unetmm.io.select import Selection
from unetmm.plan.outlook import plan_image
from unetmm.plan.share import Share
from unetmm.plan.types import Plan
from unetmm.provenance.verify import finalize
from unetmm.run import of_file as file_run
from unetmm.run.of_file import restore_file


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shares_in_any_order_make_the_same_output(
    folder: Path, tmp_path: Path, name: str, order: tuple[int, ...]
) -> None:
    output = tmp_path / name
    for i, index in enumerate(order):
        share = Share(index, 3)
        report = restore_file(folder / "in.tif", output, options(folder), share=share)
        assert report.complete == (i == 2) == output.exists()
    assert content(output) == content(folder / name)


def test_finalize_finishes_what_the_last_share_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.ome.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        go_on(folder, output)
    assert not output.exists() and finalize(output)
    assert content(output) == content(folder / output.name)
    with pytest.raises(ResumeError, match="nothing to finish"):
        finalize(output)


@pytest.mark.parametrize(
    "changes",
    [
        {"select": Selection(("1",), {"T": (0, 1)})},
        {"select": Selection(rgb_bands=(2, 1, 2))},
        {"encoding": Encoding(pyramid=False)},
    ],
)
def test_finalize_keeps_to_the_part_and_the_encoding_of_the_run(
    folder: Path, tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, first, output = (tmp_path / name for name in ("s.tif", "a.ome.zarr", "b.ome.zarr"))
    pixels = np.random.default_rng(2).integers(0, 999, (2, 2, 70, 60)).astype(np.uint16)
    tifffile.imwrite(image, pixels, metadata={"axes": "TCYX"}, ome=True)
    restore_file(image, first, options(folder, **changes))
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        restore_file(image, output, options(folder, **changes))
    assert finalize(output)
    first.rename(tmp_path / "c.ome.zarr")
    found, expected = content(output), content(tmp_path / "c.ome.zarr")
    assert found.keys() == expected.keys()
    assert {k for k in found if found[k] != expected[k]} <= {"zarr.json"}, "which has its name"


@pytest.mark.parametrize("share", [Share(), Share(1, 3)])
@pytest.mark.parametrize("name", OUTPUTS[:2])
def test_an_output_that_another_process_finishes_meanwhile_is_left(
    folder: Path, tmp_path: Path, name: str, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished_meanwhile(*given: Any) -> Plan:
        (shutil.copytree if (folder / name).is_dir() else shutil.copy2)(folder / name, output)
        return plan_image(*given)

    output = tmp_path / name
    monkeypatch.setattr(file_run, "plan_image", finished_meanwhile)
    report = restore_file(folder / "in.tif", output, options(folder), share=share)
    assert report.already_done
    assert content(output) == content(folder / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
