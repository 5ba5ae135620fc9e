"""Why some operators of foreign nets cannot be a stream of rows."""

from __future__ import annotations

WHOLE = "it looks at the whole image, which a stream never holds"
EDGES = "it repeats or mirrors a map's edges, where a stream has zeros"
REASONS = {
    "GlobalAveragePool": WHOLE,
    "GlobalMaxPool": WHOLE,
    "ReduceMean": WHOLE,
    "ReduceSum": WHOLE,
    "ReduceMax": WHOLE,
    "InstanceNormalization": f"{WHOLE}; train the net with batch normalisation instead",
    "GroupNormalization": f"{WHOLE}; train the net with batch normalisation instead",
    "LayerNormalization": "only NAFNet's own is streamed: import its .pth or .safetensors instead",
    "MatMul": "attention between places looks at the whole image",
    "Softmax": "attention between places looks at the whole image",
    "Einsum": "attention between places looks at the whole image",
    "GridSample": "it takes pixels from anywhere in the image",
    "DeformConv": "it takes pixels from anywhere in the image",
    "Shape": "sizes are computed from the image's: export the net for images of a fixed size",
    "Reshape": "only pixel-shuffle and its reverse change channels into pixels",
}
"""Operators that cannot be streamed -> why."""
