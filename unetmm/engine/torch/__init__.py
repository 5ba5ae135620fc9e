"""The row stream as ordinary torch operations: on a GPU, or on a CPU as the readable reference.

    engine.py     fulfils the contract: sizes, prices, and a net folded for a run
    footprint.py  what a stream takes there, to the byte; cost.py what it takes in time
    folded.py     a net's matrices on the device; net.py opens streams of it
    stages.py     one band of one map; fused.py the same with blocks as fused kernels (`kernels/`)
    stream.py     rows in, rows out
    copies.py     bands on their way to the device and back; cuda.py all that only CUDA has
    failures.py   errors of torch and of a GPU as ours

Only engine, footprint and cost are loaded for a plan; they import no torch.
"""
