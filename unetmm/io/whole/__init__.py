"""Formats of other libraries whose images, or whose frames, are decoded as a whole."""
