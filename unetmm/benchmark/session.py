"""Runs a benchmark: one process after the other, what they say collected into a result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unetmm.benchmark.result import BOUNDS, BenchmarkResult, Measurement, processor_name
from unetmm.benchmark.setting import LAYOUTS, Files, Setting
from unetmm.errors import ShapeError, UnetmmError
from unetmm.extras import need_torch
from unetmm.process import child_environment

LEAST_SIDE_PX = 64
CHILD = "-P", "-m", "unetmm.benchmark.child"
"""Arguments of Python that start a process which measures."""


@dataclass(frozen=True)
class Step:
    """What a caller is told while a benchmark goes on."""

    label: str
    what: str
    """State of the contender: setting up, first run, run i of n, failed."""
    seconds: float = 0.0


OnStep = Callable[[Step], None]


def run_benchmark(setting: Setting, on_step: OnStep = lambda step: None) -> BenchmarkResult:
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
        found = [
            measurement
            for group in _in_turns(contenders)
            for measurement in _measure(group, setting, files, on_step)
        ]
    return BenchmarkResult(
        setting.model, setting.side_px, setting.threads, processor_name(), tuple(found)
    )


def _contenders(setting: Setting) -> dict[str, str]:
    """Key -> label of everything that is to be measured."""
    from unetmm.benchmark.contenders import BF16, OWN
    from unetmm.benchmark.peers import PEERS
    from unetmm.compiling.processor import multiplies_bf16
    from unetmm.models.weights import load_model

    need_torch("the benchmark, which compares with torch,")
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


def _in_turns(contenders: dict[str, str]) -> Iterator[dict[str, str]]:
    """Contenders by group whose runs take turns: streams with their bound, the others alone.

    A bound means little if it was measured in a quieter minute.
    """
    groups: dict[str, dict[str, str]] = {}
    for key, label in contenders.items():
        groups.setdefault(BOUNDS.get(key, key), {})[key] = label
    yield from groups.values()


def _measure(
    group: dict[str, str], setting: Setting, files: Files, on_step: OnStep
) -> list[Measurement]:
    """Contenders whose runs take turns, so that what else happens on the machine hits them all."""
    with ExitStack() as stack:
        running = []
        for key, label in group.items():
            on_step(Step(label, "setting up"))
            child = stack.enter_context(_child(key, setting, files))
            running.append(_Running(key, label, child))
            running[-1].warm_up(on_step)
        while any([one.run_once(on_step) for one in running]):  # all of them, one after the other
            pass
    return [one.measurement(setting, on_step) for one in running]


@dataclass
class _Child:
    """A process that measures, and what it sends."""

    process: subprocess.Popen[bytes]
    events: Iterator[dict[str, Any]]
    last_words: str = ""
    """Text the process wrote to stderr, once it has ended."""

    def go(self) -> None:
        """Let it run once; if it has ended, its events say so."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")


@dataclass
class _Running:
    """A contender that is being measured."""

    key: str
    label: str
    child: _Child
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts that its process has sent so far."""
    seconds: list[float] = field(default_factory=list)

    def warm_up(self, on_step: OnStep) -> None:
        """Wait until its first run is over."""
        if self._listen("warm_s"):
            on_step(Step(self.label, "first run", self.facts["warm_s"]))

    def run_once(self, on_step: OnStep) -> bool:
        """Run it once; whether there are more runs to come."""
        if len(self.seconds) == self.facts.get("repeats", -1):
            return False
        self.child.go()
        if not self._listen("seconds"):
            return False
        self.seconds.append(self.facts["seconds"])
        repeats = self.facts["repeats"]
        what = f"run {len(self.seconds)} of {repeats}"
        on_step(Step(self.label, what, self.seconds[-1]))
        if len(self.seconds) < repeats:
            return True
        self._listen()  # to the end: its memory is free for those that still run
        return False

    def _listen(self, fact: str | None = None) -> bool:
        """Take what it tells up to a certain fact, or all; False if the fact does not come."""
        for event in self.child.events:
            self.facts |= event
            if fact in event:
                return True
        return False

    def measurement(self, setting: Setting, on_step: OnStep) -> Measurement:
        """What was found, once its process has ended."""
        failure = _failure(self.child, [self.facts])
        if failure:
            on_step(Step(self.label, f"failed: {failure}"))
            return Measurement(self.key, self.label, failure=failure)
        facts = self.facts
        return Measurement(
            self.key, self.label, tuple(self.seconds),
            setting.megapixels if facts["per_px"] else 0.0,
            facts["peak_bytes"], facts["difference"], facts["setup_s"], facts["note"],
        )  # fmt: skip


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
                command, pass_fds=(sending,), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=errors, bufsize=0, env=child_environment(),
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
            assert process.stdin is not None
            process.stdin.close()
        errors.seek(0)
        child.last_words = errors.read().decode(errors="replace")


def _failure(child: _Child, events: Sequence[dict[str, Any]]) -> str:
    """Why a process has no figures, empty if it has."""
    code = child.process.returncode
    told = [event["failure"] for event in events if "failure" in event]
    if told:
        return str(told[0])
    if code == -getattr(signal, "SIGKILL", 9):
        return "killed by the system: it needs more memory than there is"
    if code:
        lines = child.last_words.strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {code}"
    return ""
