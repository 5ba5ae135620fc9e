"""Folders of compiled kernels: those of other versions do not pile up."""

from __future__ import annotations

import os
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
from unetmm.compiling.cache import CACHE_VARIABLE, KEPT_FOLDERS, cache_folder, remove_old
from unetmm.compiling.locator import KernelLocator
from unetmm.compiling.whole import whole_kernels
from unetmm.engine.cpu import prepare
from unetmm.engine.cpu.engine import CpuEngine
from unetmm_cli.__main__ import run as run_cli


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
    monkeypatch.setattr(prepare, "ensure_compiled", lambda precision: told.append("compiled"))
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
    monkeypatch.setattr(prepare, "ensure_compiled", asked.append)
    assert run_cli(["setup"]) == 0
    assert capsys.readouterr().out.strip() == str(cache_folder())
    assert asked[0] == "fp32"
