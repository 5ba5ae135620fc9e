"""A lock where there are only objects: one that is renewed as long as its owner lives.

    create "lock-job" --there already--> look at it again and again --unchanged for long--> remove
          |                                                                                   |
          +---- renew every few seconds ---- remove        <------------ try again -----------+

Creating an object only where there is none is a single step on S3 and most of its like. Where it
is not, a lease is no more than very likely to have one owner.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid

from unetmm.errors import ImageError
from unetmm.io.places import RemotePath

log = logging.getLogger(__name__)

RENEW_EVERY_S = 5.0
"""Pause between two renewals, in seconds."""
DEAD_AFTER_S = 30.0
"""Time without a renewal after which a lease has lost its owner, in seconds."""
LOOK_FOR_S = 12.0
"""Time that a sign of life is looked for, in seconds: more than two renewals."""
LOOK_EVERY_S = 0.5
"""Pause between two looks at a lease that another process has, in seconds."""


class Lease:
    """Held by one process at a time; only for steps that are harmless if done twice after all."""

    def __init__(self, place: RemotePath) -> None:
        self._place = place
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="unetmm-lease", daemon=True)

    def take(self) -> None:
        """Wait until it is free, or its owner dead, and take it.

        Raises
        ------
        ImageError
            If the server cannot be reached.
        """
        seen, since, told = b"", time.monotonic(), False
        while not self._place.create(self._content()):
            try:
                found = self._place.read_bytes()
            except FileNotFoundError:  # given back just now
                continue
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > DEAD_AFTER_S:
                self._place.remove()
                continue
            if not told and time.monotonic() - since > LOOK_EVERY_S:
                told = True
                host, process = found.decode().split(" ")[:2]
                log.warning("%s: held by process %s on %s; waiting", self._place, process, host)
            time.sleep(LOOK_EVERY_S)
        self._thread.start()

    def keep(self) -> None:
        """Have it without asking, as a sign of life."""
        self._place.write_bytes(self._content())
        self._thread.start()

    def _content(self) -> bytes:
        return f"{self._owner} {time.time()}".encode()

    def _renew(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            try:
                self._place.write_bytes(self._content())
            except ImageError as error:
                log.debug("%s", error)  # whatever its owner does next will fail, too, and say so

    def stop(self) -> None:
        """Renew it no more."""
        self._over.set()
        self._thread.join()

    def give_back(self) -> None:
        """Let others have it, unless another took it for that of a dead process."""
        self.stop()
        try:
            if self._place.read_bytes().startswith(self._owner.encode()):
                self._place.remove()
        except (FileNotFoundError, ImageError) as error:
            log.debug("%s", error)


def find_living(places: list[RemotePath]) -> str:
    """Process and host of an owner who renews one of these leases; empty if none does.

    Where there are any, that takes more than the pause between two renewals.
    """
    seen = {place.url: place.read_bytes() for place in places if place.exists()}
    give_up = time.monotonic() + LOOK_FOR_S
    while seen and time.monotonic() < give_up:
        time.sleep(min(LOOK_EVERY_S, LOOK_FOR_S))
        for place in places:
            try:
                found = place.read_bytes()
            except FileNotFoundError:
                seen.pop(place.url, None)
                continue
            if found != seen.get(place.url):
                host, process = found.decode(errors="replace").split(" ")[:2]
                return f"process {process} on {host}"
    return ""
