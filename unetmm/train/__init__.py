"""Training, resumable to the step: `python -m unetmm.train RUN.toml --folder runs/NAME`."""

from unetmm.extras import need_torch

need_torch("training or adapting a model")
