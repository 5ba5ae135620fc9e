"""`python -m unetmm.train`: train where the command line's packages are not installed."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from unetmm.train.config import load_train_config
from unetmm.train.loop import Trainer, TrainingProgress


def main() -> int:
    """Train one run; exit code 0 when it is finished, 75 when the time limit came first."""
    parser = argparse.ArgumentParser(prog="python -m unetmm.train")
    parser.add_argument("config", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints live")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    parser.add_argument("--compile", action="store_true", help="compile the blocks, on a GPU")
    parser.add_argument("--no-fused", action="store_true", help="no fused kernels, on a GPU")
    parser.add_argument("--limit-s", type=float, default=None)
    parser.add_argument("--pack", default=None, help="packed images instead of the folders")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    arguments.folder.parent.mkdir(parents=True, exist_ok=True)
    config = load_train_config(arguments.config)
    if arguments.pack is not None:
        config = replace(config, pack=arguments.pack)
    trainer = Trainer(
        config,
        arguments.folder,
        arguments.device,
        arguments.workers,
        arguments.compile,
        not arguments.no_fused,
    )

    def report(p: TrainingProgress) -> None:
        sys.stderr.write(f"step {p.step}/{p.steps}  {p.psnr_db:.2f} dB  {p.seconds:.0f} s\n")

    return 0 if trainer.run(report, limit_s=arguments.limit_s) else 75


if __name__ == "__main__":
    sys.exit(main())
