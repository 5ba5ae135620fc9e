"""`unetmm plan`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson, Input, PlannedOutput
from unetmm_cli.options.choices import Choices, with_choices


@with_choices(without=("report", "report_html", "save_calibration", "watch", "watch_for"))
def plan(
    input: Input,
    choices: Choices,
    output: PlannedOutput = None,
    as_json: AsJson = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show the memory term by term and the geometry too."),
    ] = False,
) -> None:
    """Show what a run would do and how much memory it would take; runs nothing.

    Exits with 1 where the budget is impossible. Takes the options of denoise, except those that
    name files to write.

    Example: unetmm plan scan.tif --mem-budget 1GB
    """
    from unetmm.plan.outlook import look_ahead, plannable
    from unetmm.process import held_bytes
    from unetmm.run.model import settle_file
    from unetmm_cli.batch.naming import default_output
    from unetmm_cli.batch.one import task_named
    from unetmm_cli.batch.placing import is_folder, output_of
    from unetmm_cli.display.plan import show_plan, show_whole_plan

    if output is None:
        ending = task_named(choices).ending
        chosen, makes_folder = plannable(default_output(input, choices, ending)), False
    else:
        chosen, makes_folder = output_of(input, output, choices), is_folder(output)
    choices.check_calibration()
    asked = choices.to_options()
    with closing(asked.opened(input)):  # whose libraries a run has too
        held = held_bytes()  # before nets are tried, whose memory is given back
    options = settle_file(input, asked, chosen)
    outlook = look_ahead(input, chosen, options, makes_folder, held)
    if as_json:
        display.result_json(outlook.as_dict())
    elif verbose:
        show_whole_plan(outlook)
    else:
        show_plan(outlook)
