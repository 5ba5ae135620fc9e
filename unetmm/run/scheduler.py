"""Carries out a plan: its tasks through Dask, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from unetmm.run.job import Cancelled, Job
from unetmm.run.streaming import run_task
from unetmm.run.task import Task, tasks_of

TASKS_AT_ONCE = 256
"""Number of tasks of which Dask makes one graph."""


def run(job: Job, tasks: Iterable[Task] | None = None) -> None:
    """Do all tasks, or those given, `plan.workers` at a time, through Dask's threaded scheduler.

    Raises
    ------
    ImageError
        If reading or writing fails; the other tasks are stopped.
    """
    import dask  # which takes long to load, and only a run needs it

    left = iter(tasks_of(job.plan, job.source.info.planes) if tasks is None else tasks)

    def guarded(task: Task) -> None:
        if job.stop.is_set():
            raise Cancelled
        run_task(job, task)

    # A pool of our own: the user's Dask may have one of more threads than the plan counts.
    limited = job.net.limited(job.plan.device_budget_bytes)
    with limited, ThreadPoolExecutor(job.plan.workers, "unetmm-task") as pool:
        try:
            # Dask holds 5 kB a task, which of a long stack would be a part of the budget.
            while chosen := list(islice(left, TASKS_AT_ONCE)):
                dask.compute(
                    *[dask.delayed(guarded, pure=False)(task) for task in chosen],
                    scheduler="threads",
                    pool=pool,
                    optimize_graph=False,
                )
        except BaseException:
            # Dask returns with the first error. The output may only be removed when nobody
            # writes, so the pool then waits for the tasks that are under way.
            job.stop.set()
            raise
