"""Options stand in panels, each once, and commands take all panels as one value."""

from __future__ import annotations

from dataclasses import fields

import pytest

from unetmm_cli.options.choices import Choices


def names(choices: Choices) -> list[str]:
    return [f.name for panel in fields(choices) for f in fields(getattr(choices, panel.name))]


def test_no_option_stands_in_two_panels() -> None:
    assert len(set(names(Choices()))) == len(names(Choices()))


def test_a_changed_value_finds_its_panel_and_leaves_the_others() -> None:
    before = Choices().changed(strength=0.5)
    after = before.changed(overwrite=True, mem_budget=7)
    assert after.output.overwrite and not before.output.overwrite
    assert after.restoration.mem_budget == 7 and after.restoration.strength == 0.5
    assert after.reporting == before.reporting and after.cluster == before.cluster


def test_an_unknown_option_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="no such options: tile"):
        Choices().changed(tile=7)
