"""Fused kernels of NAFNet blocks in Triton, for streams and for training. None of it is needed on
a CPU, but Triton's interpreter runs all of it there (`TRITON_INTERPRET=1`), which the tests use.

    tiles.py      how a kernel is cut, and for which widths there is one; integers, no torch
    kept.py       tiles that were measured on a card, on disk
    parts.py      what the kernels share: normalisation, products, depthwise taps
    halves.py     the two halves of a block, for maps of few channels
    products.py   the same as one kernel an operation, for maps of many channels; convolutions
    launch.py     starts them on tensors
    gradients.py, backward.py    the halves' gradients, and what starts them
    folding.py    weights as the halves take them, in training
    trial.py      whether they work on a GPU at all

A map is (channels, rows, columns) or channels-last: kernels take strides. Products have operands in
the maps' precision and sums in float32; all else is float32. A pixel's value depends on its 3x3
neighbours alone, never on where a tile begins; tiles of another size add in another order.
"""
