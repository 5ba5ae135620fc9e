"""Statistics of a whole image, measured once and frozen."""
