"""OME-Zarr 0.4 and 0.5, on disks and behind URLs."""
