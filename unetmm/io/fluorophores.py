"""Colours that microscopists expect of channels, by the name of the dye or the light."""

from __future__ import annotations

import re

_BLUE, _CYAN, _GREEN, _YELLOW = "0000FF", "00FFFF", "00FF00", "FFFF00"
_ORANGE, _RED, _MAGENTA, _WHITE = "FF8000", "FF0000", "FF00FF", "FFFFFF"
_NAMES = {
    _BLUE: "dapi hoechst bfp ebfp tagbfp 350 358 361 405 af405 alexa405 blue",
    _CYAN: "cfp ecfp mcerulean mturquoise cerulean turquoise 430 433 445 cyan",
    _GREEN: "fitc gfp egfp mneongreen neongreen mclover calcein fluo4 syto9 sytox gcamp "
    "gcamp6 gcamp6s gcamp6f 470 473 488 491 af488 alexa488 cy2 atto488 green",
    _YELLOW: "yfp eyfp mvenus venus mcitrine citrine 514 515 532 af532 alexa532 yellow",
    _ORANGE: "tritc cy3 rfp dsred tdtomato morange rhodamine 543 546 550 555 561 af546 af555 "
    "alexa546 alexa555 atto550 atto565 pe orange",
    _RED: "mcherry cherry texasred txred mkate mscarlet mruby 568 580 590 594 af568 af594 "
    "alexa568 alexa594 propidium pi red",
    _MAGENTA: "cy5 cy55 cy7 irfp mirfp draq5 farred apc 633 635 640 642 647 660 680 700 730 750 "
    "af633 af647 af680 af750 alexa633 alexa647 alexa680 alexa750 atto647 atto647n sir magenta",
    _WHITE: "brightfield bf dic phase pc ph ph1 ph2 ph3 tl trans transmitted dia pmt widefield "
    "confocal sem tem bse se grey gray",
}
_COLOURS = {word: colour for colour, words in _NAMES.items() for word in words.split()}


def colour_of(name: str) -> str | None:
    """Six hexadecimal digits for a channel's name; None if it names no dye that is known.

    Of several dyes in a name, the first counts: "DAPI (405)", "Alexa Fluor 488", "GFP-Cy3".
    """
    words = re.findall(r"[a-z0-9]+", name.casefold())
    known = ("".join(words[i : i + n]) for i in range(len(words)) for n in (1, 2))
    return next((_COLOURS[word] for word in known if word in _COLOURS), None)
