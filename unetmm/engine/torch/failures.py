"""Torch's errors as ours: MemoryError for too little memory, one line for a GPU that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from unetmm.errors import DeviceError

OF_MEMORY = ("out of memory", "not enough memory", "_STATUS_ALLOC_FAILED")
"""Words of torch and of CUDA's libraries for too little memory."""
GPU_ERRORS: Any = getattr(torch, "AcceleratorError", ())
"""Class of CUDA's errors in newer versions of torch."""
OF_DEVICE = (
    "CUDA error",
    "CUDA driver error",
    "[CUDA]",
    "CUBLAS_STATUS",
    "cuDNN error",
    "HIP error",
)
"""Words of an error that comes of a GPU, by torch, by CUDA's libraries and by Triton."""

OF_TRITON = "OutOfResources"
"""Name of Triton's error for a kernel whose tiles the GPU cannot hold; Triton may not be there."""


@contextmanager
def translated(device: torch.device) -> Iterator[None]:
    """Give errors of memory as Python's, and those of a GPU that fails in one line.

    Raises
    ------
    MemoryError
        If the memory of the device or of the process does not suffice.
    DeviceError
        If the GPU is lost, or refuses to go on. Nothing works on it any more in this process.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        if type(error).__name__ == OF_TRITON:
            raise DeviceError(f"device {device} failed: {_reason(text)}") from error
        if not isinstance(error, RuntimeError):
            raise
        if any(words in text for words in OF_MEMORY):
            raise MemoryError(text) from error
        if isinstance(error, GPU_ERRORS) or any(words in text for words in OF_DEVICE):
            raise DeviceError(f"device {device} failed: {_reason(text)}") from error
        raise


def _reason(text: str) -> str:
    """The first line; what follows says how to look for the kernel that is to blame."""
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else "no reason is given"
