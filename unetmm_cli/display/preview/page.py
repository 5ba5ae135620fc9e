"""A preview as one HTML page with all pictures in it, which needs no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

from unetmm.version import __version__
from unetmm_cli.display.preview.content import Shown, ShownCrop, ShownTake
from unetmm_cli.display.preview.pictures import Picture, to_png

SMALL_PX = 140
"""Height and width up to which a crop is shown larger at first."""


def make_page(shown: Shown) -> str:
    """The page as text."""
    template = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        version=escape(__version__),
        name=escape(shown.path.name),
        facts="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in shown.facts),
        crops="\n".join(_section(crop) for crop in shown.crops()),
        commands="\n".join(_commands(shown)),
    )


def _section(crop: ShownCrop) -> str:
    """One crop: before, then each model's answer and what it changed."""
    height, width = crop.before.shape[:2]
    factor = max(1, SMALL_PX // max(height, width)) if max(height, width) < SMALL_PX else 1
    style = f"--w:{width * factor};--h:{height * factor};--before:url({_data(crop.before)})"
    title = escape(crop.title)
    pairs = "\n".join(_pair(crop, take) for take in crop.takes)
    return f"""<section style="{style}">
<h2>{title}</h2>
<p class="soft">{escape(crop.place)}. {escape(crop.stretch)} {escape(crop.change)}</p>
<div class="row">
<figure><div class="pic" role="img" aria-label="{title}: before"></div>
<figcaption>Before</figcaption></figure>
{pairs}
</div>
</section>"""


def _pair(crop: ShownCrop, take: ShownTake) -> str:
    """What one model made of a crop, and what it changed."""
    title, name = escape(crop.title), escape(take.name)
    return f"""<div class="pair">
<figure><div class="compare"><div class="pic"></div>
<img src="{_data(take.after)}" alt="{title}: after, {name}">
<input type="range" min="0" max="100" value="50" step="1"
 aria-label="{title}, {name}: percentage of the picture that shows before"></div>
<figcaption>{name}: before | after</figcaption></figure>
<figure><img src="{_data(take.difference)}" alt="{title}: difference, {name}">
<figcaption>{name}: difference</figcaption></figure>
</div>"""


def _commands(shown: Shown) -> Iterator[str]:
    """The command for a run with each model."""
    for run in shown.runs:
        yield f"<p>{escape(run.model)}: {escape(run.in_words)}.</p>"
        yield f"<pre><code>{escape(run.command)}</code></pre>"


def _data(picture: Picture) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(to_png(picture)).decode()}"
