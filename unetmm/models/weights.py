"""Model files: safetensors with config, tensors and card; public NAFNet checkpoints too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import need_torch
from unetmm.intensities.range import BYTES, is_range
from unetmm.models.checkpoints import infer_config, read_checkpoint
from unetmm.nets.config import MOST_PARAMETERS, NetConfig
from unetmm.nets.shapes import parameter_count, tensor_shapes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unetmm.nets.nafnet import ReferenceNet

HEADER_LIMIT_BYTES = 10**7
"""Longest header of a safetensors file of ours."""
CARD_LIMIT_CHARS = 10**6
"""Longest card of a model."""
_TEXTS = ("task", "noise", "tensors_sha256", "config_sha256")
"""Facts of a card that we read as text."""
_FLOATS = ("F32", "F16", "F64")
"""Types of tensors that are read, as safetensors names them."""


@dataclass(frozen=True)
class Model:
    """A net with its weights and its card. Tensors are read when they are first needed."""

    name: str
    config: NetConfig
    card: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    _tensors: Mapping[str, NDArray[np.float32]] | None = None

    @cached_property
    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """Name -> float32 array, exactly those of `tensor_shapes(config)`.

        Raises
        ------
        WeightsError
            If tensors are missing, unknown, of other shapes, or do not match their checksum.
        """
        tensors = self._tensors
        if tensors is None:
            assert self.path is not None, "a model has tensors or a file"
            tensors = _read_tensors(self.path)
            expected = self.card.get("tensors_sha256")
            if expected and tensors_sha256(tensors) != expected:
                raise WeightsError(
                    f"{self.path}: the tensors do not match the checksum in their model card; "
                    f"get the file again"
                )
        _check_tensors(tensors, self.config, str(self.path or self.name))
        _check_finite(tensors, str(self.path or self.name))
        return tensors

    @property
    def knows_counts(self) -> bool:
        """Whether it was trained on counts of photons, which it then restores best as they are."""
        return str(self.card.get("noise", "")).startswith("Micrographs of")

    @property
    def takes_noise(self) -> bool:
        """Whether it enlarges or sharpens noisy images, and was trained on them."""
        return self.card.get("takes_noise") is True

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Stored values that it was made to see as 0 and 1; None where any image's own do."""
        found = self.card.get("stored_range")
        return None if found is None else (float(found[0]), float(found[1]))

    def range_of(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        """The same for images of a type: all of 8 bits, unless it was trained here to denoise, at
        any strength of noise. Dark images have a range of their own then."""
        is_blind = self.task == "denoise" and "noise" in self.card
        return self.stored_range or (BYTES if dtype == "uint8" and not is_blind else None)

    @cached_property
    def checksum(self) -> str:
        """`tensors_sha256` of the tensors, as the card has it; they are checked when they are read.

        A model without a card's checksum reads its tensors for it.
        """
        return str(self.card.get("tensors_sha256") or tensors_sha256(self.tensors))

    def release(self) -> None:
        """Let go of the tensors; they are read again if they are needed again."""
        self.__dict__.pop("tensors", None)

    @cached_property
    def net(self) -> ReferenceNet:
        """The reference net in eval mode (imports torch)."""
        need_torch("the reference net")
        import torch

        from unetmm.nets.nafnet import build_net

        net = build_net(self.config)
        net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in self.tensors.items()})
        return net.eval()

    @property
    def task(self) -> str:
        usual = "denoise" if self.config.gives == "image" else "apply"
        return str(self.card.get("task", usual))

    @property
    def parameters(self) -> int:
        return parameter_count(self.config)


IMPORTED = (".onnx", ".ckpt")
"""Endings of files that have to be imported first."""


def load_model(name_or_path: str | Path) -> Model:
    """A model of the zoo by name, or from a file: .safetensors of ours, .pth of a public NAFNet.

    Raises
    ------
    WeightsError
        If there is no such model, or the file is damaged or not a net this project knows.
    """
    zoo = zoo_models()
    path = zoo.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        names = ", ".join(sorted(zoo)) or "none"
        raise WeightsError(
            f'no model "{name_or_path}": the zoo has {names}; a path to a .safetensors or .pth '
            f"file works too"
        )
    if path.suffix in (".pth", ".pt"):
        return _load_public_checkpoint(path)
    if path.suffix.lower() in IMPORTED:
        raise WeightsError(
            f"{path}: a net of another project; unetmm import {path} -o {path.stem}.safetensors "
            "makes a model of it"
        )
    header = _read_header(path)
    metadata = header.pop("__metadata__", {})
    try:
        config = NetConfig.from_json(metadata["unetmm.config"])
        card = _read_card(metadata.get("unetmm.card", "{}"))
    except (KeyError, ValueError, TypeError, ShapeError) as error:
        raise WeightsError(
            f"{path}: not a unetmm weight file ({error}); unetmm import reads those of other "
            "projects"
        ) from error
    expected = card.get("config_sha256")  # the first files had none
    if expected and text_sha256(metadata["unetmm.config"]) != expected:
        raise WeightsError(
            f"{path}: the net's config does not match the checksum in its model card; get the "
            f"file again"
        )
    _check_size(config, str(path))
    _check_header(header, config, str(path))
    return Model(path.stem, config, card, path)


