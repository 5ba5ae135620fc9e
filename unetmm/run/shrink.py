"""Goes on with lower bands where the machine gives less memory than the plan was promised.

The answer does not depend on the height of the bands, so what is written by then stays.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from unetmm.engine.layouts import make_layout
from unetmm.errors import ImageError
from unetmm.nets.config import NetConfig
from unetmm.plan.types import Plan
from unetmm.run.job import Job
from unetmm.run.scheduler import run
from unetmm.run.task import Task

log = logging.getLogger(__name__)


class _Stop(threading.Event):
    """Set by a failed try for its own tasks, or by whoever asks the whole run to stop."""

    def __init__(self, asked: threading.Event) -> None:
        super().__init__()
        self._asked = asked

    def is_set(self) -> bool:
        return super().is_set() or self._asked.is_set()


def run_or_shrink(job: Job, open_tasks: Callable[[Plan], Iterable[Task]]) -> None:
    """Do all tasks that are left by `job.plan`; where memory runs out, by smaller and smaller ones.

    `job.plan` is the last of them then.

    Parameters
    ----------
    open_tasks : what is left to do, by a plan.

    Raises
    ------
    ImageError
        If the smallest plan has no memory either.
    """
    asked = job.stop
    while True:
        job.stop = _Stop(asked)
        try:
            run(job, open_tasks(job.plan))
            return
        except MemoryError:
            smaller = shrunk(job.plan, job.net.config)
        finally:
            job.stop = asked
        if smaller is None:
            on_gpu = job.plan.device_terms is not None
            where = job.plan.device if on_gpu else "the machine"
            option = "--device-budget" if on_gpu else "--mem-budget"
            raise ImageError(
                f"{where} has no memory left for the run, whatever the plan says; what is done "
                f"is kept, so stop other programs or give a smaller {option} and run it again"
            )
        gc.collect()  # what failed holds its streams in a circle with its error
        log.warning(
            "memory ran out although the plan fits the budget; going on with bands of %d rows and "
            "%d at once",
            smaller.band_rows,
            smaller.workers,
        )
        job.plan = smaller


def shrunk(plan: Plan, config: NetConfig) -> Plan | None:
    """The plan with bands of half the height, or else half the workers; None if there is no less.

    Its projected peak is that of the plan, which it stays below.
    """
    strides = plan.band_rows // config.stride_px
    if strides > 1:
        band_rows = strides // 2 * config.stride_px
        lag_rows = make_layout(config, band_rows).lag_rows
        return replace(plan, band_rows=band_rows, lag_rows=lag_rows)
    return replace(plan, workers=plan.workers // 2) if plan.workers > 1 else None
