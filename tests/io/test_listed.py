"""Lists of names in messages say how many they leave out."""

from __future__ import annotations

from unetmm.io.listed import listed


def test_names_that_are_left_out_are_counted() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcde")) == "a, b, c, d, e", "one more is as short as its name"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed(list("abcdefg"), most=1) == "a and 6 more"
