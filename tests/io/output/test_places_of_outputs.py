"""Places that behave otherwise: NFS that keeps open files, and disks that a half output fills."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetmm.errors import ImageError
from unetmm.io.array import array_info
from unetmm.io.image import Box, SinkOptions
from unetmm.io.open import open_sink
from unetmm.io.output.destination import allocated_bytes, check_space
from unetmm.io.output.disk import part_path, spent_path
from unetmm.io.output.output import Output

PIXELS = np.random.default_rng(0).integers(0, 999, (64, 48), np.uint16)


def new_output(path: Path, **more: Any) -> Output:
    return open_sink(
        SinkOptions(path, chunk_px=32, **more), array_info((64, 48), PIXELS.dtype, "YX")
    )


def fill(output: Output) -> None:
    for y in (0, 32):
        for x in (0, 32):
            box = Box(y, x, y + 32, min(x + 32, 48))
            output.write((0, 0, 0), box, PIXELS[box.y0 : box.y1, box.x0 : box.x1, None])


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that this process has open is renamed rather than removed, as by a client of NFS."""
    unlink, number = os.unlink, [0]

    def is_open(found: os.stat_result) -> bool:
        for name in os.listdir("/proc/self/fd"):
            try:
                other = os.stat(f"/proc/self/fd/{name}")
            except OSError:
                continue
            if (other.st_ino, other.st_dev) == (found.st_ino, found.st_dev):
                return True
        return False

    def silly(path: Any, *, dir_fd: int | None = None) -> None:
        found = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        if not is_open(found):
            unlink(path, dir_fd=dir_fd)
        elif os.path.basename(os.fspath(path)).startswith(".nfs"):
            raise OSError(16, "Device or resource busy", os.fspath(path))
        else:
            number[0] += 1
            new = os.path.join(os.path.dirname(os.fspath(path)), f".nfs{number[0]:012}")
            os.rename(path, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", silly)
    monkeypatch.setattr(os, "remove", silly)


@pytest.mark.parametrize("name", ["o.tif", "o.ome.zarr", "o.npy", "o.png"])
@pytest.mark.usefixtures("nfs")
def test_a_finished_output_is_finished_on_nfs(tmp_path: Path, name: str) -> None:
    output = new_output(tmp_path / name)
    fill(output)
    assert output.complete()
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("nfs")
def test_who_waits_at_a_lock_does_not_make_a_run_unfinished(tmp_path: Path) -> None:
    output = new_output(tmp_path / "o.tif")
    fill(output)
    waiting = os.open(part_path(tmp_path / "o.tif") / "lock-finish", os.O_RDWR | os.O_CREAT)
    assert output.complete() and (tmp_path / "o.tif").exists()
    assert not part_path(tmp_path / "o.tif").exists()
    os.close(waiting)
    shutil.rmtree(spent_path(tmp_path / "o.tif"))


def test_a_run_that_goes_on_counts_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.npy"
    output = new_output(path)
    fill(output)
    output.leave()
    held = allocated_bytes(part_path(path))
    assert held >= PIXELS.nbytes
    free = shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    new_output(path)
    check_space(path, held + 5000)
    with pytest.raises(ImageError, match="free some space"):
        check_space(path, held + 5001)
    with pytest.raises(ImageError, match="free some space"):
        new_output(tmp_path / "other.npy")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has it")
def test_a_file_system_that_takes_no_files_is_named_for_what_it_is() -> None:
    with pytest.raises(ImageError, match="the folder /proc takes no files") as caught:
        new_output(Path("/proc/o.npy"))
    assert "free" not in str(caught.value)


def test_a_disk_that_does_not_know_its_size_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = shutil.disk_usage(tmp_path)._replace(total=0, used=0, free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: unknown)
    output = new_output(tmp_path / "o.npy")
    fill(output)
    assert output.complete() and (tmp_path / "o.npy").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_pipe_or_a_device_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "o.npy"
    os.mkfifo(path)
    with pytest.raises(ImageError, match="a device or a pipe, and no file"):
        new_output(path, overwrite=True)
    assert path.is_fifo()
