"""Everything the command line prints: results on stdout, all else on stderr."""

from __future__ import annotations

import codecs
import io
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unetmm.sizes import format_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from unetmm.io.places import Place
    from unetmm.models.weights import Model
    from unetmm.plan.outlook import Outlook, Variant
    from unetmm.plan.types import Plan
    from unetmm.provenance.verify import Verification
    from unetmm.quality.scores import Evaluation

PIPE_WIDTH = 120
"""Columns of tables where stdout is no terminal."""

DEVICE_NOTES = {
    "weights": "folded matrices",
    "stream_state": "rows that layers keep",
    "skip": "what is held for the decoder",
    "image_rows": "input rows for the residual",
    "arena": "working set and finished band",
    "transfers": "bands under way",
    "workspace": "cuBLAS and torch's allocator, as a constant",
}

TERM_NOTES = {
    "runtime": "Python, libraries and kernels",
    "weights": "tensors, and packed for the stream",
    "stream_state": "rows that layers keep",
    "skip": "what is held for the decoder",
    "image_rows": "input rows for the residual, and as stored",
    "arena": "working set and finished bands",
    "source": "reading and decoding",
    "sink": "encoding and writing",
    "calibration": "beyond the streams, before they start",
}


def print_any_text() -> None:
    """Let stdout take text that its encoding lacks: names of files as they are, the rest as ?."""
    codecs.register_error("unetmm", _lacking)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="unetmm")


def _lacking(error: UnicodeError) -> tuple[bytes, int]:
    """What is printed instead of characters that cannot be encoded, and where they end."""
    assert isinstance(error, UnicodeEncodeError)
    # A byte of a name that is no text in the locale's encoding has become such a character.
    known = (
        ord(c) - 0xDC00 if "\udc80" <= c <= "\udcff" else ord("?")
        for c in error.object[error.start : error.end]
    )
    return bytes(known), error.end


def can_print(text: str) -> bool:
    """Whether stdout's encoding has every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def result(text: str) -> None:
    """One line of result on stdout."""
    print(text)


def give_up_stdout() -> None:
    """Let what is left for stdout go nowhere, after its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """One line for the reader on stderr."""
    print(text, file=sys.stderr, flush=True)


def progress_line(text: str) -> None:
    """A line on a terminal's stderr that takes the place of the one before; empty removes it."""
    print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def say_json(content: dict[str, Any]) -> None:
    """One JSON object on a line of stderr."""
    say(json.dumps(content))


def result_json(content: Any) -> None:
    """One JSON object on stdout; NaN and infinities become text, so any parser reads it."""
    print(json.dumps(plain(content), indent=2))


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return plain(value.item()) if hasattr(value, "item") else str(value)


def error(problem: Exception, as_json: bool = False) -> None:
    """One line that says what went wrong and what would work."""
    text = str(problem)
    if isinstance(problem, OSError) and problem.strerror:
        text = f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    if hasattr(problem, "needed_bytes"):
        option = "--device-budget" if getattr(problem, "of_device", False) else "--mem-budget"
        text += f" ({option} {math.ceil(problem.needed_bytes / 10**6)}MB)"
    _say_end("error", " ".join(text.split()), as_json)


def usage_error(text: str, context: Any, as_json: bool = False) -> None:
    """One line on what is wrong with the command line, and where to read how it is right."""
    command = context.command_path if context is not None else "unetmm"
    text = " ".join(text.split()).rstrip(".")
    _say_end("error", f"{text}; see {command} --help", as_json)


def interrupted(outcome: str = "", as_json: bool = False) -> None:
    """One line after Ctrl-C."""
    _say_end("interrupted", outcome, as_json)


def _say_end(event: str, message: str, as_json: bool) -> None:
    if as_json:
        say_json({"event": event, "message": message})
    else:
        say(f"{event}{': ' if message else ''}{message}")


