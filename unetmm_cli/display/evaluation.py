"""Scores of models on one folder as a table."""

from __future__ import annotations

from collections.abc import Sequence

from unetmm.quality.scores import Evaluation
from unetmm_cli.display.lines import result
from unetmm_cli.display.tables import make_table, show_table


def show_evaluations(found: Sequence[Evaluation]) -> None:
    """Means of models on one folder, one line a model and noise level."""
    first = found[0]
    kind = f"white Gaussian noise, seed {first.seed}" if first.seed is not None else "real noise"
    result(f"{', '.join(e.model for e in found)} on {first.dataset}, {kind}")
    names = ("model", "sigma", "images", "noisy dB", "restored dB", "gain dB", "SSIM", "s/image")
    table = make_table(*names, right=names[1:])
    for rows in zip(*(e.means for e in found), strict=True):
        for evaluation, mean in zip(found, rows, strict=True):
            table.add_row(
                evaluation.model,
                "-" if mean.sigma is None else str(mean.sigma),
                str(mean.images),
                f"{mean.psnr_before_db:.2f}",
                f"{mean.psnr_db:.2f}",
                f"{mean.psnr_db - mean.psnr_before_db:+.2f}",
                f"{mean.ssim:.4f}",
                f"{mean.seconds:.2f}",
            )
    show_table(table)
