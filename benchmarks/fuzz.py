"""Damage small files in seeded ways and open them: no traceback, no crash, no hang, no more memory.

    python benchmarks/fuzz.py --minutes 10 --keep fuzz-findings

Every reader has seeds made by code, and those of a folder (`--corpus`) that it recognises. A
process for each reader mutates, opens and reads; it is started again after a crash or a hang. What
is right: an image, or one of unetmm's errors; no longer than SLOW_S; peak memory within what the
source says (`resident_bytes`, `read_bytes`) and the box that is read. What is not is kept, with its
number: the same number damages the same way again. Exit code 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fuzz_seeds import SEEDS

SLOW_S = 10.0
"""Time in seconds after which opening and reading one small file counts as a hang."""
ROOM_BYTES = 400 * 10**6
"""Budget that files are opened within."""
NOISE_BYTES = 48 * 10**6
"""Growth of memory that is not looked at: libraries that are loaded, allocators."""
ADDRESS_SPACE_BYTES = 16 * 10**9
"""Limit of a process, so that a finding does not stop the machine."""
MOST_BYTES = 4 * 2**20
"""Largest file of a corpus that is damaged."""
MARKS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers at which readers go wrong."""


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes with a few changes of one of several kinds."""
    out = bytearray(data)
    for _ in range(1 + int(draw.expovariate(0.7))):
        if not out:
            return bytes(out)
        # Headers are where it hurts.
        span = len(out) if draw.random() < 0.5 else min(len(out), 600)
        at = draw.randrange(span)
        kind = draw.randrange(7)
        if kind == 0:
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            out[at] = draw.randrange(256)
        elif kind == 2:
            size, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
            number = draw.choice(MARKS) & ((1 << 8 * size) - 1)
            out[at : at + size] = number.to_bytes(size, order)
        elif kind == 3:
            del out[at : at + draw.choice((1, 4, 16, 400))]
        elif kind == 4:
            length = draw.choice((1, 4, 16, 400))
            out[at:at] = out[(start := draw.randrange(len(out))) : start + length]
        elif kind == 5:
            del out[draw.randrange(len(out)) :]
        else:
            digits = [i for i, b in enumerate(out[:5000]) if 48 <= b <= 57]
            if digits:
                place = draw.choice(digits)
                out[place : place + 1] = draw.choice((b"0", b"-1", b"99999999", b"1e308", b"NaN"))
    return bytes(out)


def with_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the sums of what they hold now, or it would be refused at once."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        length = int.from_bytes(out[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def damage(seed: Path, target: Path, draw: random.Random) -> None:
    """A damaged copy of a file, or of a folder of which some files are damaged."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    if seed.is_file():
        data = damaged(seed.read_bytes(), draw)
        target.write_bytes(with_sums(data) if seed.suffix == ".png" else data)
        return
    shutil.copytree(seed, target)
    files = sorted(p for p in target.rglob("*") if p.is_file())
    for file in draw.sample(files, min(len(files), draw.choice((1, 1, 2)))):
        file.write_bytes(damaged(file.read_bytes(), draw))


