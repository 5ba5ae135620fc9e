"""Entry point: runs a command and turns errors into one line and an exit code.

0 done, 1 a clear error, 2 usage, 3 some inputs of a batch failed, 130 interrupted. Unexpected
exceptions keep their traceback.
"""

from __future__ import annotations

import sys

import typer

from unetmm.errors import ImageError, UnetmmError
from unetmm_cli import display
from unetmm_cli.app import app
from unetmm_cli.signals import INTERRUPTED_EXIT, Interrupted


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Exit code of a command line; `arguments` are those of the process if None."""
    try:
        code = app(arguments, prog_name="unetmm", standalone_mode=False)
    except typer.TyperException as error:
        display.usage_error(error.format_message(), getattr(error, "ctx", None))
        return error.exit_code
    except typer.Abort:
        display.interrupted()
        return INTERRUPTED_EXIT
    except Interrupted as interrupt:
        display.interrupted(str(interrupt))
        return INTERRUPTED_EXIT
    except (UnetmmError, OSError) as error:
        display.error(error)
        return 1
    except MemoryError:
        display.error(ImageError("the machine has no memory left; stop other programs"))
        return 1
    if code == INTERRUPTED_EXIT:  # typer turns KeyboardInterrupt into this
        display.interrupted()
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
