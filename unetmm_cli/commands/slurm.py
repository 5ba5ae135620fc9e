"""`unetmm slurm`: a batch script that runs the shares of a command as a Slurm job array."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from unetmm.errors import ImageError
from unetmm.io.places import to_place
from unetmm.sizes import JOB_HEADROOM
from unetmm_cli import display
from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices

WARNING_S = 120
"""Seconds before its time is up at which a run is told to stop."""
TIME = re.compile(r"\d+(:[0-5]\d){0,2}|\d+-([01]?\d|2[0-3])(:[0-5]\d){0,2}")
"""Time limit as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds, or after days-
hours, hours:minutes or hours:minutes:seconds."""
NOT_PASSED = ("share", "scheduler", "cluster", "jobs", "mem_budget")
"""Options that the script sets itself."""

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{tasks}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cores}
#SBATCH --mem={memory_mib}M
#SBATCH --time={time}
#SBATCH --signal=B:USR1@{warning_s}
#SBATCH --requeue
#SBATCH --open-mode=append
{asked}
# Shares that are submitted again (sbatch --array=3,5 ...) still belong to all of them.
export UNETMM_SHARES={tasks}

# Out of time, or preempted: stop in order and go on when the job runs again.
stop() {{ stopping=1; [ -z "$run" ] || kill -USR1 "$run"; }}
trap stop USR1
trap '[ -z "$run" ] || kill -TERM "$run"' TERM

{path}cd {folder}
srun --ntasks=1 --cpus-per-task={cores} \\
    {command} &
run=$!
[ -z "$stopping" ] || kill -USR1 "$run"  # it came before there was something to tell
wait "$run"; code=$?
while kill -0 "$run" 2>/dev/null; do wait "$run"; code=$?; done
if [ -n "$stopping" ] && [ "$code" -ne 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""
"""Text of the script, with gaps for what to run and on how much of the cluster."""


@with_choices(without=("watch", "watch_for"))
def slurm(
    inputs: Inputs,
    choices: Choices,
    output: Output = None,
    tasks: Annotated[
        int, typer.Option(metavar="N", min=1, help="Shares, each a task of the job array.")
    ] = 8,
    time: Annotated[
        str, typer.Option(metavar="H:MM:SS", help="Limit of each; it goes on where it was.")
    ] = "1:00:00",
) -> None:
    """Print a batch script that restores on a Slurm cluster. Takes the options of denoise.

    Options for sbatch stand behind --, as in -- --partition=long --account=lab. A GPU is asked
    for where --device names one.

    Example: unetmm slurm scan.tif -o scan.ome.zarr --tasks 8 --mem-budget 4GB | sbatch
    """
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import task_named

    asked = tuple(word for word in inputs if word.startswith("-") and word != "-")
    images = [word for word in inputs if word not in asked]
    images, output = named_output(images, output, choices, task_named(choices).ending)
    cores = choices.restoration.cores or os.cpu_count() or 1
    display.result(make_script(JobArray(images, output, tasks, time, cores, asked), choices))


@dataclass(frozen=True)
class JobArray:
    """What to run, and on how much of a cluster."""

    inputs: list[str]
    """Images as the command line names them."""
    output: str
    """Output as the command line names it."""
    tasks: int
    """Number of shares, each of which is a task of the array."""
    time: str
    """Time limit of each task, as Slurm writes it."""
    cores: int
    """Number of cores of each task."""
    asked: tuple[str, ...] = ()
    """Options for sbatch that the user adds."""


def make_script(array: JobArray, choices: Choices) -> str:
    """The script for `sbatch`.

    Raises
    ------
    UnetmmError
        If the run itself would be refused.
    """
    if not TIME.fullmatch(array.time):
        raise typer.BadParameter(f'"{array.time}" is not a time limit; write 1:00:00 or 2-12:00:00')
    if choices.output.share is not None or choices.cluster.is_used:
        raise typer.BadParameter("the script shares the run itself: leave out --share and clusters")
    if choices.devices:
        raise typer.BadParameter(
            "a job gets one GPU: give --device cuda, and as many --tasks as GPUs or more"
        )
    budget_bytes = choices.restoration.mem_budget
    if budget_bytes is None:
        raise typer.BadParameter(
            "the script asks for jobs with so much memory: give --mem-budget, each job's"
        )
    from unetmm_cli.batch.one import task_named

    _check_inputs(array, choices)
    words = [*_program(), task_named(choices).name, *array.inputs, "-o", array.output]
    words += ["--share", "auto", "--mem-budget", str(budget_bytes), *option_words(choices)]
    return SCRIPT.format(
        name=f"unetmm-{re.sub('[^A-Za-z0-9.-]', '-', to_place(array.output).name)}",
        tasks=array.tasks,
        asked="".join(f"#SBATCH {word}\n" for word in sbatch_options(array, choices)),
        cores=array.cores,
        memory_mib=math.ceil(budget_bytes * JOB_HEADROOM / 2**20),
        time=array.time,
        warning_s=WARNING_S,
        path=_search_path(),
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(words),
    )


def sbatch_options(array: JobArray, choices: Choices) -> list[str]:
    """What the user adds, and a GPU if the run needs one that is not asked for."""
    for word in array.asked:
        if not re.fullmatch(r"--?[A-Za-z][A-Za-z-]*(=\S.*)?", word):
            raise typer.BadParameter(f'"{word}" is no option of sbatch; write it as --name=value')
    has_gpu = any(re.match(r"--(gres|gpus)\b", word) for word in array.asked)
    needed = choices.restoration.device.startswith("cuda") and not has_gpu
    return [*array.asked, *(["--gres=gpu:1"] if needed else [])]


def _check_inputs(array: JobArray, choices: Choices) -> None:
    """Plan every image now rather than in a job that fails at night."""
    from unetmm.plan.outlook import look_ahead
    from unetmm_cli.batch.inputs import find, is_alone
    from unetmm_cli.batch.pages import check_pages
    from unetmm_cli.batch.placing import is_folder, make_items, output_of

    if "-" in array.inputs:
        raise ImageError("-: a job has no stdin; give the names, or @FILE with a name a line")
    if array.output == "-":
        raise ImageError("-: a job has no stdout to write an image to; name an output")
    found, options = find(array.inputs), choices.to_options()
    choices.check_calibration()
    if is_alone(found, array.inputs) and not is_folder(array.output):
        path = found[0][0]
        look_ahead(path, output_of(path, array.output, choices), options)
        return
    items = list(make_items(array.inputs, found, to_place(array.output), choices))
    check_pages(len(items), choices)
    problems = []
    for item in items:
        try:
            look_ahead(item.input, item.output, options, makes_folder=True)
        except ImageError as error:
            problems.append(error)
            display.say(f"warning: {error}; the jobs will leave it out")
    if problems and len(problems) == len(items):
        raise problems[0]


def _program() -> list[str]:
    """This very installation: a job's PATH may name another. Files beside the images are none."""
    if not sys.executable:
        raise ImageError(
            "Python does not say where it is, so no job can start it; call it by a path"
        )
    return [sys.executable, "-P", "-m", "unetmm_cli"]


