"""Weight files, and which of them an image gets."""
