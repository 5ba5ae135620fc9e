"""The models that come with unetmm, as a table that notebooks show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from unetmm.models.weights import Model, load_model, zoo_models
from unetmm.nets.shapes import macs_per_px


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model without reading its weights."""

    name: str
    """Name to ask for it by."""
    task: str
    """Name of what it does, such as denoise."""
    gives: str
    """Meaning of its output: image, map or classes."""
    channels: int
    """Number of samples that it takes at once: 3 are colours, 1 restores each sample alone, others
    are bands."""
    parameters: int
    """Number of its weights."""
    weights_bytes: int
    """Size of its file."""
    kmac_per_px: float
    """Arithmetic in thousands of multiplications for a pixel."""
    skip_floats_per_px: float
    """Memory of its skip connections in floats for a pixel."""
    what: str
    """Words on what it is for."""
    data_licences: str
    """Terms of the images that it was trained on, in short."""
    quality: Any
    """Figures of its card: PSNR in dB by test set."""


def facts_of(model: Model) -> ModelFacts:
    """The facts of a model; its card says the rest."""
    return ModelFacts(
        model.name,
        model.task,
        model.config.gives,
        model.config.in_channels,
        model.parameters,
        model.path.stat().st_size if model.path else 0,
        macs_per_px(model.config) / 1000,
        float(model.config.skip_floats_per_px),
        str(model.card.get("what", "")),
        str(model.card.get("data_licences", "")),
        model.card.get("quality"),
    )


class ModelTable(tuple[ModelFacts, ...]):
    """Facts of models, one a row; `pandas.DataFrame(table.rows())` makes a frame of it."""

    __slots__ = ()

    def rows(self) -> list[dict[str, Any]]:
        """The same as dictionaries."""
        return [asdict(facts) for facts in self]

    def __repr__(self) -> str:
        width = max((len(facts.name) for facts in self), default=0)
        return "\n".join(f"{facts.name:{width}}  {facts.what}" for facts in self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("name", "what for", "kMAC/px", "data"))
        body = "".join(
            f"<tr><td>{escape(f.name)}</td><td>{escape(f.what)}</td>"
            f"<td>{f.kmac_per_px:.0f}</td><td>{escape(f.data_licences)}</td></tr>"
            for f in self
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def list_models() -> ModelTable:
    """The models of the zoo, by name; `load_model(name).card` has all that is known of one."""
    return ModelTable(facts_of(load_model(path)) for path in zoo_models().values())
