"""Folders of compiled kernels: those of other versions do not pile up."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from numba import njit
from numba.core.codegen import JITCodeLibrary

from unetmm.compiling import cache as kernel_cache
from unetmm.compiling.cache import (
    CACHE_VARIABLE,
    KEPT_FOLDERS,
    cache_folder,
    is_kept,
    remove_old,
    write_stamp,
)
from unetmm.compiling.locator import KernelLocator
from unetmm.compiling.sources import SOURCES
from unetmm.compiling.whole import whole_kernels
from unetmm.engine.cpu import prepare
from unetmm.engine.cpu.engine import CpuEngine
from unetmm_cli.__main__ import run as run_cli


def test_every_compiled_file_is_in_the_name_of_the_folder() -> None:
    """One was left out, and kernels of before were taken for those of its new functions."""
    package = Path(kernel_cache.__file__).parents[1]
    compiled = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.parent.name != "benchmark"  # compiled anew by each run
        and ("@njit(" in (text := path.read_text(encoding="utf-8")) or "@intrinsic" in text)
    }
    assert len(compiled) > 10
    assert sorted(compiled - set(SOURCES)) == []


def make_folders(root: Path, count: int) -> list[Path]:
    """With something in them, the one used last at the end."""
    made = [root / f"kernels-{9 - number:016x}" for number in range(count)]
    for second, folder in enumerate(made):
        folder.mkdir()
        (folder / "stages.nbi").write_bytes(b"code")
        os.utime(folder, (second, second))
    return made


def test_the_newest_few_of_other_versions_stay(tmp_path: Path) -> None:
    own, *others = make_folders(tmp_path, KEPT_FOLDERS + 4)
    (tmp_path / "models").mkdir()
    remove_old(own)  # its own is the oldest and stays
    expected = {own, *others[-KEPT_FOLDERS:], tmp_path / "models"}
    assert set(tmp_path.iterdir()) == expected
    assert all((folder / "stages.nbi").exists() for folder in others[-KEPT_FOLDERS:])


def test_what_cannot_be_removed_or_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, *others = make_folders(tmp_path, KEPT_FOLDERS + 3)
    (tmp_path / "kernels-gone").symlink_to(tmp_path / "nothing")

    def refuse(path: object, *arguments: object, **more: object) -> None:
        raise PermissionError(13, "not yours")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        patch.setattr(os, "rmdir", refuse)
        remove_old(own)
    assert all(folder.is_dir() for folder in others)
    remove_old(tmp_path / "no such folder" / "kernels-1")


def test_a_folder_in_use_counts_as_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel_cache.CACHE_VARIABLE, str(tmp_path))
    find = kernel_cache.cache_folder.__wrapped__
    folder = find()
    os.utime(folder, (1, 1))
    assert find() == folder and folder.stat().st_mtime > 1


def test_a_folder_that_others_removed_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare.ensure_compiled()
    monkeypatch.setattr(prepare, "cache_folder", lambda: tmp_path / "gone")
    asked = []

    def compiled_aside(work: str) -> subprocess.Popen[bytes]:
        asked.append(work)
        return subprocess.Popen([sys.executable, "-c", ""], stderr=subprocess.PIPE)

    monkeypatch.setattr(prepare, "_aside", compiled_aside)
    prepare.ensure_compiled()
    assert len(asked) == 3 and not (tmp_path / "gone").exists()


def test_a_folder_that_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no folder"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    found = cache_folder.__wrapped__()
    root = found.parent
    assert root.parent == tmp_path and root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o777)
    with pytest.raises(
        OSError, match=f"no writable folder for compiled kernels; set {CACHE_VARIABLE}"
    ):
        cache_folder.__wrapped__()
    root.chmod(0o700)
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="no writable folder"):
        cache_folder.__wrapped__()


def test_a_copied_package_has_the_same_folder(tmp_path: Path) -> None:
    """Neither place nor time of a source counts, for its content is in the folder's name."""
    package = Path(kernel_cache.__file__).parents[1]
    copied = tmp_path / "unetmm"
    shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__"))
    command = "from unetmm.compiling.cache import cache_folder; print(cache_folder().name)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = partial(subprocess.run, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = run([sys.executable, "-c", command], env=environment).stdout.strip()
    assert found == cache_folder().name
    with (copied / "compiling" / "flags.py").open("a") as file:
        file.write("# another\n")
    assert run([sys.executable, "-c", command], env=environment).stdout.strip() != found


def test_a_folder_that_is_complete_may_be_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    find = kernel_cache.cache_folder.__wrapped__
    folder = find()
    (folder / "complete-fp32").touch()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    assert find() == folder
    monkeypatch.setattr(prepare, "cache_folder", lambda: folder)
    with pytest.raises(OSError, match="no kernels for bf16, and is read-only; run unetmm setup"):
        prepare.ensure_compiled("bf16")


def test_parts_are_compiled_within_their_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    optimise, optimised = JITCodeLibrary._optimize_final_module, []

    def counted(library: JITCodeLibrary) -> None:
        if library.name != "nrt":  # which Numba makes once in a process, when it needs it
            optimised.append(library.name)
        optimise(library)

    monkeypatch.setattr(JITCodeLibrary, "_optimize_final_module", counted)

    def make() -> Callable[[int], int]:
        part = njit(lambda x: x + 1)
        inner = njit(lambda x: 3 * part(x))
        return cast("Callable[[int], int]", njit(lambda x: inner(part(x))))

    usual = make()
    assert usual(4) == 18 and len(optimised) == 3
    optimised.clear()
    with whole_kernels():
        whole = make()
        assert whole(4) == 18 and len(optimised) == 1
    assert whole(5) == 21 and make()(5) == 21 and len(optimised) == 4  # Numba is as it was


