"""Runs a benchmark: one process after the other, what they say collected into an outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetmm.benchmark.outcome import Measurement, Outcome, processor_name
from unetmm.benchmark.setting import LAYOUTS, Files, Setting
from unetmm.child_environment import child_environment
from unetmm.errors import ShapeError, UnetmmError

LEAST_SIDE_PX = 64
CHILD = "-m", "unetmm.benchmark.child"
"""What a process that measures runs."""


@dataclass(frozen=True)
class Step:
    """What a caller is told while a benchmark goes on."""

    label: str
    what: str
    """setting up, first run, run i of n, done, failed."""
    seconds: float = 0.0


OnStep = Callable[[Step], None]


def run_benchmark(setting: Setting, on_step: OnStep = lambda step: None) -> Outcome:
    """Measure the stream, its bound, the plain forwards and the peers asked for.

    A contender that does not fit the memory or fails is reported as such.

    Raises
    ------
    ShapeError
        If a peer is unknown or not installed, or the image is too small.
    WeightsError
        If there is no such model.
    UnetmmError
        If the files that all contenders share could not be made.
    """
    contenders = _contenders(setting)
    with tempfile.TemporaryDirectory(prefix="unetmm-benchmark-") as name:
        files = Files(Path(name))
        on_step(Step("image and frozen statistics", "setting up"))
        failure = _prepare(setting, files)
        if failure:
            raise UnetmmError(f"the benchmark of {setting.model} cannot be set up: {failure}")
        found = tuple(
            _measure(key, label, setting, files, on_step) for key, label in contenders.items()
        )
    return Outcome(setting.model, setting.side_px, setting.threads, processor_name(), found)


def _contenders(setting: Setting) -> dict[str, str]:
    """Key -> label of everything that is to be measured."""
    from unetmm.benchmark.contenders import BF16, OWN
    from unetmm.benchmark.peers import PEERS
    from unetmm.stream.lanes import multiplies_bf16
    from unetmm.weights import load_model

    if setting.side_px < LEAST_SIDE_PX:
        raise ShapeError(
            f"asked for an image of {setting.side_px} px; a benchmark needs at least "
            f"{LEAST_SIDE_PX} px"
        )
    if setting.model not in LAYOUTS:
        load_model(setting.model)  # says at once if there is none
    left_out = () if multiplies_bf16() else BF16
    found = {key: label for key, (label, _) in OWN.items() if key not in left_out}
    for name in setting.peers:
        if name not in PEERS:
            raise ShapeError(f'no peer "{name}": there are {", ".join(PEERS)}')
        missing = PEERS[name].missing
        if missing:
            raise ShapeError(f"peer {name} is not installed: pip install {' '.join(missing)}")
        found[name] = PEERS[name].label
    return found


def installed_peers() -> tuple[str, ...]:
    """Names of all peers that could be measured here."""
    from unetmm.benchmark.peers import PEERS

    return tuple(name for name, peer in PEERS.items() if not peer.missing)


def _prepare(setting: Setting, files: Files) -> str:
    """Make the shared files; what went wrong, empty if nothing."""
    from unetmm.benchmark.contenders import PREPARE

    with _child(PREPARE, setting, files) as child:
        events = list(child.events)
    return _failure(child, events)


def _measure(key: str, label: str, setting: Setting, files: Files, on_step: OnStep) -> Measurement:
    on_step(Step(label, "setting up"))
    facts: dict[str, Any] = {}
    seconds: list[float] = []
    with _child(key, setting, files) as child:
        for event in child.events:
            facts |= event
            if "warm_s" in event:
                on_step(Step(label, "first run", event["warm_s"]))
            if "seconds" in event:
                seconds.append(event["seconds"])
                on_step(Step(label, f"run {len(seconds)} of {event['repeats']}", seconds[-1]))
    failure = _failure(child, [facts])
    if failure:
        on_step(Step(label, f"failed: {failure}"))
        return Measurement(key, label, failure=failure)
    return Measurement(
        key, label, tuple(seconds), setting.megapixels if facts["per_px"] else 0.0,
        facts["peak_bytes"], facts["difference"], facts["setup_s"], facts["note"],
    )  # fmt: skip


@dataclass
class _Child:
    """A process that measures, and what it sends."""

    process: subprocess.Popen[bytes]
    events: Iterator[dict[str, Any]]
    last_words: str = ""
    """What it wrote to stderr, once it has ended."""


@contextmanager
def _child(key: str, setting: Setting, files: Files) -> Iterator[_Child]:
    """Start a process for one contender; it has ended when the block is left."""
    receiving, sending = os.pipe()
    command = [
        sys.executable, *CHILD, key, setting.to_json(), str(files.folder), str(sending)
    ]  # fmt: skip
    with tempfile.TemporaryFile() as errors, os.fdopen(receiving, encoding="utf-8") as channel:
        try:
            process = subprocess.Popen(
                command, pass_fds=(sending,), stdout=subprocess.DEVNULL, stderr=errors,
                env=child_environment(),
            )  # fmt: skip
        finally:
            os.close(sending)
        child = _Child(process, (json.loads(line) for line in channel))
        try:
            yield child
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        errors.seek(0)
        child.last_words = errors.read().decode(errors="replace")


def _failure(child: _Child, events: Sequence[dict[str, Any]]) -> str:
    """Why a process has no figures, empty if it has."""
    code = child.process.returncode
    told = [event["failure"] for event in events if "failure" in event]
    if told:
        return str(told[0])
    if code == -signal.SIGKILL:
        return "killed by the system: it needs more memory than there is"
    if code:
        lines = child.last_words.strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {code}"
    return ""
