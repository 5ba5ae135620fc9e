"""The row stream as compiled kernels.

    engine.py     fulfils the contract: sizes, prices, and a net folded for a run
    footprint.py  what a stream takes in memory, to the byte; cost.py what it takes in time
    precision.py  how exact the blocks' matrix products are
    compiled.py   a net's packed matrices; net.py opens streams of it
    stream.py     rows in, rows out; program.py says in tables what its stages do
    stages.py     one band of one map; block.py the NAFNet block, where the time goes
    kernels.py    the inner loops, made of simd, pairs, tiles and reduce
    team.py       threads that share the columns; sync.py how they wait, shares.py who takes which
    prepare.py    compiles the kernels once a machine

Only engine, footprint, cost and precision are loaded for a plan; they import no Numba.
"""
