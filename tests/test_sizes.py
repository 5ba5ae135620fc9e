"""Memory sizes as people write them."""

from __future__ import annotations

import pytest

from unetmm import sizes
from unetmm.errors import ShapeError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("512MB", 512_000_000),
        ("4GB", 4_000_000_000),
        ("4GiB", 4 * 2**30),
        ("1.5G", 3 * 2**29),
        (" 64 mb ", 64_000_000),
        ("1000000", 10**6),
    ],
)
def test_sizes_are_read(text: str, nbytes: int) -> None:
    assert sizes.parse_size(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "4XB", "-1GB", "0", "0%", "120%", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ShapeError, match="is not a memory size; write 512MB"):
        sizes.parse_size(text)


def test_percent_is_of_the_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "available_bytes", lambda: 8_000)
    assert sizes.parse_size("25%") == 2_000
    assert sizes.default_budget_bytes() == 4_000


def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_meminfo_available", lambda: 9_000)
    monkeypatch.setattr(sizes, "memory_left", lambda: [5_000, 7_000])
    assert sizes.available_bytes() == 5_000


def test_format_reads_back_by_eye() -> None:
    assert [sizes.format_size(n) for n in (1_500, 731_400_000, 4 * 10**9)] == [
        "1.5 kB",
        "731 MB",
        "4.00 GB",
    ]
