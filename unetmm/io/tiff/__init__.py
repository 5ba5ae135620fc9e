"""TIFF of every common kind: OME, ImageJ, GeoTIFF, slides."""
