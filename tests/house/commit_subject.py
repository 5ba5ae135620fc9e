"""The subject of a commit has at most 72 characters; pre-commit runs this file on its message."""

from __future__ import annotations

import sys
from pathlib import Path

MOST_CHARACTERS = 72


def main(path: str) -> int:
    """Exit code 1, and a line that says why, if the subject is too long or missing."""
    lines = Path(path).read_text("utf-8").splitlines()
    written = [line for line in lines if not line.startswith("#")]
    subject = written[0] if written else ""
    if 0 < len(subject) <= MOST_CHARACTERS:
        return 0
    sys.stderr.write(
        f"subject of {len(subject)} characters; give 1 to {MOST_CHARACTERS}, the why in the body\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
