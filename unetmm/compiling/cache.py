"""Compiled kernels kept on disk, so that only a machine's first run waits for the compiler.

The folder's name holds everything a compiled kernel depends on: source, compiler, processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pickle
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from unetmm.compiling import shipped
from unetmm.compiling.processor import LANES, multiplies_tiles
from unetmm.compiling.sources import made_of

log = logging.getLogger(__name__)

CACHE_VARIABLE = "UNETMM_CACHE_DIR"
"""Environment variable: where compiled kernels are kept; default ~/.cache/unetmm."""
KEPT_FOLDERS = 4
"""Kernels of so many other versions, compilers or processors stay, those used last."""
LEAST_FREE_BYTES = 16 * 10**6
"""Free space that a disk needs to have kernels put there: they take 3 MB, and some at once."""
_PREFIX = "kernels-"
CODE, INDEX = ".nbc", ".nbi"
"""Endings of Numba's files of machine code, and of lists of them."""
COMPLETE = "complete-"
"""Beginning of the name of a file with checksums; it ends with a precision whose kernels are all
there."""


@cache
def cache_folder() -> Path:
    """The folder for this source, compiler and processor; created if need be."""
    from llvmlite import binding

    digest = hashlib.sha256()
    processor = (binding.get_host_cpu_name(), str(LANES), str(multiplies_tiles()))
    for fact in (*made_of(), sys.version, *processor):
        digest.update(fact.encode())
    name = f"{_PREFIX}{digest.hexdigest()[:16]}"
    for root in roots():
        folder = root / name
        if is_complete(folder):
            if _is_trusted(folder):
                _say_elsewhere(root)
                _mark_used(folder)
                return folder  # which may be read-only
            log.warning("%s: kernels there may be another user's, and are not used", folder)
        if _is_prepared(root, folder):
            _say_elsewhere(root)
            _mark_used(folder)
            return folder
    raise OSError(f"no writable folder for compiled kernels; set {CACHE_VARIABLE}")


def _say_elsewhere(root: Path) -> None:
    """Log that kernels are kept elsewhere than was asked for."""
    base = os.environ.get(CACHE_VARIABLE)
    if base and root != Path(base):
        log.warning("%s: kernels cannot be kept there; they are in %s", base, root)


def roots() -> Iterator[Path]:
    """Where kernels, and what is found of this machine, may be kept, the best place first."""
    base = os.environ.get(CACHE_VARIABLE)
    if base:
        yield Path(base)
    else:
        with contextlib.suppress(RuntimeError):  # neither HOME nor an entry in passwd
            if (home := Path.home()).is_absolute():
                yield home / ".cache" / "unetmm"
    temporary = _temporary_root()
    if temporary is None:
        return
    with contextlib.suppress(OSError):
        temporary.mkdir(mode=0o700, exist_ok=True)
        if _is_ours_alone(temporary, (_user(),)):
            yield temporary


