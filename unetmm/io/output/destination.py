"""Whether an output can be put where it is asked for: names, folders, free space."""

from __future__ import annotations

import glob
import os
import shutil
import stat
import tempfile
from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.failures import reason, translated
from unetmm.io.output.disk import part_path
from unetmm.io.places import Place, RemotePath, is_zarr


def check_destination(path: Place, *, overwrite: bool, folder: bool) -> None:
    """Refuse an output that could not be put under its name later.

    Parameters
    ----------
    folder : whether the output is a folder (Zarr), which may not replace a file or vice versa.
    """
    if isinstance(path, RemotePath):
        _check_remote(path, overwrite, folder)
        return
    parent = path.parent
    if not parent.is_dir():
        raise ImageError(f"{path}: the folder {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ImageError(f"{path}: the folder {parent} is not writable; choose another")
    _check_files(path)
    if not os.path.lexists(path):
        return
    if not (path.is_file() or path.is_dir() or path.is_symlink()):
        raise ImageError(f"{path}: is a device or a pipe, and no file; choose another name")
    if not overwrite:
        raise ImageError(f"{path}: exists; give --overwrite to replace it, or another name")
    if path.is_dir() != folder:
        found, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise ImageError(f"{path}: is {found} and would become {wanted}; choose another name")
    if folder and any(path.iterdir()) and not is_zarr(path):
        raise ImageError(f"{path}: is a folder that holds no Zarr; it is not replaced")


def _check_files(path: Path) -> None:
    """Refuse an output in what is no place for files, such as /proc, whatever its rights say."""
    with translated(path, "ask for the free disk space"):
        if shutil.disk_usage(path.parent).total:
            return
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ImageError(
            f"{path}: the folder {path.parent} takes no files ({reason(error)}); choose another"
        ) from error


def _check_remote(path: RemotePath, overwrite: bool, folder: bool) -> None:
    if not folder:
        raise ImageError(f"{path}: only OME-Zarr is written to URLs; name it .ome.zarr")
    if path.is_top:
        raise ImageError(f"{path}: names no image; give one, as {path}/scan.ome.zarr")
    if glob.has_magic(path.url):
        raise ImageError(
            f"{path}: drivers of object stores take *, ? and [ for patterns, so other images would "
            "be removed with it; choose another name"
        )
    if path.protocol in ("http", "https"):
        raise ImageError(f"{path}: web servers are only read; write to s3://, gs://, ... or a disk")
    if is_zarr(path):
        if not overwrite:
            raise ImageError(f"{path}: exists; give --overwrite to replace it, or another name")
    elif path.is_dir() and not path.with_name(f"{path.name}.part").is_dir():
        raise ImageError(f"{path}: there are objects below it that are no Zarr; name another")


def output_exists(path: Place) -> bool:
    """Whether there is something under an output's name; behind an URL chunks alone are nothing."""
    return is_zarr(path) if isinstance(path, RemotePath) else os.path.lexists(path)


def check_space(path: Path, needed_bytes: int, growing: Path | None = None) -> None:
    """Refuse an output that is larger than what its file system has left.

    What a run holds that was begun is left for it as well: it is gone on with, or cleared.

    growing : file that is written anew; None for all that the run has begun.
    """
    with translated(path, "ask for the free disk space"):
        disk = shutil.disk_usage(path.parent)
    if not disk.total or needed_bytes <= disk.free:  # some file systems do not know their size
        return
    free_bytes = disk.free + allocated_bytes(part_path(path) if growing is None else growing)
    if needed_bytes > free_bytes:
        raise ImageError(
            f"{path}: needs {needed_bytes / 2**20:.0f} MiB on disk, {free_bytes / 2**20:.0f} MiB "
            "are free; free some space or write elsewhere"
        )


def allocated_bytes(path: Path) -> int:
    """Bytes on disk of a file or folder, without holes; 0 if there is none, or it is a link."""
    try:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            return sum(map(allocated_bytes, path.iterdir()))
    except OSError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        return 0
    return getattr(found, "st_blocks", -(-found.st_size // 512)) * 512
