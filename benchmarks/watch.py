"""The real command in a process of its own, watched from outside: its plan, peak and time.

Shared by the benchmarks beside it. The peak is what the kernel counted over the process's life, so
this process must stay smaller than what it measures: images are made in processes of their own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
TILE_PX = 512
TILES = 8
"""Number of different tiles that a synthetic image is made of."""
QUIET_S = 3.0
"""Time after which a peak that has not moved, every strip under way, is taken for the peak."""


@dataclass
class Run:
    """What became of one command."""

    plan: dict[str, Any] = field(default_factory=dict)
    megapixels: float = 0.0
    """Size of the image."""
    peak_bytes: int = 0
    """Largest resident set of the process's life, as the kernel has it."""
    seconds: float = 0.0
    exit_code: int = 0
    stopped_at: float | None = None
    """Share of the image after which it was stopped; None if it ran to its end."""
    report: dict[str, Any] = field(default_factory=dict)
    """Content of the --report, if the run came so far."""
    words: str = ""
    """Reason of a failure, or the last line that was no event."""
    group_peak_bytes: int | None = None
    """Peak that the control group counted, files in memory included."""
    kills: int = 0
    """Processes that the control group killed."""


@dataclass(frozen=True)
class Limit:
    """A limit of memory that ends a process which exceeds it."""

    nbytes: int
    group: Path | None
    """A control group of its own; None: RLIMIT_DATA."""

    def enter(self) -> None:
        """Called in the new process before it becomes the command."""
        if self.group is None:
            resource.setrlimit(resource.RLIMIT_DATA, (self.nbytes, self.nbytes))
        else:
            (self.group / "cgroup.procs").write_text("0", encoding="ascii")

    def look(self, run: Run) -> None:
        """Take over what the group has counted."""
        if self.group is None:
            return
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if (self.group / name).exists():
                run.group_peak_bytes = int((self.group / name).read_text(encoding="ascii"))
        for name in ("memory.oom_control", "memory.events"):
            if (self.group / name).exists():
                lines = (self.group / name).read_text(encoding="ascii").splitlines()
                run.kills += sum(int(n.split()[1]) for n in lines if n.startswith("oom_kill "))


@contextmanager
def limited(nbytes: int | None) -> Iterator[Limit | None]:
    """A limit by control group where one can be made, by RLIMIT_DATA elsewhere; None for none."""
    if nbytes is None:
        yield None
        return
    group = _make_group(nbytes)
    try:
        yield Limit(nbytes, group)
    finally:
        if group is not None:
            group.rmdir()


def _make_group(nbytes: int) -> Path | None:
    for root, name in (
        (CGROUPS / "memory", "memory.limit_in_bytes"),
        (CGROUPS, "memory.max"),
    ):
        group = root / f"unetmm-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(nbytes), encoding="ascii")
            return group
        except OSError:
            group.rmdir()
    return None


def command(image: Path, output: Path, model: str, budget: int, *more: str) -> list[str]:
    """`unetmm restore` as a list of arguments."""
    return [
        sys.executable, "-m", "unetmm_cli", "restore", str(image), "-o", str(output),
        "--model", model, "--mem-budget", f"{budget}B", "--overwrite", "--log", "json", *more,
    ]  # fmt: skip


