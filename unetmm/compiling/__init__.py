"""Numba functions compiled for this processor, and kept on disk."""
