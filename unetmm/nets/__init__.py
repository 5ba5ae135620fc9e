"""The networks in their reference form: ordinary modules on (b, c, h, w).

`config` needs no torch; everything else here does.
"""