def restore(
    image: Path,
    output: Path,
    model: str,
    budget: int,
    *more: str,
    stop_early: bool = False,
    limit: Limit | None = None,
) -> Run:
    """Restore an image, to the end or until its peak is reached.

    stop_early: send SIGUSR1, which stops a run in order, once every live strip has written a row
        of chunks and the peak has not moved for a while.
    """
    report = output.with_name(output.name + ".report.json")
    run, started = Run(), time.monotonic()
    process = subprocess.Popen(
        command(image, output, model, budget, "--report", str(report), *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit.enter if limit else None,
    )
    try:
        _watch(process, run, stop_early)
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    run.exit_code = process.returncode = os.waitstatus_to_exitcode(status)
    run.seconds, run.peak_bytes = time.monotonic() - started, usage.ru_maxrss * 1024
    if limit is not None:
        limit.look(run)
    if report.exists():
        run.report = json.loads(report.read_text(encoding="utf-8"))
        report.unlink()
    return run


def _watch(process: subprocess.Popen[str], run: Run, stop_early: bool) -> None:
    """Take in what a command says until it ends, and stop it if it may stop early."""
    steady = _Steady(process.pid)
    assert process.stderr is not None
    for line in process.stderr:
        event = _event(line)
        if event is None:
            run.words = line.strip() or run.words
        elif event["event"] == "error":
            run.words = event["message"]
        elif event["event"] == "start":
            run.plan, run.megapixels = event["plan"], event["megapixels"]
        elif event["event"] == "progress" and stop_early and run.stopped_at is None:
            if steady.reached(event, run.plan):
                run.stopped_at = event["megapixels"] / event["total_megapixels"]
                process.send_signal(signal.SIGUSR1)


def _event(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None


class _Steady:
    """Knows when a run's memory has reached its peak."""

    def __init__(self, pid: int) -> None:
        self.status, self.peak, self.since = Path(f"/proc/{pid}/status"), 0, time.monotonic()

    def reached(self, event: dict[str, Any], plan: dict[str, Any]) -> bool:
        """Whether all live strips have written and the peak rests."""
        peak, now = peak_of(self.status), time.monotonic()
        if peak > self.peak:
            self.peak, self.since = peak, now
        written_px = event["megapixels"] * 1e6
        row_px = plan["workers"] * plan["strip_width_px"] * (TILE_PX + plan["band_rows"])
        return event["phase"] == "compute" and written_px > row_px and now - self.since > QUIET_S


def peak_of(status: Path) -> int:
    """VmHWM of a process."""
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return max((int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM")), default=0)


def end_tidily() -> None:
    """Let SIGTERM end what was started, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def plan_of(image: Path, output: Path, model: str, budget: int) -> dict[str, Any] | str:
    """What `unetmm plan --json` says, or the line with which it refuses."""
    arguments = [
        sys.executable, "-m", "unetmm_cli", "plan", str(image), "-o", str(output), "--model", model,
        "--mem-budget", f"{budget}B", "--json",
    ]  # fmt: skip
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def aside(work: Callable[..., None], *values: Any) -> None:
    """Do something in a process of its own, whose memory does not count for this one."""
    process = multiprocessing.get_context("fork").Process(target=work, args=values)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed with exit code {process.exitcode}")


def make_image(path: Path, height: int, width: int, kind: str, compression: str | None) -> None:
    """A tiled TIFF of smooth shapes and noise: "mono16", "rgb8", or "flat8", an empty RGB one."""
    import imagecodecs
    import numpy as np
    import tifffile

    samples, dtype, top = (1, np.uint16, 4000) if kind == "mono16" else (3, np.uint8, 255)
    rng = np.random.default_rng(0)
    turn = np.arange(TILE_PX) * (2 * np.pi / TILE_PX)  # tiles fit together
    clean = top * (0.5 + 0.25 * np.sin(3 * turn)[:, None] * np.cos(2 * turn))[..., None]
    encoded = []
    for _ in range(1 if kind == "flat8" else TILES):
        noise = rng.normal(0, 0 if kind == "flat8" else top / 12, (TILE_PX, TILE_PX, samples))
        level = 0 * clean if kind == "flat8" else clean
        tile = np.clip(level + noise, 0, np.iinfo(dtype).max).astype(dtype).tobytes()
        encoded.append(imagecodecs.zlib_encode(tile, level=1) if compression else tile)
    count = -(-height // TILE_PX) * -(-width // TILE_PX)
    part = path.with_name(path.name + ".part")
    tifffile.imwrite(
        part, (encoded[int(i)] for i in rng.integers(len(encoded), size=count)),
        shape=(height, width) if samples == 1 else (height, width, samples),
        dtype=dtype, tile=(TILE_PX, TILE_PX), compression=compression, bigtiff=True,
        photometric="minisblack" if samples == 1 else "rgb",
    )  # fmt: skip
    part.rename(path)


def make_weights(path: Path, net: str, channels: int) -> None:
    """Random weights of nafnet-32 or unetmm-32."""
    from unetmm.benchmark.setting import random_model
    from unetmm.models.weights import save_model
    from unetmm.nets.config import nafnet32_config

    config = nafnet32_config(channels)
    model = random_model(net, config.with_aggregate() if net == "unetmm-32" else config)
    save_model(path, model.config, model.tensors, model.card)


def model_for(net: str, kind: str, folder: Path) -> str:
    """What --model takes for a net and a kind of image; random weights are made once."""
    channels = 1 if kind == "mono16" else 3
    if net == "tiny":
        return "tiny-mono" if channels == 1 else "tiny-rgb"
    path = folder / f"{net}-{channels}.safetensors"
    if not path.exists():
        aside(make_weights, path, net, channels)
    return str(path)


def files_of(output: Path) -> dict[str, bytes]:
    """Name within the output -> bytes of every file of it; one file has no name."""
    if output.is_file():
        return {"": output.read_bytes()}
    return {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()}


def remove_output(output: Path) -> None:
    """An output and what is under way of it."""
    import shutil

    for path in (output, output.with_name(f".{output.name}.part")):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def megabytes(nbytes: float) -> str:
    return f"{nbytes / 1e6:.0f} MB"
