"""Where memory runs out, a run goes on with lower bands, or says so in one line."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import content
from interrupted import OUTPUTS, go_on, options

from unetmm.engine.cpu.stream import RowStream
from unetmm.errors import ImageError
from unetmm.run.of_file import restore_file
from unetmm.run.report import Progress


@pytest.mark.parametrize("name", OUTPUTS)
def test_out_of_memory_halves_the_bands_and_goes_on(
    folder: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bands, push, pushed = [], RowStream.push, [0]

    class Greedy(RowStream):
        def __init__(self, net: Any, frozen: Any, width: int, height: int, rows: int, n: int):
            bands.append(rows)
            super().__init__(net, frozen, width, height, rows, n)

        def push(self, rows: Any) -> Any:
            pushed[0] += len(rows)
            if pushed[0] > 600 and len(bands) == 1:  # after a row of chunks is written
                np.empty(2**60, np.uint8)  # more than any machine has
            return push(self, rows)

    monkeypatch.setattr("unetmm.engine.cpu.net.RowStream", Greedy)
    seen: list[Progress] = []
    with caplog.at_level(logging.WARNING, "unetmm"):
        report = restore_file(
            folder / "in.tif", tmp_path / name, options(folder, workers=1), seen.append
        )
    assert bands[1] == bands[0] // 2 == report.plan.band_rows  # type: ignore[union-attr]
    assert len(bands) == 2, "one stream each: what was written is not made again"
    assert f"going on with bands of {bands[1]} rows" in caplog.text
    assert content(tmp_path / name) == content(folder / name)
    done = [p.done_px for p in seen if p.phase == "compute"]
    assert done[-1] == 1300 * 700 and min(done[1:]) >= 0


def test_no_memory_at_all_is_one_clear_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, rows: Any) -> Any:
        raise MemoryError

    output, stop = tmp_path / "out.tif", threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(RowStream, "push", fail)
        with pytest.raises(ImageError, match="no memory left"):
            restore_file(folder / "in.tif", output, options(folder), stop=stop)
    assert not stop.is_set() and not output.exists()
    go_on(folder, output)
    assert content(output) == content(folder / output.name)
