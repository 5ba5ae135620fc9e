"""Colours of channels by the names of their dyes."""

from __future__ import annotations

import pytest

from unetmm.io.fluorophores import colour_of


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("DAPI", "0000FF"), ("dapi (405 nm)", "0000FF"), ("Hoechst 33342", "0000FF"),
        ("FITC", "00FF00"), ("Alexa Fluor 488", "00FF00"), ("EGFP-H2B", "00FF00"),
        ("Cy3", "FF8000"), ("Texas Red", "FF0000"), ("mCherry", "FF0000"), ("AF647", "FF00FF"),
        ("Cy5.5", "FF00FF"), ("TL Brightfield", "FFFFFF"), ("Red", "FF0000"),
        ("", None), ("Channel 1", None), ("0", None), ("B04", None),
    ],
)  # fmt: skip
def test_dyes_have_their_colour(name: str, colour: str | None) -> None:
    assert colour_of(name) == colour
