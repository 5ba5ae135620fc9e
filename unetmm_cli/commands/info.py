"""`unetmm info`."""

from __future__ import annotations

from contextlib import closing

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson, Input
from unetmm_cli.options.input import ReadPalette, Series, StatedAxes


def info(
    input: Input,
    palette: ReadPalette = "auto",
    axes: StatedAxes = None,
    series: Series = None,
    as_json: AsJson = False,
) -> None:
    """Show axes, shape, type, metadata and histogram of an image, and how an output was made.

    Example: unetmm info scan.tif
    """
    from unetmm.errors import ImageError
    from unetmm.io.open import open_source
    from unetmm.io.select import Selection
    from unetmm.io.survey import survey
    from unetmm.provenance.record import find_begun, read_record, summary
    from unetmm_cli.display.info import info_as_dict, show_begun, show_info

    try:
        chosen = Selection(palette=palette, axes=axes or "", series=series, labels=True)
        source = open_source(input, chosen)
    except ImageError:
        begun = find_begun(input)
        if begun is None:
            raise
        show_begun(input, summary(begun, finished=False), as_json)
        return
    record = read_record(input)
    made = summary(record, finished=True) if record else None
    with closing(source):
        found = source.info
        values = survey(source, is_image=not (made or {}).get("holds", ""))
    if as_json:
        display.result_json(info_as_dict(input, found, values, made))
    else:
        show_info(input, found, values, made)
