"""Entry point: runs a command and turns errors into one line and an exit code.

0 done, 1 a clear error, 2 usage, 3 some inputs of a batch failed, 130 interrupted. Unexpected
exceptions keep their traceback.
"""

from __future__ import annotations

import logging
import os
import sys
from itertools import pairwise

import typer

from unetmm.errors import ImageError, UnetmmError, WidthError
from unetmm.process import limit_for_good
from unetmm_cli import display
from unetmm_cli.app import app
from unetmm_cli.display.lines import give_up_stderr, print_any_text
from unetmm_cli.signals import INTERRUPTED_EXIT, Interrupted

log = logging.getLogger("unetmm")


def main() -> None:
    """Run the command line and exit with its code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us, as by 2>&-
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 for the whole process
    print_any_text()
    limit_for_good()
    code = run()
    give_up_stderr()
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Exit code of a command line; `arguments` are those of the process if None."""
    as_json = _logs_json(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run_app(arguments)
    except typer.TyperException as error:
        display.usage_error(error.format_message(), getattr(error, "ctx", None), as_json)
        return error.exit_code
    except typer.Abort:
        display.interrupted("", as_json)
        return INTERRUPTED_EXIT
    except Interrupted as interrupt:
        display.interrupted(str(interrupt), as_json)
        return INTERRUPTED_EXIT
    except (UnetmmError, OSError) as error:
        display.error(error, as_json)
        return 1
    except MemoryError:
        message = "the machine has no memory left; stop other programs"
        display.error(ImageError(message), as_json)
        return 1
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        message = "no more threads can be started; raise the limit (ulimit -u), or give --workers 1"
        display.error(ImageError(message), as_json)
        return 1
    if code == INTERRUPTED_EXIT:  # typer turns KeyboardInterrupt into this
        display.interrupted("", as_json)
    return code if isinstance(code, int) else 0


def _run_app(arguments: list[str] | None) -> object:
    """What a command gives, here or in a process that goes on with what another node has begun."""
    try:
        return app(arguments, prog_name="unetmm", standalone_mode=False)
    except WidthError as error:
        from unetmm_cli.width import go_on

        log.info("goes on with vectors of %d floats, as the run was begun", error.lanes)
        return go_on(error, arguments)


def _logs_json(words: list[str]) -> bool:
    """Whether a command line asks for JSON lines; what is wrong with it has to be one as well."""
    given = [value for option, value in pairwise(words) if option == "--log"]
    given += [word.removeprefix("--log=") for word in words if word.startswith("--log=")]
    return "json" in given


if __name__ == "__main__":
    main()
