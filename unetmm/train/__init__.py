"""Training, resumable to the step: `python -m unetmm.train RUN.toml --folder runs/NAME`."""
