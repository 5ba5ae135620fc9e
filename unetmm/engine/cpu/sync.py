"""How threads of a stream wait for their neighbours, and time their work, in compiled code."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from unetmm.compiling.flags import INLINE
from unetmm.engine.cpu.simd import INT, address_of

LINE = 8
"""Integers from one thread's progress to the next, so that they share no cache line."""
BUSY, SINCE, CLOCK = 1, 2, 3
"""Places in a thread's line, behind its phases: the time that it has worked, when it went on with
it, and two integers for the clock. Nanoseconds, on Windows ticks: only ratios are looked at."""
SPINS = 2000
"""Looks at a neighbour's progress before the core is given away."""


@intrinsic
def load_shared(typingctx: Any, array: Any, index: Any) -> Any:
    """An integer that another thread writes; what it wrote before is seen, too."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(address_of(context, builder, sig.args[0], *args), "acquire", 8)

    return types.int64(array, INT), codegen


@intrinsic
def store_shared(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write an integer for other threads, after everything that was written before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = address_of(context, builder, sig.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, INT, types.int64), codegen


@intrinsic
def pointer_to(typingctx: Any, array: Any, index: Any) -> Any:
    """Where a number of an array lies, for a function of the system."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(address_of(context, builder, sig.args[0], *args), cgutils.voidptr_t)

    return types.voidptr(array, INT), codegen


if sys.platform == "win32":
    _counter = types.ExternalFunction("QueryPerformanceCounter", types.int32(types.voidptr))

    @njit(**INLINE)
    def now(progress, thread):
        """The time on a clock that never goes back."""
        at = thread * LINE + CLOCK
        _counter(pointer_to(progress, at))
        return progress[at]

else:
    _clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))
    _MONOTONIC = np.int32(time.CLOCK_MONOTONIC)

    @njit(**INLINE)
    def now(progress, thread):
        """The time on a clock that never goes back."""
        at = thread * LINE + CLOCK
        _clock(_MONOTONIC, pointer_to(progress, at))
        return progress[at] * 1_000_000_000 + progress[at + 1]


give_way = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)
"""Function of the system that lets another thread have the core."""


@njit(**INLINE)
def begin_work(progress, thread):
    """From here on a thread works."""
    progress[thread * LINE + SINCE] = now(progress, thread)


@njit(**INLINE)
def end_work(progress, thread):
    """Until here it has worked."""
    time = now(progress, thread)
    progress[thread * LINE + BUSY] += time - progress[thread * LINE + SINCE]
    progress[thread * LINE + SINCE] = time


@njit(**INLINE)
def phase_of(progress, thread):
    """How many phases a thread has announced."""
    return load_shared(progress, thread * LINE)


@njit(**INLINE)
def announce(progress, thread):
    """Let the other threads see all that this one wrote: its next phase, which is returned."""
    phase = phase_of(progress, thread) + 1
    store_shared(progress, thread * LINE, phase)
    return phase


@njit(**INLINE)
def wait_for(progress, thread, other, threads, phase):
    """Wait until another thread has announced a phase, if there is one; False: the team gave up."""
    if other < 0 or other >= threads or phase_of(progress, other) >= phase:
        return True
    end_work(progress, thread)
    spins = 0
    while phase_of(progress, other) < phase:
        if load_shared(progress, threads * LINE) != 0:
            return False
        spins += 1
        if spins > SPINS:
            give_way()
    begin_work(progress, thread)
    return True


@njit(**INLINE)
def meet(progress, thread, threads):
    """Announce a phase and wait for both neighbours to do so; False: the team gave up."""
    phase = announce(progress, thread)
    return wait_for(progress, thread, thread - 1, threads, phase) and wait_for(
        progress, thread, thread + 1, threads, phase
    )


@njit(**INLINE)
def end_together(progress, thread, threads):
    """A thread's share is done; thread 0 waits for all others. False: the team gave up."""
    end_work(progress, thread)  # before it is announced: then whoever sees that may read it
    phase = announce(progress, thread)
    going_on = True
    if thread == 0:
        for other in range(1, threads):
            going_on = going_on and wait_for(progress, thread, other, threads, phase)
    return going_on
