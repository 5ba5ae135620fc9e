"""Systems without what only POSIX has: the same code, with the portable form of each step."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import ROOT

from unetmm import process, sizes, windows
from unetmm.io.locking import lock_file
from unetmm.io.output.disk import sync

HIDDEN = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "msvcrt")
"""Modules that another system may lack."""
MISSING = (
    "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity", "getuid", "geteuid", "getgid",
    "getegid", "fork", "forkpty", "killpg", "setsid", "statvfs", "uname", "nice", "O_NOFOLLOW",
    "O_DIRECTORY", "O_CLOEXEC", "O_SYNC", "O_DSYNC",
)  # fmt: skip
"""Names of `os` that another system may lack."""
SIGNALS = ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGPIPE", "SIGCHLD")
"""Signals that another system may lack."""
HIDE = f"""
import dask.array, google_crc32c, imagecodecs, imageio, llvmlite, numba, numcodecs, numpy, PIL.Image
import rich.console, safetensors.numpy, tifffile, typer, zarr  # which may need what they find
import os, shutil, signal, subprocess, sys, tempfile
# Which Windows has by other means.
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12)
for name in {HIDDEN}:
    sys.modules[name] = None
for name in {MISSING}:
    if hasattr(os, name):
        delattr(os, name)
os.process_cpu_count = os.cpu_count  # which is so where there is no affinity
for name in {SIGNALS}:
    delattr(signal, name)
"""
RESTORE = """
import pkgutil, importlib
import numpy as np
import unetmm, unetmm_cli.app
for name in ("unetmm.io", "unetmm.run", "unetmm.provenance", "unetmm_cli"):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        if "cluster" not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
import unetmm.benchmark.child, unetmm.benchmark.session, unetmm.benchmark.result
from unetmm_cli.__main__ import run
folder = sys.argv[1]
image = np.load(folder + "/in.npy")
np.save(folder + "/array.npy", unetmm.restore(image, model="tiny-mono"))
for name in ("out.tif", "out.ome.zarr", "out.npy", "out.png"):
    words = ["denoise", folder + "/in.tif", "-o", f"{folder}/{name}", "--model", "tiny-mono"]
    assert run([*words, "--report", folder + "/report.json"]) == 0
    assert run(["status", f"{folder}/{name}"]) == 0
"""


def test_images_are_restored_without_what_only_posix_has(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(3000, 300, (70, 90)).astype(np.uint16)
    np.save(tmp_path / "in.npy", image)
    tifffile.imwrite(tmp_path / "in.tif", image, compression="zlib", tile=(32, 32))
    done = subprocess.run(
        [sys.executable, "-c", HIDE + RESTORE, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "files cannot be locked here" in done.stderr
    expected = np.load(tmp_path / "array.npy")
    assert expected.shape == image.shape and expected.std() < image.std()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_a_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (tmp_path / "lock").open("wb") as file:
        assert lock_file(file.fileno(), wait=False)
    assert os.strerror(errno.ENOSYS) in caplog.text


class Kernel32:
    """Windows' functions, as this machine's would answer."""

    def __init__(self, code: int | None) -> None:
        self.code, self.closed = code, []
        self.GetCurrentProcess = _Function(lambda: 7)
        self.OpenProcess = _Function(lambda *asked: None if code is None else 40)
        self.K32GetProcessMemoryInfo = _Function(self._memory)

    def GlobalMemoryStatusEx(self, found: Any) -> int:
        assert found._obj.length == 64
        found._obj.available = 3 * 10**9
        return 1

    def _memory(self, handle: int, found: Any, length: int) -> int:
        assert handle == 7 and length == (72 if sys.maxsize > 2**32 else 40)
        found._obj.peak, found._obj.resident = 500, 400
        return 1

    def GetExitCodeProcess(self, handle: Any, code: Any) -> int:
        assert handle.value == 40 and self.code is not None
        code._obj.value = self.code
        return 1

    def CloseHandle(self, handle: Any) -> int:
        self.closed.append(handle.value)
        return 1


class _Function:
    """A function of a library, which takes attributes."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *given: Any) -> Any:
        return self.function(*given)


@pytest.mark.parametrize(("code", "alive"), [(259, True), (0, False), (None, False)])
def test_windows_is_asked_for_memory_and_processes(
    code: int | None, alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel32(code)
    assert windows.is_alive(1) is windows.peak_bytes() is windows.available_bytes() is None
    monkeypatch.setattr(ctypes, "WinDLL", lambda *a, **more: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 87, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert windows.available_bytes() == 3 * 10**9
    assert (windows.peak_bytes(), windows.resident_bytes()) == (500, 400)
    assert process.is_alive(1) is alive and kernel.closed == ([] if code is None else [40])
    monkeypatch.setattr(ctypes, "get_last_error", lambda: windows.NO_ACCESS)
    assert process.is_alive(1) is (alive or code is None), "another user's is alive"


def test_windows_writes_files_through_a_handle_that_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    real = os.open
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "open", lambda path, how: (opened.append(how), real(path, how))[1])
    sync(tmp_path / "file")
    sync(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    sync(tmp_path / "file")
    sync(tmp_path)
    ways = os.O_RDONLY | os.O_RDWR
    assert [how & ways for how in opened] == [os.O_RDONLY, os.O_RDONLY, os.O_RDWR]


def test_memory_is_known_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(sizes, "_psutil_available", lambda: None)
    monkeypatch.setattr(sizes, "memory_left", list)
    monkeypatch.setattr(sizes, "Path", lambda name: Path(f"/none/{name}"))
    assert sizes.available_bytes() == total // 2
    monkeypatch.delattr(os, "sysconf")
    assert sizes.available_bytes() == 2 * 10**9
