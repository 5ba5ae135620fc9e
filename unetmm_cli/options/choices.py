"""All panels of options together, as `denoise`, `restore`, `plan` and `slurm` take them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_type_hints

from unetmm_cli.options.cluster import ClusterChoices
from unetmm_cli.options.former_names import with_former_names
from unetmm_cli.options.input import InputChoices
from unetmm_cli.options.output import OutputChoices
from unetmm_cli.options.reporting import ReportingChoices
from unetmm_cli.options.restoration import RestorationChoices
from unetmm_cli.options.signatures import (
    Command,
    changed_option,
    parameters_of,
    with_parameters,
)
from unetmm_cli.parsing import split_devices

if TYPE_CHECKING:
    from unetmm.options import Options

NO_HELPS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Choices:
    """What a user chose about a run: a field for each panel of the help text, named as it is."""

    restoration: RestorationChoices = field(default_factory=RestorationChoices)
    """Model, memory, device and cores."""
    input: InputChoices = field(default_factory=InputChoices)
    """Part of the image, and whether more images are waited for."""
    output: OutputChoices = field(default_factory=OutputChoices)
    """Format and encoding, and which share of the output is written."""
    reporting: ReportingChoices = field(default_factory=ReportingChoices)
    """Choices of how the run is told."""
    cluster: ClusterChoices = field(default_factory=ClusterChoices)
    """Dask cluster that the run is given to, if it is."""

    def changed(self, **values: Any) -> Choices:
        """These choices with other values, each under the name of its option."""
        panels = {}
        for panel in fields(self):
            chosen = getattr(self, panel.name)
            own = {f.name: values.pop(f.name) for f in fields(chosen) if f.name in values}
            panels[panel.name] = replace(chosen, **own)
        assert not values, f"no such options: {', '.join(values)}"
        return Choices(**panels)

    @property
    def devices(self) -> tuple[str, ...]:
        """GPUs that a process each is started for; empty where one process is all."""
        return split_devices(self.restoration.device)

    @property
    def is_distributed(self) -> bool:
        """Whether other processes compute, here or on a cluster."""
        return self.cluster.is_used or bool(self.devices)

    @property
    def written(self) -> dict[str, Path]:
        """Option -> path of each file that is written besides the output."""
        found = {
            "--report": self.reporting.report,
            "--save-calibration": self.output.save_calibration,
        }
        return {option: path for option, path in found.items() if path is not None}

    def check_calibration(self) -> None:
        """Refuse statistics that cannot be read, where no run follows that would.

        Raises
        ------
        ShapeError
            If the file is missing or is none of statistics.
        """
        from unetmm.provenance.record import load_calibration

        if self.restoration.calibration is not None:
            load_calibration(self.restoration.calibration)

    def to_options(self) -> Options:
        """The library's form of these choices; of several GPUs with the first."""
        from unetmm.options import Options

        how, output = self.restoration, self.output
        return Options(
            model=how.model,
            budget_bytes=how.mem_budget,
            calibration=how.calibration,
            fixed_range=how.range,
            nodata=self.input.nodata,
            strength=how.strength,
            format=None if output.format == "auto" else output.format,
            overwrite=output.overwrite,
            workers=how.cores,
            select=self.input.selection,
            encoding=output.encoding,
            precision=how.precision,
            device=self.devices[0] if self.devices else how.device,
            device_budget_bytes=how.device_budget,
            dtype=None if output.dtype == "auto" else output.dtype,
            crop=self.input.crop,
            rounding=output.rounding,
            outliers=how.outliers,
            transform=how.transform,
            scores=output.scores,
        )


def with_choices(
    without: Container[str] = (), helps: Mapping[str, str] = NO_HELPS
) -> Callable[[Command], Command]:
    """Gives a command whose last parameter is `choices` an option for each field of the panels.

    without : names of options that it does not have.
    helps : name of an option -> its help, where it means something else than usual.
    """
    shared = [
        p.replace(annotation=changed_option(p.annotation, help=helps[p.name]))
        if p.name in helps
        else p
        for p in _parameters()
        if p.name not in without
    ]

    def decorate(command: Command) -> Command:
        own = [p for p in parameters_of(command) if p.name != "choices"]

        @wraps(command)
        def wrapper(**values: Any) -> None:
            chosen = {p.name: values.pop(p.name) for p in shared}
            command(**values, choices=Choices().changed(**chosen))

        return with_former_names(with_parameters(wrapper, [*own, *shared]))

    return decorate


def _parameters() -> Iterator[inspect.Parameter]:
    """A parameter for each field of the panels, in the order of the help text."""
    for panel in fields(Choices):
        kind: Any = panel.default_factory
        hints = get_type_hints(kind, include_extras=True)
        for choice in fields(kind):
            hint = changed_option(hints[choice.name], rich_help_panel=panel.name.capitalize())
            yield inspect.Parameter(
                choice.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=choice.default,
                annotation=hint,
            )