def _search_path() -> str:
    """A line that names the folder of the package, if Python finds it by the working folder only.

    Jobs do not look there, or a file beside the images could be run as a part of the program.
    """
    root = Path(__file__).parents[2]
    if any(Path(part) == root for part in sys.path[1:]):
        return ""
    return f"export PYTHONPATH={shlex.quote(str(root))}${{PYTHONPATH:+:$PYTHONPATH}}\n"


def option_words(choices: Choices) -> list[str]:
    """The choices that differ from the defaults, as words of a command line."""
    words = []
    for name, value in _changed_values(choices):
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:  # one word each, since a value such as -5,20 looks like an option
            words.append(f"{flag}={_text(name, value)}")
    return words


def _changed_values(choices: Choices) -> Iterator[tuple[str, Any]]:
    """(name, value) of the options that the script passes on."""
    for panel in fields(choices):
        chosen = getattr(choices, panel.name)
        for field in fields(chosen):
            value = getattr(chosen, field.name)
            if value != field.default and field.name not in NOT_PASSED:
                yield field.name, value


def _text(name: str, value: Any) -> str:
    """A value as the option of that name takes it."""
    if name == "crop":
        from unetmm.io.framed import crop_text

        return crop_text(value)
    if name == "planes":
        return ",".join(f"{axis}={first}:{_end(last)}" for axis, (first, last) in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _end(last: int) -> str:
    from unetmm.io.select_words import END

    return "" if last == END else str(last)
