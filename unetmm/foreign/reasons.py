"""Why some operators of foreign nets cannot be a stream of rows."""

from __future__ import annotations

WHOLE = "it looks at the whole image, which a stream never holds"
EDGES = "it cannot be written out as a convolution"
UNKNOWN = "it is not among the layers that can be streamed"
FUNCTION = (
    "this function is not computed; ReLU, leaky and parametric ReLU, GELU, SiLU, sigmoid, tanh, "
    "clipping and the hard forms are"
)
ATTENTION = "attention between places looks at the whole image"
REASONS = {
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMin"), WHOLE),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "ReduceProd"), WHOLE),
    **dict.fromkeys(
        ("InstanceNormalization", "GroupNormalization"),
        f"{WHOLE}; train the net with batch normalisation instead",
    ),
    "LayerNormalization": "only NAFNet's own is streamed: import its .pth or .safetensors instead",
    **dict.fromkeys(("MatMul", "Gemm", "Softmax", "Einsum", "Attention"), ATTENTION),
    **dict.fromkeys(("GridSample", "DeformConv"), "it takes pixels from anywhere in the image"),
    **dict.fromkeys(
        ("Elu", "Celu", "Selu", "Mish", "Softplus", "Softsign", "Sqrt", "Exp", "Log", "Reciprocal"),
        FUNCTION,
    ),
    **dict.fromkeys(("Sin", "Cos", "Floor", "Round", "Ceil", "Sign"), FUNCTION),
    **dict.fromkeys(
        ("QLinearConv", "QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger"),
        "the graph is quantised; import the one of floats",
    ),
    **dict.fromkeys(("Loop", "Scan", "If"), "only graphs without loops and branches are read"),
    "Reshape": (
        "only pixel-shuffle, its reverse and orders of channels change a map's axes; group "
        "normalisation and attention look at the whole image"
    ),
}
"""Operators that cannot be streamed -> why."""
REASONS["Transpose"] = REASONS["Reshape"]
