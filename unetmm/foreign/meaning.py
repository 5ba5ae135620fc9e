"""What a foreign net's outputs mean: an image, maps, or scores of classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetmm.errors import ShapeError, WeightsError
from unetmm.foreign.found import ForeignNet
from unetmm.nets.config import GIVES, NetConfig

PLAIN_UNET = "U-Net"
"""Layout of checkpoints whose own code puts a sigmoid or softmax behind the net."""
NO_FINAL = "none"
"""Word that asks for no function behind the net."""


def meaning_of(
    path: Path, found: ForeignNet, asked: str | None, final: str | None = None
) -> tuple[NetConfig, list[str]]:
    """The config of a net with what it gives, and lines on what was guessed.

    asked : what a user says that it gives; None: it is guessed where that is certain.
    final : function to put behind it, or NO_FINAL; None: what its own code is known to put there.

    Raises
    ------
    WeightsError
        If it is not certain, or cannot be what is asked for.
    """
    config, (inputs, outputs) = found.config, (found.config.in_channels, found.config.out_channels)
    if asked is not None and asked not in GIVES:
        raise WeightsError(f"a net gives one of {', '.join(GIVES)}, found {asked}")
    gives, why = (asked, "") if asked is not None else _guessed(path, found)
    assert gives is not None, "it is refused where nothing is certain"
    if gives == "image" and inputs != outputs:
        raise WeightsError(
            f"{path}: it takes {inputs} channels and gives {outputs}; only nets that give as many "
            "as they take can restore an image: leave out --gives and --task, or give --gives map "
            "or classes"
        )
    lines = [f"guessed: it gives {_in_words(gives, outputs)}, {why}"] if why else []
    end = config.final
    if final is not None:
        end = end if final == NO_FINAL else final
        lines.append(f"added: the {end} that was asked for" if final != NO_FINAL else "added: none")
    elif gives != "image" and found.layout == PLAIN_UNET:
        end = "softmax" if gives == "classes" else "sigmoid"
        lines.append(
            f"added: the {end} that its code puts behind the net; --final {NO_FINAL} leaves it out"
        )
    try:
        return replace(config, gives=gives, final=end), lines
    except ShapeError as error:
        raise WeightsError(f"{path}: {error}") from error


def _guessed(path: Path, found: ForeignNet) -> tuple[str, str]:
    """What a net gives, and why; no reason where it is nothing to be said."""
    config = found.config
    inputs, outputs, end = config.in_channels, config.out_channels, found.end
    if end in ("softmax", "argmax"):
        return "classes", f"as it ends with {end}"
    if inputs == outputs and (inputs > 1 or end != "sigmoid"):
        is_graph = found.size_px is not None
        if config.output_scale > 1 or not (is_graph or found.layout == PLAIN_UNET):
            return "image", ""
        return (
            "image",
            "as it gives as many channels as it takes; --gives classes or --gives map if it does",
        )
    if outputs == 1:
        why = "as it ends with sigmoid" if inputs == 1 else f"as it takes {inputs} channels"
        more = "; --gives image if it restores" if inputs == 1 else ""
        return "map", why + more
    if end == "sigmoid":
        return "map", f"as it takes {inputs} channel{'s' * (inputs > 1)} and ends with sigmoid"
    if found.layout == PLAIN_UNET:
        return "classes", "as nets of this layout do"
    raise WeightsError(
        f"{path}: it takes {inputs} channel{'s' * (inputs > 1)} and gives {outputs}, which may be "
        "scores of classes or maps; give --gives classes or --gives map"
    )


def _in_words(gives: str, count: int) -> str:
    if gives == "map":
        return "a map" if count == 1 else f"{count} maps"
    return f"scores of {count} classes" if gives == "classes" else "an image"
