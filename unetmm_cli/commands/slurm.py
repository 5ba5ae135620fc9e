"""A batch script that runs the shares of a command as a Slurm job array."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import typer

from unetmm.errors import ImageError
from unetmm.io.places import to_place
from unetmm.sizes import JOB_HEADROOM
from unetmm_cli.options import Choices

WARNING_S = 120
"""The run is told to stop so long before its time is up."""
TIME = re.compile(r"(\d+-)?\d+(:\d\d){0,2}")
NOT_PASSED = ("shard", "scheduler", "cluster", "jobs", "mem_budget")
"""Choices that the script makes itself."""

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{nodes}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cores}
#SBATCH --mem={memory_mib}M
#SBATCH --time={time}
#SBATCH --signal=B:USR1@{warning_s}
#SBATCH --requeue
#SBATCH --open-mode=append

# Shares that are submitted again (sbatch --array=3,5 ...) still belong to all of them.
export UNETMM_SHARDS={nodes}

# Out of time, or preempted: stop in order and go on when the job runs again.
stop() {{ stopping=1; [ -z "$run" ] || kill -USR1 "$run"; }}
trap stop USR1
trap '[ -z "$run" ] || kill -TERM "$run"' TERM

cd {folder}
srun --ntasks=1 --cpus-per-task={cores} \\
    {command} &
run=$!
[ -z "$stopping" ] || kill -USR1 "$run"  # it came before there was something to tell
wait "$run"; code=$?
while kill -0 "$run" 2>/dev/null; do wait "$run"; code=$?; done
if [ -n "$stopping" ] && [ "$code" -ne 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


@dataclass(frozen=True)
class Batch:
    """What to run, and on how much of a cluster."""

    inputs: list[str]
    output: str
    nodes: int
    """Shares, each of which is a task of the array."""
    time: str
    """Limit of each, as Slurm writes it."""
    cores: int
    """Of each."""


def make_script(batch: Batch, choices: Choices) -> str:
    """The script for `sbatch`.

    Raises
    ------
    UnetmmError
        If the run itself would be refused.
    """
    if not TIME.fullmatch(batch.time):
        raise typer.BadParameter(f'"{batch.time}" is not a time limit; write 1:00:00 or 2-12:00:00')
    if choices.shard is not None or choices.scheduler or choices.cluster:
        raise typer.BadParameter("the script shares the run itself: leave out --shard and clusters")
    if choices.watch or choices.watch_for is not None:
        raise typer.BadParameter("a job array does not watch folders: leave out --watch")
    if choices.mem_budget is None:
        raise typer.BadParameter(
            "the script asks for jobs with so much memory: give --mem-budget, each job's"
        )
    from unetmm_cli.commands.restore import check_task

    check_task(choices, "denoise")
    _check_inputs(batch, choices)
    words = [*_program(), "denoise", *batch.inputs, "-o", batch.output, "--shard", "auto"]
    words += ["--mem-budget", str(choices.mem_budget), *option_words(choices)]
    return SCRIPT.format(
        name=f"unetmm-{re.sub('[^A-Za-z0-9.-]', '-', to_place(batch.output).name)}",
        nodes=batch.nodes,
        cores=batch.cores,
        memory_mib=math.ceil(choices.mem_budget * JOB_HEADROOM / 2**20),
        time=batch.time,
        warning_s=WARNING_S,
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(words),
    )


def _check_inputs(batch: Batch, choices: Choices) -> None:
    """Plan every image now rather than in a job that fails at night."""
    from unetmm_cli.batch.inputs import find, is_alone
    from unetmm_cli.batch.placing import is_folder, make_items, output_of
    from unetmm_cli.commands.plan import look_ahead

    if "-" in batch.inputs:
        raise ImageError("-: a job has no stdin; give the names, or @FILE with a name a line")
    if batch.output == "-":
        raise ImageError("-: a job has no stdout to write an image to; name an output")
    found = find(batch.inputs)
    if is_alone(found, batch.inputs) and not is_folder(batch.output):
        path = found[0][0]
        look_ahead(path, output_of(path, batch.output, choices), choices.to_options())
        return
    for item in make_items(batch.inputs, found, to_place(batch.output), choices):
        look_ahead(item.input, item.output, choices.to_options(), makes_folder=True)


def _program() -> list[str]:
    """This very installation: a job's PATH may name another."""
    return [sys.executable, "-m", "unetmm_cli"]


def option_words(choices: Choices) -> list[str]:
    """Choices as words of a command line, those that differ from the default."""
    words = []
    for field in fields(Choices):
        value = getattr(choices, field.name)
        if value == field.default or field.name in NOT_PASSED:
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:  # one word each, since a value such as -5,20 looks like an option
            words.append(f"{flag}={_text(field.name, value)}")
    return words


def _text(name: str, value: Any) -> str:
    if name == "planes":
        return ",".join(f"{axis}={first}:{_end(last)}" for axis, (first, last) in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _end(last: int) -> str:
    from unetmm.io.select import END

    return "" if last == END else str(last)
