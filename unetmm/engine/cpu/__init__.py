"""The row stream: a trained net as rows in, rows out, every pixel computed once.

`layout` and `footprint` are integers only (the plan uses them too), `folding` and `compiled` turn
a net into packed matrices, `precision` says how exact their products are, `simd`, `pairs` and
`kernels` are the compiled inner loops, `block` and `stages` make the next band of a map, `program`
says in tables what they have to do, `team` and `sync` let threads share the columns, `shares` says
who takes which, and `stream` is all of it: rows in, rows out.
"""
