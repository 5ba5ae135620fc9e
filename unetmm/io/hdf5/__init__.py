"""HDF5: arrays in a tree of groups, as Imaris, ilastik, BigDataViewer and netCDF-4 have them."""
