"""The row stream: a trained net as rows in, rows out, every pixel computed once.

`layout` is integers only (the plan uses it too), `weights` folds a net into packed matrices,
`simd` and `kernels` are the compiled inner loops, `stream` runs them band by band.
"""
