"""The row stream: a trained net as rows in, rows out, every pixel computed once.

`contract` says what an engine is: it prices and measures its streams before a run, folds a net, and
opens streams. `cpu` (compiled kernels) and `torch` (the same as torch operations) fulfil it;
`choice` says which of them a user's choice means. Both walk the same `layout` (which rows every
layer makes when), multiply by the same matrices (`folding`), and count rows by the same `clock`.
Planning loads neither kernels nor torch.
"""
