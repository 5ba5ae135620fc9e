"""One image on a Dask cluster: which cluster the options mean, and how it is started.

Several GPUs of this machine are one as well, with a worker process for each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import typer

from unetmm.errors import ImageError
from unetmm.io.places import Place
from unetmm.run.report import Progress, Report
from unetmm.sizes import DEFAULT_SHARE_PERCENT, JOB_HEADROOM
from unetmm_cli.options.choices import Choices

SHARES_PER_WORKER = 4
"""Shares that each worker gets on average, so that all end at about the same time."""
CONNECT_S = 30
"""Longest wait for a scheduler's answer, in seconds."""
WORKERS_WAIT_S = 60
"""Longest wait for a scheduler's first worker, in seconds."""
CLUSTERS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
"""Batch system -> class of dask_jobqueue."""
SETTINGS = {
    # A job that is preempted or out of time is nobody's fault.
    "distributed.scheduler.allowed-failures": 20,
    # The budget is kept by the plan; Dask's own guesses would pause or kill a worker.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
"""Settings of Dask for as long as a run lasts."""


def restore_on_cluster(
    path: Place,
    output: Place,
    choices: Choices,
    progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Report:
    """Restore one image on the cluster that the options name.

    Raises
    ------
    typer.BadParameter
        If the options do not fit together.
    ImageError
        If the packages or the cluster are not there.
    ShapeError
        If GPUs are not there, or of several kinds.
    """
    chosen, budget_bytes = choices.cluster, choices.restoration.mem_budget
    _check_devices(choices)
    if choices.output.share is not None or (chosen.scheduler and chosen.cluster):
        raise typer.BadParameter("give one of --share, --scheduler and --cluster")
    if chosen.cluster and budget_bytes is None:
        raise typer.BadParameter(
            "--cluster asks for jobs with so much memory: give --mem-budget, each job's"
        )
    _check_packages(choices)
    from unetmm.run.cluster.client import restore_distributed

    with _open_client(choices) as (client, workers):
        options = choices.to_options()
        if options.budget_bytes is None:
            options = replace(options, budget_bytes=_smallest_budget(client))
        if _is_local(choices) and not options.workers:
            options = replace(options, workers=max(1, (os.cpu_count() or 1) // workers))
        shares = SHARES_PER_WORKER * workers
        return restore_distributed(
            path, output, options, client, shares, progress, stop, choices.devices
        )


def _is_local(choices: Choices) -> bool:
    """Whether the workers are processes of this machine."""
    return choices.cluster.scheduler == "local" or bool(choices.devices)


def _check_packages(choices: Choices) -> None:
    try:
        import distributed  # noqa: F401

        if not choices.devices:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        needed = "several GPUs need" if choices.devices else "a cluster needs"
        raise ImageError(
            f"{needed} the package {error.name}: pip install dask-jobqueue distributed"
        ) from error


def _check_devices(choices: Choices) -> None:
    """Refuse GPUs whose pixels would differ, and those of other machines."""
    if not choices.devices:
        return
    if choices.output.share is not None or choices.cluster.is_used:
        raise typer.BadParameter(
            "several GPUs are of this machine and share the run: leave out --share and clusters"
        )
    from unetmm.engine.choice import check_alike

    check_alike(choices.devices)


@contextmanager
def _open_client(choices: Choices) -> Iterator[tuple[Any, int]]:
    """A client with a worker at least, and how many workers there will be."""
    import dask
    from distributed import Client

    chosen = choices.cluster

    # The loop of the client logs every lost worker on its own; the run says what matters.
    with dask.config.set({**SETTINGS, "distributed.logging": {"distributed": "error"}}):
        if chosen.cluster or _is_local(choices):
            with _start(choices) as cluster, Client(cluster) as client:
                yield client, len(choices.devices) or chosen.jobs
            return
        try:
            client = Client(chosen.scheduler, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise ImageError(
                f"{chosen.scheduler}: no Dask scheduler answers there; write tcp://host:8786, or "
                "local"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
            except TimeoutError as error:
                raise ImageError(
                    f"{chosen.scheduler}: has no workers; start some with dask worker"
                ) from error
            yield client, len(_workers(client))


def _start(choices: Choices) -> Any:
    """A cluster of our own; closing it ends its workers."""
    chosen, budget_bytes = choices.cluster, choices.restoration.mem_budget
    if chosen.cluster is None:
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=len(choices.devices) or chosen.jobs, threads_per_worker=1,
            dashboard_address=None, processes=True,
        )  # fmt: skip
    import dask_jobqueue

    assert budget_bytes is not None
    # Queue, account, time limit and network come from the site's ~/.config/dask/jobqueue.yaml.
    cluster = getattr(dask_jobqueue, CLUSTERS[chosen.cluster])(
        cores=choices.restoration.cores or os.cpu_count() or 1,
        processes=1,
        memory=f"{int(budget_bytes * JOB_HEADROOM)}B",
        # A task is a share, which uses all cores by itself.
        worker_extra_args=["--nthreads", "1"],
        scheduler_options={"dashboard_address": None},
    )
    cluster.scale(jobs=chosen.jobs)
    return cluster


def _workers(client: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _smallest_budget(client: Any) -> int | None:
    """Half of the smallest worker's memory, as a run alone takes half of the machine's."""
    limits = [w["memory_limit"] for w in _workers(client).values() if w["memory_limit"]]
    return min(limits) * DEFAULT_SHARE_PERCENT // 100 if limits else None
