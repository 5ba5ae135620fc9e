"""A browser without a window, told what to do through two pipes (Chrome DevTools Protocol)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 60


class Browser:
    """Chromium with one page; `with` ends it."""

    def __init__(self, profile: Path, is_dark: bool) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        words = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1000,900",
            f"--blink-settings=preferredColorScheme={0 if is_dark else 1}", "about:blank",
        ]  # fmt: skip

        def give_pipes() -> None:
            """Make them the files 3 and 4 of the browser."""
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
            for fd, wanted in zip(high, (3, 4), strict=True):
                os.dup2(fd, wanted)

        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            words, pass_fds=(3, 4), stdout=quiet, stderr=quiet, preexec_fn=give_pipes
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._rest, self._session = 0, b"", None
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        found = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = found["sessionId"]

    def send(self, method: str, **parameters: Any) -> Any:
        """The answer to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._in, 2**16)
                assert read, "the browser has ended"
                self._rest += read
            text, self._rest = self._rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self._number:
                return answer["result"]

    def value(self, expression: str) -> Any:
        """The value of some JavaScript once it has one."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
            if (value := found["result"].get("value")) is not None:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{expression} has no value after {PATIENCE_S} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
