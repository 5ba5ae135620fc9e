"""What a restoration did to an image, for a reader: the verdict first, then every figure."""

from __future__ import annotations

from collections.abc import Iterator

from unetmm.quality.trust.judging import ORDER, worst
from unetmm.quality.trust.report import rows_of, verdict_line
from unetmm.quality.trust.trust import LayerTrust, Trust
from unetmm_cli.display.lines import result
from unetmm_cli.display.tables import make_table, show_table

MOST_LAYERS = 3
"""Most channels and colours whose figures are shown side by side."""


def show_trust(trust: Trust) -> None:
    """The verdict, what else is to be said, and a table of the figures."""
    result(verdict_line(trust))
    for one in trust.findings:
        if one.verdict != trust.verdict or one.verdict == "good":
            result(f"{one.layer + ': ' if one.layer else ''}{one.text}")
    layers = shown_layers(trust)
    table = make_table("figure", *(layer.name or "value" for layer in layers), "what it means")
    for name, values, meaning in rows_side_by_side(layers):
        table.add_row(name, *values, meaning)
    show_table(table)
    if len(layers) < len(trust.layers):
        result(f"These are the worst {len(layers)} of {len(trust.layers)}; --json has all of them.")


def rows_side_by_side(layers: list[LayerTrust]) -> Iterator[tuple[str, list[str], str]]:
    """Name, value of each layer and meaning of every figure; not every layer has all of them."""
    found = [{row.name: row for row in rows_of(layer)} for layer in layers]
    fullest = max(found, key=len)
    every = fullest | {name: row for rows in found for name, row in rows.items()}
    for name, row in every.items():
        values = [rows[name].value if name in rows else "not told" for rows in found]
        yield name, values, row.meaning


def shown_layers(trust: Trust) -> list[LayerTrust]:
    """The layers that are shown, in their order; of many those with the worst verdicts."""

    def rank(layer: LayerTrust) -> int:
        return ORDER.index(worst([one.verdict for one in layer.findings]))

    chosen = sorted(trust.layers, key=rank)[:MOST_LAYERS]
    return [layer for layer in trust.layers if any(layer is one for one in chosen)]
