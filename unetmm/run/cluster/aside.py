"""A share in a process of its own, where vectors have the width that the run was begun with.

A worker's kernels are compiled for one width as long as it lives. A worker on another kind of node
than the first one starts `python -m unetmm.run.cluster.aside`, which reads its task from stdin and
writes its result to stdout.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace

from unetmm import process
from unetmm.compiling.processor import LANES_VARIABLE
from unetmm.errors import ImageError, UnetmmError
from unetmm.run.cluster.told import Failure, ShareResult, ShareTask
from unetmm.run.of_file import restore_file
from unetmm.sizes import default_budget_bytes

POLL_S = 0.2
"""Time in seconds between two looks whether the share is to stop."""


def restore_aside(task: ShareTask, lanes: int, stop: threading.Event) -> ShareResult:
    """Do a share with vectors of so many floats; None if it was stopped.

    This process waits meanwhile, and what it holds is taken from the share's budget.

    Raises
    ------
    ImageError
        If its process ended without a result.
    """
    budget_bytes = task.options.budget_bytes or default_budget_bytes()
    options = replace(task.options, budget_bytes=budget_bytes - process.resident_bytes())
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered:
        pickle.dump(replace(task, options=options), asked)
        asked.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            env=process.child_environment() | {LANES_VARIABLE: str(lanes)},
            stdin=asked,
            stdout=answered,
        )
        while True:
            try:
                child.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                if stop.is_set():  # what is done is kept, as of any process that ends early
                    child.kill()
                    child.wait()
                    return None
        answered.seek(0)
        found = answered.read()
    if child.returncode or not found:
        raise ImageError(
            f"{task.output}: the process of share {task.share} with vectors of {lanes} floats "
            f"ended with code {child.returncode}; see the worker's log"
        )
    result: ShareResult = pickle.loads(found)
    return result


def main() -> None:
    """Do the share that stdin tells of."""
    task: ShareTask = pickle.load(sys.stdin.buffer)
    try:
        result: ShareResult = restore_file(task.path, task.output, task.options, share=task.share)
    except UnetmmError as error:
        result = Failure(type(error), str(error), vars(error))
    pickle.dump(result, sys.stdout.buffer)


if __name__ == "__main__":
    main()
