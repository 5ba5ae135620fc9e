"""Many images in one command: finding, placing, watching, reporting them."""