def _is_prepared(root: Path, folder: Path) -> bool:
    """Whether kernels can be kept in a folder, which is made if need be."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o755)
        if not _is_ours_alone(folder, (_user(),)):
            if folder.lstat().st_uid != _user() or folder.is_symlink():
                return False
            shutil.rmtree(folder)  # ours, but others could write there
            folder.mkdir(mode=0o755)
        if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
            log.warning("%s: the disk is full, so kernels are not kept there", root)
            return False
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def is_complete(folder: Path) -> bool:
    """Whether all kernels of a precision are in a folder, and can be read."""
    return any(folder.glob(f"{COMPLETE}*")) and os.access(folder, os.R_OK | os.X_OK)


def _is_trusted(folder: Path) -> bool:
    """Whether only who may change this program anyway can have put something there."""
    owners = {_user(), 0}
    for path in (__file__, sys.executable):
        with contextlib.suppress(OSError):
            owners.add(os.stat(path).st_uid)
    return _is_ours_alone(folder, owners)


def _mark_used(folder: Path) -> None:
    """Note that a folder was used last just now, for `remove_old`."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def _temporary_root() -> Path | None:
    """A folder of this user for what is lost when the machine starts; None if there is none."""
    try:
        root = Path(tempfile.gettempdir())
    except OSError:
        return None
    # Where nothing else can be written, Python takes the working folder.
    return None if root == Path.cwd() else root / f"unetmm-{_user()}"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_ours_alone(folder: Path, owners: Collection[int]) -> bool:
    """Whether nobody else can put anything there: what is there runs as our code."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return sys.platform == "win32" or (
        found.st_uid in owners and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def write_stamp(folder: Path, precision: str) -> None:
    """Note that the kernels of a precision are all there, and what they are."""
    files = (file for file in folder.iterdir() if file.suffix in (CODE, INDEX))
    sums = {file.name: _crc(file) for file in files}
    aside = folder / f".{COMPLETE}{precision}.{os.getpid()}"
    aside.write_text(json.dumps(sums), encoding="ascii")
    os.replace(aside, folder / f"{COMPLETE}{precision}")


def is_kept(folder: Path, precision: str) -> bool:
    """Whether the kernels of a precision are all there, as they were written.

    Those that are damaged are removed if they can be: machine code is run, whatever it is.
    """
    stamp = folder / f"{COMPLETE}{precision}"
    try:
        sums = json.loads(stamp.read_text(encoding="ascii") or "{}")
        wrong = [name for name, crc in sums.items() if not _is_sound(folder / name, crc)]
    except (OSError, ValueError, AttributeError):
        return False
    for name in wrong:
        log.warning("%s: a kernel is damaged and is compiled again", folder / name)
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
            stamp.unlink(missing_ok=True)
    return not wrong


def _is_sound(file: Path, crc: int) -> bool:
    """Whether a file is what it was, or an index that other signatures were added to since."""
    if _crc(file) == crc:
        return True
    if file.suffix != INDEX:
        return False
    try:
        with file.open("rb") as stream:  # which is ours, and Numba would read it just so
            pickle.load(stream)
            pickle.load(stream)
    except Exception:
        return False
    return True


def _crc(file: Path) -> int:
    try:
        return zlib.crc32(file.read_bytes())
    except OSError:
        return -1


def remove_old(folder: Path) -> None:
    """Remove what older versions left beside a folder of kernels; if that cannot be, it stays.

    A process that still uses one of them makes it anew.
    """

    def used_ns(other: Path) -> int:
        try:
            return other.stat().st_mtime_ns
        except OSError:  # another process has removed it meanwhile
            return 0

    try:
        others = [p for p in folder.parent.glob(f"{_PREFIX}*") if p != folder]
    except OSError:
        return
    for old in sorted(others, key=used_ns, reverse=True)[KEPT_FOLDERS:]:
        shutil.rmtree(old, ignore_errors=True)


def cached_on_disk(dispatcher: Any) -> Any:
    """Let a Numba function keep its machine code in `cache_folder`, if there is one."""
    import numba

    before = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = "unetmm.compiling.locator.KernelLocator"
    try:
        dispatcher.enable_caching()
        dispatcher._cache = _Forgiving(dispatcher._cache, dispatcher.py_func)
    except (OSError, RuntimeError) as error:
        unkept.append(str(error))
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
    return dispatcher


unkept: list[str] = []
"""Reasons why machine code of this process could not be kept."""


class _Forgiving:
    """A function's cache of which no failure ends a run: then it is compiled, or not kept."""

    def __init__(self, cache: Any, function: Callable[..., Any]) -> None:
        self._cache, self._function = cache, function

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Machine code from the disk, or of what was shipped; None if there is neither."""
        found = self._load_kept(signature, target)
        return self._load_shipped(signature, target) if found is None else found

    def _load_shipped(self, signature: Any, target: Any) -> Any:
        """Make machine code of a kernel that was shipped, and keep it if that can be."""
        from numba.core.compiler import CompileResult

        try:
            key = shipped.key_of(self._function, signature)
            made = shipped.machine_code(key, target.codegen())
            if made is None:
                return None
            loaded = CompileResult._rebuild(target, *made)
        except Exception as error:  # of Numba or LLVM, which are asked in an unusual way
            log.warning("a shipped kernel cannot be used, so it is compiled (%s)", error)
            return None
        self._keep(partial(self._save_made, signature, target.codegen(), made))
        return loaded

    def _save_made(self, signature: Any, codegen: Any, made: Any) -> None:
        # Numba forgets machine code that it did not make itself, so `save_overload` has none.
        self._cache._cache_file.save(self._cache._index_key(signature, codegen), made)

    def _load_kept(self, signature: Any, target: Any) -> Any:
        try:
            return self._cache.load_overload(signature, target)
        except Exception as error:  # a damaged pickle raises anything
            log.warning(
                "%s: kernels are damaged and compiled again (%s)",
                self._cache.cache_path, type(error).__name__,
            )  # fmt: skip
            with contextlib.suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, *what: Any) -> None:
        """Keep machine code, if it can be."""
        self._keep(partial(self._cache.save_overload, *what))

    def _keep(self, save: Callable[[], None]) -> None:
        try:
            save()
        except Exception as error:
            if not unkept:
                log.warning("%s: kernels are not kept (%s)", self._cache.cache_path, error)
            unkept.append(str(error))