def zoo_folder() -> Path:
    """Where the shipped weights are: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "zoo"
    return installed if installed.is_dir() else package.parent / "weights"


def zoo_models() -> dict[str, Path]:
    """Name -> file of every shipped model."""
    files = zoo_folder().glob("*.safetensors")
    return {p.stem: p for p in sorted(files, key=lambda path: path.stem)}


def save_model(
    path: Path,
    config: NetConfig,
    tensors: Mapping[str, NDArray[np.float32]],
    card: Mapping[str, Any],
) -> None:
    """Write a weight file; it appears whole or not at all.

    Raises
    ------
    WeightsError
        If the tensors are not those of the config, or the file cannot be written.
    """
    import os

    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    _check_tensors(tensors, config, str(path))
    checksums = {
        "config_sha256": text_sha256(config.to_json()),
        "tensors_sha256": tensors_sha256(tensors),
    }
    card = {**card, **checksums}
    metadata = {"unetmm.config": config.to_json(), "unetmm.card": json.dumps(card)}
    aside = path.with_name(path.name + ".part")
    try:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, aside, metadata)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(aside, 0o666 & ~umask)  # safetensors makes files that only their owner can read
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        raise WeightsError(f"{path}: cannot be written ({error})") from error


def text_sha256(text: str) -> str:
    """Checksum of a config as it is written in a file, whatever fields it has."""
    return hashlib.sha256(text.encode()).hexdigest()


def tensors_sha256(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """Checksum over names and values, in the order of names."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").tobytes())
    return digest.hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, without importing anything."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= HEADER_LIMIT_BYTES:
                raise ValueError("no safetensors header")
            header: Any = json.loads(file.read(length))
            metadata = header.get("__metadata__", {})
            header["__metadata__"] = {str(k): str(v) for k, v in metadata.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error
    except RecursionError:
        raise WeightsError(f"{path}: not a safetensors file (nested too deeply)") from None
    assert isinstance(header, dict), "it has `get`"
    return header


def _read_card(text: str) -> dict[str, Any]:
    """The card of a model; raises ValueError if it is none."""
    if len(text) > CARD_LIMIT_CHARS:
        raise ValueError(f"its card has {len(text)} characters, {CARD_LIMIT_CHARS} are the most")
    try:
        card = json.loads(text)
    except RecursionError:
        raise ValueError("its card is nested too deeply") from None
    if not isinstance(card, dict):
        raise ValueError(f"its card is a {type(card).__name__}, not a table of facts")
    for name in _TEXTS:
        if not isinstance(card.get(name, ""), str):
            raise ValueError(f"{name} of its card is no text")
    stored = card.get("stored_range", [0, 1])
    if not (isinstance(stored, list) and len(stored) == 2 and is_range(*map(float, stored))):
        raise ValueError(f"stored_range of its card is {stored}, not two numbers, the lower first")
    return card


def _check_size(config: NetConfig, where: str) -> None:
    if parameter_count(config) > MOST_PARAMETERS:
        raise WeightsError(
            f"{where}: its net has {parameter_count(config)} weights, {MOST_PARAMETERS} are the "
            "most"
        )


def _check_header(header: Mapping[str, Any], config: NetConfig, where: str) -> None:
    """Refuse tensors that are not those of the net, or no floats, before any is read."""
    kinds: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        for name, entry in header.items():
            kinds[name], shapes[name] = str(entry["dtype"]), tuple(entry["shape"])
    except (KeyError, TypeError, AttributeError):
        raise WeightsError(
            f"{where}: damaged weight file (a tensor without type or shape)"
        ) from None
    _check_shapes(shapes, config, where)
    for name, kind in kinds.items():
        if kind not in _FLOATS:
            raise WeightsError(
                f"{where}: tensor {name} holds {kind}, weights are one of {', '.join(_FLOATS)}; "
                "save them as F32"
            )


def _read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        with np.errstate(over="ignore"):  # of doubles, which are then not finite
            return {k: v.astype(np.float32, copy=False) for k, v in load_file(path).items()}
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged weight file ({error})") from error


def _check_tensors(tensors: Mapping[str, Any], config: NetConfig, where: str) -> None:
    _check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, config, where)


def _check_shapes(found: Mapping[str, tuple[int, ...]], config: NetConfig, where: str) -> None:
    expected = tensor_shapes(config)
    missing, unknown = (
        sorted(expected.keys() - found.keys()),
        sorted(found.keys() - expected.keys()),
    )
    if missing or unknown:
        raise WeightsError(
            f"{where}: the tensors are not those of the net: missing {missing[:3] or 'none'}, "
            f"unknown {[name[:80] for name in unknown[:3]] or 'none'}"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise WeightsError(f"{where}: tensor {name} should be {shape}, found {found[name]}")


def _check_finite(tensors: Mapping[str, Any], where: str) -> None:
    """Refuse weights that are NaN or infinite, of which every pixel would become one."""
    import numpy as np

    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            count = int(tensor.size - np.count_nonzero(np.isfinite(tensor)))
            raise WeightsError(
                f"{where}: {count} of {tensor.size} weights of {name} are NaN or infinite; train "
                "or get the model again"
            )


def _load_public_checkpoint(path: Path) -> Model:
    """A .pth of the public NAFNet code: config read off the tensors' shapes."""
    tensors = read_checkpoint(path)
    config = infer_config({k: v.shape for k, v in tensors.items()}, str(path))
    _check_size(config, str(path))
    _check_tensors(tensors, config, str(path))
    return Model(path.stem, config, {"source": str(path)}, path, tensors)
