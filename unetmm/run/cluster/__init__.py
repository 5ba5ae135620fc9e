"""One image restored by the workers of a Dask cluster."""
