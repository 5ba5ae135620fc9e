"""The row stream as ordinary torch operations: on a GPU, or on a CPU as the readable reference.

    target.py     which device and precision a choice means
    footprint.py  what a stream takes there, to the byte; integers only
    net.py        a net's matrices on the device
    stages.py     one band of one map
    stream.py     rows in, rows out
    copies.py     bands on their way to the device and back; cuda.py all that only CUDA has

Only net, stages, stream, copies and cuda import torch, and nothing imports them for a run on the
compiled kernels.
"""
