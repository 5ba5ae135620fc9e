"""Limits of containers: files in the page cache are not used memory, and quotas are cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from unetmm import cgroups, process


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_version_2(groups: Path) -> None:
    (groups / "own").write_text("0::/pod/box\n")
    stat = "anon 300\nfile 650\nactive_file 200\ninactive_file 400\nshmem 50"
    write(
        groups / "pod" / "box", memory__max="1000", memory__current="950", memory__stat=stat,
        cpu__max="150000 100000",
    )  # fmt: skip
    write(groups / "pod", memory__max="max", memory__current="5000", cpu__max="max 100000")
    assert cgroups.memory_left() == [1000 - (950 - 600)]
    assert cgroups.quota_cores() == 2
    assert process.available_cores() <= 2


def test_version_1(groups: Path) -> None:
    (groups / "own").write_text("9:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n")
    stat = "cache 900\nrss 40\ninactive_file 1\ntotal_inactive_file 700\ntotal_active_file 100"
    write(
        groups / "memory" / "job", memory__limit_in_bytes="1000",
        memory__usage_in_bytes="990", memory__stat=stat,
    )  # fmt: skip
    write(groups / "cpu" / "job", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    write(groups / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cgroups.memory_left() == [1000 - 190]
    assert cgroups.quota_cores() == 1


def test_no_groups_and_no_limits(groups: Path) -> None:
    assert cgroups.memory_left() == [] and cgroups.quota_cores() is None
    (groups / "own").write_text("0::/\n\nnonsense\n")
    write(groups, memory__max="max", memory__current="5000", cpu__max="max 100000")
    assert cgroups.memory_left() == [] and cgroups.quota_cores() is None
