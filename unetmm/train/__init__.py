"""Training: clean images in, noise made here, resumable to the step. `python -m unetmm.train RUN.toml`."""
