"""Panel "Cluster": whether workers on other machines compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

BatchSystem = Literal["slurm", "pbs", "lsf"]
"""Values of --cluster."""


@dataclass(frozen=True)
class ClusterChoices:
    """What computes besides this process; the help of each option says what its value means."""

    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Dask cluster: its tcp:// address, or local for worker processes here. "
            "--mem-budget is each worker's. Needs dask-jobqueue and distributed.",
        ),
    ] = None
    cluster: Annotated[
        BatchSystem | None,
        typer.Option(help="Start Dask workers as jobs of this batch system and run on them."),
    ] = None
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Jobs of --cluster, or workers of --scheduler local."
        ),
    ] = 2

    @property
    def is_used(self) -> bool:
        """Whether a cluster runs the command."""
        return bool(self.scheduler or self.cluster)
