"""Kernels that come with the package are those of its source, and save the translation alone."""

from __future__ import annotations

import lzma
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.dispatcher import Dispatcher

from unetmm.compiling import shipped
from unetmm.compiling.cache import cache_folder, cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.compiling.sources import source_digest
from unetmm.engine.cpu.prepare import compile_aside
from unetmm.intensities.kernel import _move

FILES = sorted(shipped.FOLDER.iterdir())
needs_shipped = pytest.mark.skipif(
    not shipped.kernels(), reason="none are shipped for this system, width and compiler"
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_they_are_made_of_this_source_by_the_locked_compiler(file: Path) -> None:
    content = pickle.loads(lzma.decompress(file.read_bytes()))
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
    locked = [re.search(rf"^{name}==(\S+)", lock, re.M) for name in ("numba", "llvmlite")]
    versions = tuple(found[1] for found in locked if found)
    assert content.made_of == (source_digest(), *versions), "kernels changed: run make kernels"


def test_each_width_of_common_processors_is_there() -> None:
    assert [file.stem for file in FILES] == ["linux-x86_64-16", "linux-x86_64-8"]


@needs_shipped
def test_every_kernel_that_is_compiled_ahead_is_among_them() -> None:
    compile_aside()
    kept = {file.name.split("-")[0] for file in cache_folder().glob("*.nbi")}
    names = {name.removeprefix("unetmm.") for name, _ in shipped.kernels()}
    assert kept - {"matrix.multiply"} == {".".join(name.split(".")[-2:]) for name in names}


@needs_shipped
def test_they_need_no_translation_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.compiling.locator.cache_folder", lambda: tmp_path)
    ahead = cached_on_disk(njit(**INLINE)(_move.py_func))
    plain = njit(**INLINE)(_move.py_func)
    rng = np.random.default_rng(1)
    stored, restored = rng.normal(100, 50, 999).astype("f4"), rng.random(999).astype("f4")
    numbers = [np.float32(number) for number in (1.5, 0.01, 90, 0, 255)]

    def moved(function: Dispatcher) -> np.ndarray:
        values = stored.copy()
        low, inverse, scale, least, most = numbers
        function(values, restored, 0, 333, 3, 333, low, inverse, scale, True, least, most)
        return values

    expected = moved(plain)
    with monkeypatch.context() as patch:
        patch.setattr(type(ahead._compiler), "compile", None)
        np.testing.assert_array_equal(moved(ahead), expected)
        assert len(list(tmp_path.glob("*.nbc"))) == 1
        kept = cached_on_disk(njit(**INLINE)(_move.py_func))
        patch.setattr(shipped, "machine_code", None)
        np.testing.assert_array_equal(moved(kept), expected)


@needs_shipped
@pytest.mark.parametrize("wrong", ["source", "damaged", "code"])
def test_wrong_ones_are_not_used(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = pickle.loads(lzma.decompress(shipped.path().read_bytes()))
    if wrong == "source":
        content = content._replace(made_of=("another", *content.made_of[1:]))
    if wrong == "code":
        others = {key: kernel._replace(bitcode=b"") for key, kernel in content.kernels.items()}
        content = content._replace(kernels=others)
    packed = lzma.compress(pickle.dumps(content))
    file = tmp_path / "kernels.xz"
    file.write_bytes(packed[:-40] if wrong == "damaged" else packed)
    monkeypatch.setattr(shipped, "path", lambda: file)
    monkeypatch.setattr(shipped, "kernels", shipped.kernels.__wrapped__)
    monkeypatch.setattr("unetmm.compiling.locator.cache_folder", lambda: tmp_path)
    function = cached_on_disk(njit(**INLINE)(_move.py_func))
    one, zero = np.float32(1), np.float32(0)
    values = np.full(1, 2, np.float32)
    function(values, np.zeros(1, "f4"), 0, 1, 1, 1, zero, one, one, False, zero, zero)
    assert values == 0
    assert bool(caplog.text) == (wrong != "source")


def test_narrow_vectors_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "LANES", 4)
    assert shipped.kernels.__wrapped__() == {}
