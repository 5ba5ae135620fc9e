"""What a benchmark is asked to measure, and the files that its processes share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.errors import WeightsError
from unetmm.nets.config import NetConfig, nafnet32_config

if TYPE_CHECKING:
    from unetmm.models.weights import Model

LAYOUTS: dict[str, Callable[[], NetConfig]] = {
    "nafnet-32": nafnet32_config,
    "unetmm-32": lambda: nafnet32_config().with_aggregate(),
}
"""Nets that are measured with random weights, because none are shipped: name -> config."""
SCALE_STD = 0.3
"""Standard deviation of a random net's residual scales; at 0 its blocks would do nothing."""


@dataclass(frozen=True)
class Setting:
    """What is measured, and how often."""

    model: str
    """Name of LAYOUTS or of the zoo, or path of a weight file."""
    side_px: int = 2048
    """Height and width of the image."""
    repeats: int = 5
    slow_repeats: int = 0
    """Repeats of a contender that takes more than SLOW_S; 0: `repeats`."""
    threads: int = 1
    peers: tuple[str, ...] = ()

    @property
    def megapixels(self) -> float:
        return self.side_px**2 / 1e6

    def to_json(self) -> str:
        """One line that `from_json` reads back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        content = json.loads(text)
        return cls(**{**content, "peers": tuple(content["peers"])})


@dataclass(frozen=True)
class Files:
    """What the processes of one benchmark share, in one folder."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def image(self) -> Path:
        """File of the image, uint8, (height, width, channels)."""
        return self.folder / "image.npy"

    @property
    def tiff(self) -> Path:
        return self.folder / "image.tif"

    @property
    def png(self) -> Path:
        """File of a small image, for the start-up."""
        return self.folder / "image.png"

    @property
    def calibration(self) -> Path:
        """File of the image's statistics, which all contenders use."""
        return self.folder / "calibration.json"

    @property
    def reference(self) -> Path:
        """File of the untiled forward's answer, float32, (height, width, channels)."""
        return self.folder / "reference.npy"


def load_subject(name: str) -> Model:
    """A model to measure: of the zoo, from a file, or one of LAYOUTS with random weights.

    Raises
    ------
    WeightsError
        If there is no such model.
    """
    from unetmm.models.weights import load_model

    if name in LAYOUTS:
        return random_model(name, LAYOUTS[name]())
    model = load_model(name)
    if model.config.takes_bands:
        raise WeightsError(
            f"model {name} takes {model.config.in_channels} bands together, which other tools do "
            "not; give one of a single channel or of colours"
        )
    return model


def random_model(name: str, config: NetConfig) -> Model:
    """A net with the initial weights that torch would give it, and residual scales that count."""
    import math

    import numpy as np

    from unetmm.models.weights import Model
    from unetmm.nets.shapes import tensor_shapes

    rng = np.random.default_rng(0)
    tensors = {}
    for key, shape in tensor_shapes(config).items():
        if key.endswith(("beta", "gamma")):
            values = rng.normal(0, SCALE_STD, shape)
        elif ".norm" in key:
            values = np.full(shape, float(key.endswith("weight")))
        else:
            limit = 1 / math.sqrt(math.prod(shape[1:]) or 1)
            values = rng.uniform(-limit, limit, shape)
        tensors[key] = values.astype(np.float32)
    return Model(name, config, {"task": "denoise"}, None, tensors)
