"""Formats whose pixels lie plainly in the file: NumPy's .npy, and PNM."""
