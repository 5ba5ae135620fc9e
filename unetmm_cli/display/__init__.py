"""What the command line shows: results on stdout, all else on stderr.

lines       one line or one JSON object, to either stream
messages    how a command ends, and what the library logs
batch       what becomes of many images
text tables     values as people read them
plan info models evaluation benchmark preview trust compare     what one command shows
"""

from unetmm_cli.display.lines import (
    progress_line,
    result,
    result_json,
    say,
    say_json,
)
from unetmm_cli.display.messages import error, interrupted, show_logs, usage_error

__all__ = [
    "error",
    "interrupted",
    "progress_line",
    "result",
    "result_json",
    "say",
    "say_json",
    "show_logs",
    "usage_error",
]
