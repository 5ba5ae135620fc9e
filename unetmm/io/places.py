"""Places: a Path on a disk, or a URL of an object store or web server, such as s3://bucket/key.

Anything that fsspec knows can be read as Zarr; what it can write can hold an OME-Zarr. Secrets,
regions and endpoints come from where its drivers look for them (AWS_ACCESS_KEY_ID, AWS_PROFILE,
AWS_ENDPOINT_URL, FSSPEC_S3_ANON=true, ...), never from here.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeAlias

from unetmm.errors import ImageError
from unetmm.io.failures import translated

REMOTE_BYTES = 16 * 2**20
"""Memory of a driver's connections and buffers from the first chunk on, measured with s3fs."""

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
"""Names of files, each of which makes a folder a Zarr."""

_URL = re.compile(r"([a-z][a-z0-9+.\-]*)://", re.IGNORECASE)
_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
_NO_LISTINGS = {"use_listings_cache": False}
"""Options of drivers that keep no listings, for other processes write what we list."""
_LEFT_OPEN = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, order=True)
class RemotePath:
    """An URL with the few things of a Path that the pipeline asks for; "folders" are prefixes."""

    url: str
    """Text of the URL, without a slash at the end."""

    def __str__(self) -> str:
        return self.url

    @property
    def protocol(self) -> str:
        return self.url.split("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(self.url.split("://")[1]).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.url.rsplit("/", 1)[0])

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def __truediv__(self, below: str | PurePath) -> RemotePath:
        return RemotePath(f"{self.url}/{below}")

    def resolve(self) -> RemotePath:
        """Itself: an URL is absolute."""
        return self

    @property
    def is_top(self) -> bool:
        """Whether it is a bucket or a server rather than something in it."""
        return "/" not in self.url.split("://")[1].strip("/")

    def exists(self) -> bool:
        """Whether there is an object of this name, or any below it."""
        with _reached(self):
            try:
                self._files.info(self._key)  # `exists` takes every failure for a no
            except FileNotFoundError:
                return False
        return True

    def is_file(self) -> bool:
        with _reached(self):
            return bool(self._files.isfile(self._key))

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        with _reached(self):
            return bool(self._files.isdir(self._key))

    def read_bytes(self) -> bytes:
        """A whole object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        with _reached(self):
            data: bytes = self._files.cat_file(self._key)
        return data

    def write_bytes(self, data: bytes) -> None:
        """Make a whole object, or replace it."""
        with translated(self, "write it"):
            self._files.pipe_file(self._key, data)

    def create(self, data: bytes) -> bool:
        """Make an object unless there is one; whether it was made, which one process alone sees."""
        with translated(self, "write it"):
            try:
                self._files.pipe_file(self._key, data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if "precondition" not in str(error).lower().replace("-", ""):
                    raise
                return False
        return True

    def names(self) -> list[str]:
        """Names directly below it, in order."""
        with _reached(self):
            try:
                found = self._files.ls(self._key, detail=False)
            except FileNotFoundError:
                return []
        return sorted(name for f in found if (name := PurePosixPath(f).name) != self.name)

    def all_names(self) -> list[str]:
        """Names of all objects below it, relative to it, in order."""
        with _reached(self):
            found = self._files.find(self._key)
        return sorted(str(PurePosixPath(f).relative_to(self._key)) for f in found)

    def remove(self) -> None:
        """Remove every object below it."""
        with _reached(self):
            try:
                # fsspec takes names for patterns: "scan[1]" would remove "scan1". Its version of
                # 2024 takes what it finds below an escaped name for patterns again.
                if glob.escape(self._key) == self._key:
                    self._files.rm(self._key, recursive=True)
                else:
                    found = {*self._files.find(self._key, withdirs=True), self._key}
                    self._files.rm([glob.escape(name) for name in found])
            except FileNotFoundError:
                return

    def version(self) -> str:
        """What changes with an object: its entity tag, or else its size and date."""
        with _reached(self):
            found: dict[str, Any] = self._files.info(self._key)
        tags = (found.get(k) for k in ("ETag", "etag", "LastModified", "mtime", "created"))
        tag = next((t for t in tags if t is not None), "unknown date")
        return f"{found.get('size')} bytes of {tag}".replace('"', "")

    @property
    def _files(self) -> Any:
        return _filesystem(self.protocol)

    @property
    def _key(self) -> str:
        return str(self._files._strip_protocol(self.url))


Place: TypeAlias = Path | RemotePath


def to_place(text: str | Place) -> Place:
    """The place that a user names; a Path would make one slash of the two in an URL.

    Raises
    ------
    ImageError
        If an URL names nothing.
    """
    if not isinstance(text, str):
        return text
    found = _URL.match(text)
    if found is None:
        return Path(text)
    if found[1].lower() == "file":
        return Path(text[found.end() :])
    if not text[found.end() :].strip("/"):
        raise ImageError(
            f"{text}: names no place; give one, such as {found[1]}://bucket/image.zarr"
        )
    return RemotePath(text.rstrip("/"))


def zarr_store(where: Place, *, read_only: bool = False) -> Any:
    """What zarr opens."""
    if isinstance(where, Path):
        if where.is_file():
            from zarr.storage import ZipStore

            return ZipStore(where, mode="r")
        return where  # as text, a name with "::" would be an URL to zarr
    from zarr.storage import FsspecStore

    _filesystem(where.protocol)  # says what is missing
    return FsspecStore.from_url(where.url, storage_options=_NO_LISTINGS, read_only=read_only)


@cache
def _filesystem(protocol: str) -> Any:
    """fsspec's driver, one for all threads.

    Raises
    ------
    ImageError
        If there is none, or it is not installed.
    """
    import fsspec  # type: ignore[import-untyped]

    try:
        return fsspec.filesystem(protocol, **_NO_LISTINGS)
    except ImportError as error:
        package = _EXTRAS.get(protocol)
        what = f"install it with pip install {package}" if package else str(error)
        raise ImageError(f"{protocol}://: needs {package or 'a driver'}; {what}") from error
    except ValueError as error:
        raise ImageError(f"{protocol}://: nothing is known of such URLs ({error})") from error


@contextmanager
def _reached(where: RemotePath) -> Iterator[None]:
    """Make failures of the network, of which drivers raise any kind, one line; absence is none."""
    try:
        with translated(where, "reach it"):
            yield
    except ImageError as error:
        if isinstance(error.__cause__, _LEFT_OPEN):
            raise error.__cause__ from None
        raise


def is_zarr(path: Place) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((path / mark).is_file() for mark in ZARR_MARKS)
