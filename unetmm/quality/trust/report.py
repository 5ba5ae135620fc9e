"""Figures of a restoration as rows for a reader, each with its meaning, and as JSON holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from unetmm.quality.trust.judging import Verdict
from unetmm.quality.trust.trust import LayerTrust, Trust

VERDICTS: dict[Verdict, str] = {
    "good": "Nothing speaks against this output: what was removed is noise.",
    "doubtful": "Look closely before you use this output.",
    "wrong": "Do not use this output for measurements.",
    "unknown": "The images are too small to tell.",
}
"""Verdict -> what it means."""


class FigureRow(NamedTuple):
    """One figure for a reader."""

    name: str
    """Name of it."""
    value: str
    """Figure with its unit."""
    meaning: str
    """Sentence that says what it means."""


def verdict_line(trust: Trust) -> str:
    """The verdict with its reasons."""
    bad = [one for one in trust.findings if one.verdict == trust.verdict and one.verdict != "good"]
    reasons = " ".join(f"{one.layer + ': ' if one.layer else ''}{one.text}" for one in bad)
    line = VERDICTS[trust.verdict]
    codes = [{found.code for found in layer.findings} for layer in trust.layers]
    if trust.verdict == "good" and all("nothing_changed" in found for found in codes):
        line = "Hardly anything was changed."
    return f"{trust.verdict.upper()}: {line} {reasons}".strip()


def rows_of(layer: LayerTrust) -> Iterator[FigureRow]:
    """Every figure of a layer, with its meaning."""
    yield from _noise_rows(layer)
    yield from _structure_rows(layer)
    yield from _value_rows(layer)
    yield from _resolution_rows(layer)


def _noise_rows(layer: LayerTrust) -> Iterator[FigureRow]:
    found = layer.figures
    yield FigureRow("noise of the input", layer.noise, "Found by the input alone; at most this.")
    yield FigureRow(
        "noise removed", f"{found.noise_removed:.0%}",
        "Of the power of noise, in flat places; 70 to 105 % is usual, less means some is left.",
    )  # fmt: skip
    yield FigureRow(
        "noise left", f"{found.noise_left:.0%}",
        "Of its amplitude; below 0 more was removed than there was. Change --strength.",
    )  # fmt: skip
    yield FigureRow(
        "whiteness", f"{found.whiteness:.2f}",
        "How far neighbours' correlations in what was removed are from those of the noise: up to "
        "0.2 it is noise of the same kind; more, and a coarser or finer part of it stayed.",
    )  # fmt: skip


def _structure_rows(layer: LayerTrust) -> Iterator[FigureRow]:
    found = layer.figures
    yield FigureRow(
        "detail in what was removed", f"{found.detail_removed:.2f} x noise",
        "Where there is most structure: up to 1.3 is noise, more is detail that went with it. Use "
        "a lower --strength or another model.",
    )  # fmt: skip
    gains = found.strong_gains
    if gains:
        yield FigureRow(
            "strength of structure", f"{min(gains):.2f} to {max(gains):.2f}",
            "By frequency, 1 is as in the input: less is smoothed, more is sharpened.",
        )  # fmt: skip
    yield FigureRow(
        "not borne out by the input",
        f"{found.unlikely_share:.2%} of the image",
        "Places where the output contradicts the input: something was made up there.",
    )
    yield FigureRow(
        "power beyond the input", f"{found.excess:.2f}",
        "Of the output, as a share of what it has in common with the input: up to 1.03 is honest, "
        "more is sharpened or made up.",
    )  # fmt: skip


def _value_rows(layer: LayerTrust) -> Iterator[FigureRow]:
    found, shift = layer.figures, layer.figures.shift
    yield FigureRow(
        "shift", f"{shift.down_px:+.3f} px down, {shift.right_px:+.3f} px right "
        f"(+- {shift.error_px:.3f})",
        "More than 0.1 px: do not measure places before it is moved back.",
    )  # fmt: skip
    yield FigureRow(
        "line of the means",
        f"{found.gain:.4f} x input {found.offset:+.4g}",
        "1 x input + 0 keeps intensities; anything else has to be undone before comparing.",
    )
    yield FigureRow(
        "bias by brightness",
        f"at most {found.bias_share:.2%} of the range",
        "Change of the mean in tenths of the image from dark to bright; more than 1 % is no noise.",
    )
    yield FigureRow(
        "clipped",
        f"{max(found.clipped):.3%} of the pixels",
        "Cut off at the ends of the output and not of the input; do not measure there.",
    )
    yield FigureRow(
        "estimated error",
        f"{found.error:.4g}",
        "Root of the mean squared error of a pixel, in stored units, if the output is honest.",
    )


def _resolution_rows(layer: LayerTrust) -> Iterator[FigureRow]:
    found, truth = layer.resolution, layer.truth

    def told(before: float | None, after: float | None) -> str:
        words = [f"{v:.2f} px" if v is not None else "not told" for v in (before, after)]
        return " -> ".join(words)

    yield FigureRow(
        "finest detail, decorrelation",
        told(found.decorrelation_before, found.decorrelation_after),
        "Smaller is finer. What is finer afterwards was hidden by noise, or is made up: see above.",
    )
    if truth is not None:
        yield FigureRow(
            "finest detail, Fourier rings", told(found.rings_before, found.rings_after),
            "Finest detail that has more than 1/7 in common with the reference.",
        )  # fmt: skip
        yield FigureRow(
            "error against the reference",
            f"{truth.error_before:.4g} -> {truth.error_after:.4g} ({truth.gain_db:+.2f} dB)",
            "Root of the mean squared error; + is nearer to the reference.",
        )
    elif found.rings_before is not None:
        yield FigureRow(
            "finest detail, Fourier rings", told(found.rings_before, None),
            "By two halves of the input, which tell no finer than 4 px. Halves of a restored image "
            "share their errors, so it is not told afterwards.",
        )  # fmt: skip


def as_dict(trust: Trust) -> dict[str, Any]:
    """For `--json` and reports, whose field names this fixes."""
    return {
        "verdict": trust.verdict,
        "text": verdict_line(trust),
        "findings": [asdict(one) for one in trust.findings],
        "share": trust.share,
        "seconds": round(trust.seconds, 3),
        "layers": [_layer_as_dict(layer) for layer in trust.layers],
    }


def _layer_as_dict(layer: LayerTrust) -> dict[str, Any]:
    figures = asdict(layer.figures)
    figures["shift"] = layer.figures.shift._asdict()
    figures["spots"] = [spot._asdict() for spot in layer.figures.spots]
    truth = layer.truth
    return {
        "name": layer.name,
        "noise": layer.noise,
        "noise_level": layer.noise_level,
        "figures": figures,
        "resolution_px": asdict(layer.resolution),
        "reference": None if truth is None else {**asdict(truth), "gain_db": truth.gain_db},
        "findings": [asdict(one) for one in layer.findings],
    }
