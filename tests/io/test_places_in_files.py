"""Reading and writing at places is the same where the system has no single step for it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from unetmm.errors import ImageError
from unetmm.io.files import UPDATING, read_at, read_into, write_at, write_bytes_at
from unetmm.io.locking import OPENING, is_at, lock_file


@pytest.mark.parametrize("steps", ["one", "two"])
def test_arrays_at_places(tmp_path: Path, steps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if steps == "two":
        for name in ("pread", "preadv", "pwrite"):
            monkeypatch.delattr(os, name)
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    handle = os.open(path, UPDATING)
    pixels = np.arange(10, dtype=np.uint16)
    write_at(handle, pixels, 40)
    assert write_bytes_at(handle, b"end", 97) == 3
    found = np.zeros(10, np.uint16)
    read_into(handle, found, 40, path)
    assert (found == pixels).all() and read_at(handle, 50, 97) == b"end"
    with pytest.raises(ImageError, match="it has been truncated"):
        read_into(handle, found, 95, path)
    os.close(handle)


def test_a_lock_has_one_owner_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = (os.open(path, OPENING) for _ in range(2))
    assert lock_file(first, wait=False) and not lock_file(second, wait=False)
    os.close(first)
    assert lock_file(second, wait=False) and is_at(second, path)
    path.unlink()
    assert not is_at(second, path)
    os.close(second)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        os.open(path, OPENING)