def test_somebody_is_told_before_the_compiler_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []
    monkeypatch.setattr(prepare, "compile_aside", lambda precision: told.append("compiled"))
    CpuEngine().prepare(lambda: told.append("told"))
    monkeypatch.setattr(prepare, "cache_folder", lambda: tmp_path)
    CpuEngine().prepare(lambda: told.append("told"))
    assert told == ["told", "compiled"]


def test_numba_is_told_where_code_lies() -> None:
    def function() -> None:
        """Nothing that is ever compiled."""

    locator = KernelLocator.from_function(function, __file__)
    assert Path(locator.get_cache_path()) == cache_folder()
    other = KernelLocator.from_function(test_numba_is_told_where_code_lies, __file__)
    assert locator.get_disambiguator() != other.get_disambiguator()
    assert locator.get_source_stamp() == other.get_source_stamp()


def test_setup_says_where_the_kernels_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    loaded: list[str] = []
    kept = [True]
    monkeypatch.setattr(prepare, "compile_aside", lambda which: asked.append(which) or kept[0])
    monkeypatch.setattr(prepare, "compile_all", loaded.append)
    assert run_cli(["setup"]) == 0
    assert capsys.readouterr().out.strip() == str(cache_folder())
    assert asked[0] == "fp32" and not loaded
    kept[0] = False  # no other process can be started
    assert run_cli(["setup"]) == 0
    assert loaded == asked[: len(asked) // 2]


def test_the_line_about_compiling_names_the_precision(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prepare, "_is_there", lambda folder, precision: False)
    monkeypatch.setattr(prepare, "_run_aside", lambda works: "stopped")
    monkeypatch.setattr(prepare, "_not_aside", set())
    for precision in ("fp32", "bf16"):
        caplog.clear()
        with caplog.at_level("INFO"):
            assert not prepare.compile_aside(precision)
        assert f"compiling kernels ({precision}) for this machine" in caplog.text
        caplog.clear()
        assert not prepare.compile_aside(precision) and not caplog.text, "said and tried once"


def test_kernels_of_others_are_not_run_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "shared"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    find = cache_folder.__wrapped__
    folder = find()
    write_stamp(folder, "fp32")
    poisoned = folder / "stages.nbi"
    poisoned.write_bytes(b"evil")
    assert find() == folder and poisoned.exists()
    folder.chmod(0o777)  # anybody may have put it there
    assert find() == folder and not poisoned.exists() and folder.stat().st_mode & 0o022 == 0
    assert "may be another user's, and are not used" in caplog.text
    write_stamp(folder, "fp32")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert find().parent.parent == tmp_path / "tmp", "a link is not followed"
    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)
    monkeypatch.setattr(kernel_cache, "_user", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "stat", lambda path, **more: os.lstat("/proc/self"))
    monkeypatch.setattr(sys, "executable", __file__)
    with pytest.raises(OSError, match="no writable folder"):
        find()


def test_a_full_disk_and_no_home_keep_no_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "disk1"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    usage, full = shutil.disk_usage, shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: full if "disk1" in str(path) else usage(path)
    )
    assert cache_folder.__wrapped__().parent.parent == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder.__wrapped__().parent.parent == tmp_path


def test_damaged_kernels_are_removed_and_indices_made_anew(tmp_path: Path) -> None:
    (tmp_path / "a.nbc").write_bytes(b"machine code")
    write_stamp(tmp_path, "fp32")
    assert is_kept(tmp_path, "fp32") and not is_kept(tmp_path, "bf16")
    (tmp_path / "a.nbc").write_bytes(b"machine c\0\0\0")
    assert not is_kept(tmp_path, "fp32") and not list(tmp_path.iterdir())
    index = tmp_path / "a.nbi"
    index.write_bytes(pickle.dumps("0.68") + pickle.dumps(("stamp", {})))
    write_stamp(tmp_path, "fp32")
    index.write_bytes(pickle.dumps("0.68") + pickle.dumps(("stamp", {1: "a.1.nbc"})))
    assert is_kept(tmp_path, "fp32"), "another signature was added"
    index.write_bytes(b"")
    assert not is_kept(tmp_path, "fp32")

    class Broken:
        cache_path = "somewhere"
        flushed = 0

        def load_overload(self, *what: object) -> None:
            raise EOFError("Ran out of input")

        def save_overload(self, *what: object) -> None:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            self.flushed += 1

    broken = Broken()
    forgiving = kernel_cache._Forgiving(broken, whole_kernels)
    assert forgiving.load_overload("()", None) is None and broken.flushed == 1
    forgiving.save_overload()
    assert "No space left" in kernel_cache.unkept.pop()


def test_what_cannot_be_compiled_aside_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "cache_folder", lambda: tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "")
        assert prepare.compiling_bytes("fp32") == prepare.COMPILING_BYTES

    def no_process(work: str) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(prepare, "_aside", no_process)
    assert prepare.compiling_bytes("fp32") == prepare.COMPILING_BYTES
    write_stamp(tmp_path, "fp32")
    assert prepare.compiling_bytes("fp32") == 0


def test_a_file_beside_the_images_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("llvmlite", "numba", "numpy", "unetmm"):
        (tmp_path / f"{name}.py").write_text("open('PWNED', 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", ""))
    child = prepare._aside("check_kept()")
    assert child.communicate()[1] == b"" and child.returncode == 0
    assert not (tmp_path / "PWNED").exists()