class LogLines(logging.Handler):
    """Shows the library's log and Python's warnings, one line each; other loggers stay silent."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(logging.INFO)
        self.as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] == "unetmm"
        if not ours and record.name != "py.warnings":
            return
        message = " ".join(record.getMessage().split())
        if self.as_json:
            say_json({"event": "log", "level": record.levelname.lower(), "message": message})
        else:
            say(message if record.levelno < logging.WARNING else f"warning: {message}")


def show_logs(quiet: bool = False, as_json: bool = False) -> None:
    """Send log records and warnings to stderr, or nowhere if quiet."""
    logging.captureWarnings(True)
    handler = logging.NullHandler() if quiet else LogLines(as_json)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def show_pairs(content: dict[str, Any]) -> None:
    """Names and values, one pair a line."""
    _print(_pairs(content))


def show_models(rows: list[dict[str, Any]]) -> None:
    """What is in the zoo, one line a model."""
    if not rows:
        say("the zoo is empty; give a weight file with --model")
        return
    table = _table(
        "name", "task", "channels", "parameters", "weights", "kMAC/px", "training data", "quality"
    )
    table.columns[0].no_wrap = True  # to be copied
    for row in rows:
        table.add_row(
            row["name"],
            row["task"],
            str(row["channels"]),
            f"{row['parameters'] / 10**6:.2f} M",
            format_size(row["weights_bytes"]),
            f"{row['kmac_per_px']:.1f}",
            row["data_licences"],
            _flat(row["quality"]),
        )
    _print(table)


def show_evaluations(found: Sequence[Evaluation]) -> None:
    """Means of models on one folder, one line a model and noise level."""
    first = found[0]
    kind = f"white Gaussian noise, seed {first.seed}" if first.seed is not None else "real noise"
    result(f"{', '.join(e.model for e in found)} on {first.dataset}, {kind}")
    names = ("model", "sigma", "images", "noisy dB", "restored dB", "gain dB", "SSIM", "s/image")
    table = _table(*names, right=names[1:])
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
    _print(table)


def show_benchmark(facts: dict[str, str], rows: Sequence[tuple[str, ...]]) -> None:
    """What was measured, and a line for every contender."""
    _print(_pairs(facts))
    right = ("s/Mpx", "spread", "x stream", "peak", "max diff")
    table = _table("", *right, "", right=right)
    for row in rows:
        table.add_row(*row)
    _print(table)


def watching(folders: list[str], as_json: bool) -> None:
    """That a run waits for images."""
    if as_json:
        say_json({"event": "watch", "folders": folders})
    else:
        say(f"watching {', '.join(folders)}; Ctrl-C ends it")


def left_out(count: int, as_json: bool) -> None:
    """How many images are no inputs because an earlier run of the command made them."""
    if as_json:
        say_json({"event": "left_out", "outputs": count})
    elif count == 1:
        say("left out 1 image that is an output of this command")
    else:
        say(f"left out {count} images that are outputs of this command")


def batch_item(path: str, output: Place, outcome: str, reason: str, as_json: bool) -> None:
    """What became of one image of a batch."""
    if as_json:
        facts = {"event": "file", "input": path, "output": str(output), "outcome": outcome}
        say_json(facts | ({"error": reason} if reason else {}))
    elif outcome == "failed":
        say(f"failed: {reason}")
    else:
        say(f"{outcome}: {path} -> {output}")


def batch_summary(counts: dict[str, int], failed: list[str], as_json: bool) -> None:
    """How a batch ended, the images that failed by name."""
    if as_json:
        say_json({"event": "batch", **counts, "failed_inputs": failed})
        return
    result(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    for name in failed:
        result(f"failed: {name}")


def show_verification(found: Verification) -> None:
    """One line, and one for every chunk that is damaged."""
    for place in found.damaged:
        result(f"damaged: {place}")
    result(f"{found.output}: {found.chunks} chunks, {len(found.damaged)} damaged")


def model_as_dict(model: Model) -> dict[str, Any]:
    """The facts of `models --json`; the card says the rest."""
    from unetmm.nets.shapes import macs_per_px

    return {
        "name": model.name,
        "task": model.task,
        "channels": model.config.in_channels,
        "parameters": model.parameters,
        "weights_bytes": model.path.stat().st_size if model.path else 0,
        "kmac_per_px": macs_per_px(model.config) / 1000,
        "skip_floats_per_px": float(model.config.skip_floats_per_px),
        "data_licences": str(model.card.get("data_licences", "")),
        "quality": plain(model.card.get("quality")),
    }


def show_model(model: Model) -> None:
    """Everything known about a model, its card included."""
    _print(_pairs({**model_as_dict(model), **{k: plain(v) for k, v in model.card.items()}}))


def show_plan(outlook: Outlook) -> None:
    """Geometry, memory term by term, and what UNet-- saves."""
    plan, info = outlook.plan, outlook.info
    samples = f" x {info.samples} samples" if info.samples > 1 else ""
    _print(
        _pairs(
            {
                "input": f"{outlook.input}: {info.width} x {info.height} px, "
                f"{len(info.planes)} plane{'s' * (len(info.planes) > 1)}{samples}, {info.dtype}",
                "output": str(outlook.output),
                "model": f"{plan.model}, {outlook.model.parameters / 10**6:.2f} M parameters"
                f"{'' if plan.precision == 'fp32' else f', in {plan.precision}'}",
                "strips": f"{len(plan.strips)} of at most {plan.strip_width_px} px",
                "segments": len(plan.segments),
                "band": f"{plan.band_rows} rows",
                **({} if plan.device == "cpu" else {"device": _device(plan)}),
                "workers": f"{plan.workers}, {plan.threads} thread{'s' * (plan.threads > 1)} each",
                "halo": f"{plan.halo_px} px",
                "lag": f"{plan.lag_rows} rows",
                "recomputed": f"{plan.recomputed_share:.1%}",
                "time": f"about {seconds_text(plan.estimated_s)} on {_computes_on(plan)}",
            }
        )
    )
    _print(_memory_table(outlook))
    if plan.device_terms is not None:
        _print(_device_table(plan))
    _print(_comparison_table(outlook.variants))


def _memory_table(outlook: Outlook) -> Table:
    from unetmm.plan.outlook import term_rows

    plan = outlook.plan
    return _terms_table("memory", term_rows(plan.terms), TERM_NOTES, plan.budget_bytes)


def _device_table(plan: Plan) -> Table:
    from unetmm.plan.outlook import term_rows

    terms = term_rows(plan.device_terms)
    return _terms_table(f"memory of {plan.device}", terms, DEVICE_NOTES, plan.device_budget_bytes)


def _terms_table(
    title: str, terms: Sequence[tuple[str, int]], notes: dict[str, str], budget_bytes: int
) -> Table:
    table = _table(title, "size", "bytes", "", right=("size", "bytes"))
    for name, size in terms:
        table.add_row(name, format_size(size), f"{size:,}", notes.get(name, ""))
    table.add_section()
    peak_bytes = sum(size for _, size in terms)
    for name, size in (
        ("projected peak", peak_bytes),
        ("budget", budget_bytes),
        ("left", budget_bytes - peak_bytes),
    ):
        table.add_row(name, format_size(size), f"{size:,}", "")
    return table


def _device(plan: Plan) -> str:
    return f"{plan.device}{f', {plan.device_name}' if plan.device_name else ''}"


def _computes_on(plan: Plan) -> str:
    if plan.device_terms is not None:
        return plan.device
    return f"{plan.cores} core{'s' * (plan.cores > 1)} of this machine"


def _comparison_table(variants: tuple[Variant, Variant]) -> Table:
    table = _table("same body, same budget", *(v.name for v in variants), "with UNet--")
    plain_skips, reduced = variants
    saved = 1 - reduced.skip_floats_per_px / plain_skips.skip_floats_per_px
    table.add_row(
        "kept for the decoder, whole image",
        *(f"{v.skip_floats_per_px:g} floats/px" for v in variants),
        f"{saved:.1%} less",
    )
    table.add_row(
        "widest strip in that memory",
        *(f"{v.widest_strip_px:,} px" for v in variants),
        f"{reduced.widest_strip_px / max(1, plain_skips.widest_strip_px):.2f} x as wide",
    )
    table.add_row("projected peak", *(_needed(v) for v in variants), "")
    rows: dict[str, Callable[[Plan], str]] = {
        "skip in this plan": lambda p: format_size(p.terms.skip),
        "strip width in this plan": lambda p: f"{p.strip_width_px} px",
        "strips": lambda p: f"{len(p.strips)}",
        "workers x threads": lambda p: f"{p.workers} x {p.threads}",
        "recomputed": lambda p: f"{p.recomputed_share:.1%}",
        "time": lambda p: f"about {seconds_text(p.estimated_s)}",
    }
    for name, text in rows.items():
        table.add_row(name, *(text(v.plan) if v.plan else "-" for v in variants), "")
    return table


def _needed(variant: Variant) -> str:
    size = format_size(variant.needed_bytes)
    return size if variant.plan else f"does not fit, needs {size}"


def seconds_text(seconds: float) -> str:
    """A time as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _flat(value: Any) -> str:
    """A value on one line."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_flat(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _pairs(content: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in content.items():
        table.add_row(Text(name, style="bold"), Text(_flat(value), overflow="fold"))
    return table


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _print(table: Table) -> None:
    _console().print(table, markup=False, highlight=False)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