def try_file(path: Path) -> tuple[bool, str]:
    """Whether a file was read, and what is wrong with how it was taken; empty if nothing is."""
    from unetmm import process
    from unetmm.errors import UnetmmError
    from unetmm.io.image import Box
    from unetmm.io.limits import reading_within
    from unetmm.io.open import open_source
    from unetmm.models.weights import load_model

    process.reset_peak()
    before, allowed, started = process.resident_bytes(), 0, time.monotonic()
    was_read = False
    try:
        with reading_within(ROOM_BYTES):
            if path.suffix == ".safetensors":
                assert load_model(path).tensors
                allowed = 4 * path.stat().st_size
            else:
                with closing(open_source(path)) as source:
                    info = source.info
                    box = Box(0, 0, min(info.height, 64), min(info.width, 64))
                    own = box.height * box.width * info.samples * info.dtype.itemsize
                    needed = source.resident_bytes + source.read_bytes(box.height, box.width)
                    allowed = needed + 3 * own
                    if allowed < ROOM_BYTES:  # else no plan would let it be read
                        planes = list(info.planes)[:3]
                        for plane in planes:
                            source.read(plane, box)
            was_read = allowed < ROOM_BYTES
    except UnetmmError as error:
        if "\n" in str(error) or len(str(error)) > 1500:
            return False, f"a message of {len(str(error))} characters: {str(error)[:300]}"
        allowed = max(allowed, ROOM_BYTES // 2)  # it was looked at before it was refused
    except Exception:
        return False, traceback.format_exc()[-3000:]
    grown = process.peak_bytes() - before
    if grown > allowed + NOISE_BYTES:
        return was_read, f"took {grown / 1e6:.0f} MB, said {allowed / 1e6:.0f} MB"
    seconds = time.monotonic() - started
    return was_read, f"took {seconds:.1f} s" if seconds > SLOW_S else ""


def work(reader: str, seeds: list[Path], first: int, until: float, folder: Path) -> None:
    """Damage and open until the time is up, a line of JSON for each finding and now and then."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for seed in seeds:
        was_read, problem = try_file(seed)  # loads libraries, too
        assert was_read, f"{seed}: {problem or 'a seed is refused'}"
    number = first
    while time.time() < until:
        draw = random.Random(f"{reader} {number}")
        seed = draw.choice(seeds)
        target = folder / f"damaged{seed.suffix}"
        print(json.dumps({"begun": number, "seed": seed.name}), flush=True)
        damage(seed, target, draw)
        was_read, problem = try_file(target)
        if was_read:
            print(json.dumps({"read": number}), flush=True)
        if problem:
            print(json.dumps({"number": number, "seed": seed.name, "problem": problem}), flush=True)
        number += 1


def fuzz(reader: str, seeds: list[Path], minutes: float, keep: Path) -> tuple[int, int, list[Any]]:
    """Numbers of files that were tried and that were read, and findings."""
    until, number, read, findings = time.time() + 60 * minutes, 0, 0, []
    while time.time() < until:
        with tempfile.TemporaryDirectory() as name:
            words = [sys.executable, __file__, "--worker", reader, "--first", str(number)]
            words += ["--until", str(until), "--folder", name, *map(str, seeds)]
            found = list(watch(subprocess.Popen(words, stdout=subprocess.PIPE, text=True), until))
            for event in found:
                number = max(number, event.get("begun", -1) + 1)
                read += "read" in event
            for event in (e for e in found if "problem" in e):
                findings.append(event)
                keep.mkdir(parents=True, exist_ok=True)
                seed = next(s for s in seeds if s.name == event["seed"])
                kept = keep / f"{reader}-{event['number']}{seed.suffix}"
                draw = random.Random(f"{reader} {event['number']}")
                assert draw.choice(seeds) == seed
                damage(seed, kept, draw)
                print(f"{reader} {event['number']} of {seed.name}: {event['problem']}", flush=True)
    return number, read, findings


def watch(process: subprocess.Popen[str], until: float) -> Iterator[dict[str, Any]]:
    """What a process says, and that it crashed or hung."""
    import selectors

    assert process.stdout is not None
    last: dict[str, Any] = {"begun": -1, "seed": ""}
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(60 if last["begun"] < 0 else 3 * SLOW_S):
            line = process.stdout.readline()
            if not line:
                break
            event = json.loads(line)
            last = event if "begun" in event else last
            yield event
        else:
            process.kill()
            yield {"number": last["begun"], "seed": last["seed"], "problem": "hung"}
    code = process.wait()
    if code not in (0, -9) and last["begun"] >= 0:
        yield {"number": last["begun"], "seed": last["seed"], "problem": f"ended with {code}"}
    elif code > 0:
        raise RuntimeError("the process for the files cannot be started")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for each reader")
    parser.add_argument("--readers", nargs="*", default=sorted(SEEDS), help="of all if none")
    parser.add_argument("--corpus", type=Path, help="folder of more files to damage")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("seeds", nargs="*", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.seeds, asked.first, asked.until, asked.folder)
        return 0
    total = 0
    with tempfile.TemporaryDirectory() as name:
        for reader in asked.readers:
            folder = Path(name) / reader
            folder.mkdir()
            SEEDS[reader](folder)
            seeds = sorted(folder.iterdir())
            if asked.corpus:
                suffixes = {seed.suffix for seed in seeds}
                more = (p for p in sorted(asked.corpus.rglob("*")) if p.suffix in suffixes)
                seeds += [p for p in more if p.is_file() and p.stat().st_size < MOST_BYTES]
            tried, read, findings = fuzz(reader, seeds, asked.minutes, asked.keep)
            total += len(findings)
            print(
                f"{reader}: {tried} files, {read} of them read, {len(findings)} findings",
                flush=True,
            )
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
