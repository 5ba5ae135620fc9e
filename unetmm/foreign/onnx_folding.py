"""What a graph computes of constants alone: sizes, factors, levels of noise.

Only operators whose results are as large as is known before; a graph of somebody else may declare
whatever it likes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError

Array = NDArray[Any]
MOST_CONSTANT = 2**27
"""Largest number of values of a constant that is computed."""
FOLDED = frozenset(
    """
    Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape DequantizeLinear Div Equal
    Erf Exp Expand Flatten Floor Gather Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min
    Mod Mul Neg Not Or Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceL2 ReduceSumSquare Reshape Round ScatterND Shape Sigmoid Sign Size Slice Split Sqrt
    Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where
    """.split()
)
"""Operators of constants that are computed."""


def folded(node: Any, inputs: Sequence[Array], a: dict[str, Any], opset: int) -> Sequence[Array]:
    """What a node makes of constants.

    Raises
    ------
    WeightsError
        If it is not computed, or would make more than is reasonable.
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type not in FOLDED or node.domain not in ("", "ai.onnx"):
        raise WeightsError("it cannot be computed beforehand")
    if node.op_type == "Constant" and "value" in a:
        return (numpy_helper.to_array(a["value"]),)
    if node.op_type in ("Unsqueeze", "Squeeze") and "axes" in a:  # the evaluator knows new ones
        axes = tuple(a["axes"])
        change = np.expand_dims if node.op_type == "Unsqueeze" else np.squeeze
        return (change(inputs[0], axes),)
    try:
        count = _count(node.op_type, inputs)
        if count > MOST_CONSTANT:
            raise WeightsError(f"a constant of {count} values; {MOST_CONSTANT} are the most")
        named = dict(zip((n for n in node.input if n), inputs, strict=True))
        results = ReferenceEvaluator(node, opsets={"": opset}).run(None, named)
    except WeightsError:
        raise
    except Exception as error:  # whatever the evaluator meets
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"it cannot be computed beforehand ({line[:120]})") from error
    return tuple(map(np.asarray, results))


def _count(kind: str, inputs: Sequence[Array]) -> int:
    """Number of values of the result at most."""
    if kind == "ConstantOfShape":
        return math.prod(int(n) for n in inputs[0])
    if kind == "Expand":
        return inputs[0].size * math.prod(max(1, int(n)) for n in inputs[1])
    if kind == "Tile":
        return inputs[0].size * math.prod(max(1, int(n)) for n in inputs[1])
    if kind == "Range":
        first, limit, step = (float(n) for n in inputs)
        return int(abs(limit - first) / abs(step)) + 1
    if kind == "Gather":
        return inputs[0].size * max(1, inputs[1].size)
    if kind in ("Concat", "Reshape", "Slice", "Split", "Transpose", "ScatterND", "Squeeze"):
        return sum(each.size for each in inputs)
    try:
        return math.prod(np.broadcast_shapes(*(each.shape for each in inputs)))
    except ValueError:  # reductions and such, which make nothing larger
        return sum(each.size for each in inputs)
