"""Numbers that the reference nets and the row stream must share. No torch."""

LAYER_NORM_EPS = 1e-6
"""Constant added to the variance in every LayerNorm, as in public NAFNet."""
