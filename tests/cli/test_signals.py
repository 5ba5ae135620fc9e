"""Ctrl-C and other signals stop a run in order."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from command_line import denoise

from unetmm.run import of_file as file_run
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.signals import stop_on_signal


def test_ctrl_c_removes_the_output_and_exits_with_130(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = file_run.make_job

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return made(*arguments)

    monkeypatch.setattr(file_run, "make_job", interrupted)
    output = tmp_path / "o.ome.zarr"
    assert run_cli([str(a) for a in denoise(grey_tiff, output, mono, "--quiet")]) == 130
    out, err = capsys.readouterr()
    assert out == "" and err == f"interrupted: nothing was done of {output} yet\n"
    assert [p.name for p in tmp_path.iterdir()] == ["grey.tif"]


def test_second_signal_stops_at_once_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert isinstance(stop, threading.Event) and not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
