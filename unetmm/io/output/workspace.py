"""Where an output grows until it is whole: one kind of workspace on disks, another behind URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetmm.io.output.local_workspace import Workspace
from unetmm.io.places import Place, RemotePath

if TYPE_CHECKING:
    from unetmm.io.output.remote_workspace import RemoteWorkspace


def workspace_of(path: Place) -> Workspace | RemoteWorkspace:
    """Where an output grows: beside its final name, on a disk or behind an URL."""
    if isinstance(path, RemotePath):
        from unetmm.io.output.remote_workspace import RemoteWorkspace

        return RemoteWorkspace(path)
    return Workspace(path)
