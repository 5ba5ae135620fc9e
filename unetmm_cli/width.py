"""Goes on with a run in a process whose vectors have the width that the run was begun with."""

from __future__ import annotations

import os
import subprocess
import sys

from unetmm.compiling.processor import LANES_VARIABLE
from unetmm.errors import WidthError
from unetmm.process import child_environment


def go_on(error: WidthError, arguments: list[str] | None) -> int:
    """Give the same command line to a process of the width that is needed; its exit code.

    Kernels are compiled for one width as long as a process lives. On POSIX it takes the place of
    this one, so that their memory is not held twice.

    Parameters
    ----------
    arguments : command line; None for this process's own, whose place it takes.
    """
    if not sys.executable:  # nobody knows how to start another
        raise error
    words = sys.argv[1:] if arguments is None else arguments
    command = [sys.executable, "-P", "-m", "unetmm_cli", *words]
    environment = child_environment() | {LANES_VARIABLE: str(error.lanes)}
    if arguments is None and os.name == "posix":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, command, environment)
    return subprocess.run(command, env=environment, check=False).returncode
