"""GeoPlace on Earth, said in text beside an image or in its attributes, as tags of a GeoTIFF.

Without GDAL a reference system in text (WKT) becomes a tag by its number in the EPSG registry, or,
where it has none and is projected, by its text, which GDAL and ESRI read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unetmm.io.metadata import GeoFacts, Metadata, Tag

SCALE_TAG, TIE_TAG, MATRIX_TAG = 33550, 33922, 34264
_KEYS_TAG, _TEXTS_TAG = 34735, 34737
PLACING_TAGS = (SCALE_TAG, TIE_TAG, MATRIX_TAG, _KEYS_TAG, 34736, _TEXTS_TAG)
"""Numbers of the tags that place an image, those of rational polynomials apart."""
RPC_TAG = 50844
_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED, _PROJECTED_TEXT = 1024, 1025, 2048, 3072, 3073
"""Keys of a GeoTIFF's directory."""
_USER_DEFINED = 32767
_SHORT, _ASCII, _DOUBLE = 3, 2, 12
_AUTHORITY = re.compile(
    r"""(?:AUTHORITY\s*\[\s*"EPSG"\s*,\s*"?(\d+)"?\s*\]|ID\s*\[\s*"EPSG"\s*,\s*(\d+)[^\]]*\])"""
    r"\s*\]\s*$",
    re.IGNORECASE,
)
_URN = re.compile(r"EPSG(?:/[\d.]*/|:+(?:[\d.]*:)?)(\d{4,6})(?!\d)", re.IGNORECASE)
_NAME = re.compile(r'^\s*(\w+)\s*\[\s*"([^"]*)"')
_GEOGRAPHIC_WORDS = ("GEOGCS", "GEOGCRS", "GEODCRS", "GEODETICCRS", "GEOGRAPHICCRS")
_ESRI_NAMES = {
    "GCS_WGS_1984": 4326,
    "WGS_1984_Web_Mercator_Auxiliary_Sphere": 3857,
    "GCS_ETRS_1989": 4258,
    "GCS_North_American_1983": 4269,
}
_ESRI_ZONES = (
    (re.compile(r"^WGS_1984_UTM_Zone_(\d+)N$"), 32600),
    (re.compile(r"^WGS_1984_UTM_Zone_(\d+)S$"), 32700),
    (re.compile(r"^ETRS_1989_UTM_Zone_(\d+)N$"), 25800),
    (re.compile(r"^NAD_1983_UTM_Zone_(\d+)N$"), 26900),
)
"""Names that ESRI gives to reference systems, and their numbers, to which a zone is added."""
RPC_NAMES = (
    *("ERR_BIAS", "ERR_RAND", "LINE_OFF", "SAMP_OFF", "LAT_OFF", "LONG_OFF", "HEIGHT_OFF"),
    *("LINE_SCALE", "SAMP_SCALE", "LAT_SCALE", "LONG_SCALE", "HEIGHT_SCALE"),
    *(f"{part}_COEFF_{i}" for part in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")
      for i in range(1, 21)),
)  # fmt: skip
"""Names of the numbers of rational polynomials, in the order of their tag."""

Transform = tuple[float, float, float, float, float, float]
"""Six numbers in GDAL's order: x of the origin, of a column, of a row, then y of the same."""


@dataclass(frozen=True)
class GeoPlace:
    """What is known of where an image lies."""

    transform: Transform | None = None
    """Map from columns and rows to coordinates."""
    wkt: str = ""
    """Reference system as text."""
    epsg: int = 0
    """Number of the reference system; 0 if it has none."""
    rpc: tuple[float, ...] = ()
    """Numbers of rational polynomials, in the order of `RPC_NAMES`."""

    @property
    def code(self) -> int:
        """Number of the reference system, stated or told by its text; 0 if there is none."""
        code = self.epsg or epsg_of(self.wkt)
        return code if 0 < code < _USER_DEFINED else 0

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are longitudes and latitudes."""
        if self.wkt:
            return self.wkt.lstrip().upper().startswith(_GEOGRAPHIC_WORDS)
        x, y = (self.transform or (1e9,) * 6)[0], (self.transform or (1e9,) * 6)[3]
        return 4000 <= self.code < 5000 and abs(x) <= 360 and abs(y) <= 91

    @property
    def is_said(self) -> bool:
        """Whether tags can say the reference system, if there is one."""
        return not self.wkt or bool(self.code) or not self.is_geographic


def epsg_of(wkt: str) -> int:
    """Number of a reference system in text; 0 if it does not say it."""
    text = wkt.strip()
    if found := _AUTHORITY.search(text):
        return int(found[1] or found[2])
    if not text.endswith("]") and (found := _URN.search(text)):
        return int(found[1])
    name = _NAME.match(text)
    if name is None:
        return 0
    for pattern, base in _ESRI_ZONES:
        if zone := pattern.match(name[2]):
            return base + int(zone[1])
    return _ESRI_NAMES.get(name[2], 0)


def place_tags(place: GeoPlace) -> tuple[Tag, ...]:
    """Tags that say a place."""
    return tuple(_tags(place))


def _tags(place: GeoPlace) -> Iterator[Tag]:
    if place.transform is not None:
        x, x_column, x_row, y, y_column, y_row = place.transform
        if not x_row and not y_column and x_column > 0 > y_row:
            yield SCALE_TAG, _DOUBLE, 3, (x_column, -y_row, 0.0)
            yield TIE_TAG, _DOUBLE, 6, (0.0, 0.0, 0.0, x, y, 0.0)
        else:
            matrix = (x_column, x_row, 0.0, x, y_column, y_row, 0.0, y, *(0.0,) * 4, 0.0, 0.0, 0.0)
            yield MATRIX_TAG, _DOUBLE, 16, (*matrix, 1.0)
    if (place.code or place.wkt) and place.is_said:
        keys, texts = _keys(place)
        yield _KEYS_TAG, _SHORT, len(keys), keys
        if texts:
            yield _TEXTS_TAG, _ASCII, 0, texts
    if place.rpc:
        yield RPC_TAG, _DOUBLE, len(place.rpc), place.rpc


def _keys(place: GeoPlace) -> tuple[tuple[int, ...], str]:
    """The directory of keys, and the texts that it points into."""
    entries = [(_RASTER, 0, 1, 1)]  # a pixel is an area
    texts = ""
    if place.code:
        key = _GEOGRAPHIC if place.is_geographic else _PROJECTED
        entries += [(_MODEL, 0, 1, 2 if place.is_geographic else 1), (key, 0, 1, place.code)]
    elif place.wkt:
        texts = f"ESRI PE String = {' '.join(place.wkt.split())}|"
        texts = texts.encode("ascii", "replace").decode()
        entries += [(_MODEL, 0, 1, 1), (_PROJECTED, 0, 1, _USER_DEFINED)]
        entries.append((_PROJECTED_TEXT, _TEXTS_TAG, len(texts), 0))
    entries.sort()
    head = (1, 1, 0, len(entries))
    return tuple(n for entry in (head, *entries) for n in entry), texts


def place_facts(place: GeoPlace) -> GeoFacts:
    """The same in words and numbers for readers."""
    name = _NAME.match(place.wkt)
    crs = f"EPSG:{place.code}" if place.code else "user-defined" if place.wkt else ""
    return GeoFacts(crs, name[2] if name else "", place.transform or (), rpc=bool(place.rpc))


def with_place(known: Metadata, place: GeoPlace) -> Metadata:
    """Metadata with a place, which goes before what the file says of the same."""
    gone: set[int] = set()
    if place.transform is not None:
        gone |= {SCALE_TAG, TIE_TAG, MATRIX_TAG}
    if place.code or place.wkt:
        gone |= {_KEYS_TAG, 34736, _TEXTS_TAG}
    if place.rpc:
        gone.add(RPC_TAG)
    made = [tag for tag in place_tags(place) if tag[0] in gone or not _has(known, tag[0])]
    kept = [tag for tag in known.tiff.tags if tag[0] not in gone]
    facts, old = place_facts(place), known.geo
    geo = replace(
        old,
        crs=facts.crs or old.crs,
        citation=facts.citation or ("" if facts.crs else old.citation),
        transform=facts.transform or old.transform,
        rpc=facts.rpc or old.rpc,
    )
    reading = known.reading
    if not place.is_said:
        reading = reading.without("coordinate reference system")
    return replace(
        known, tiff=replace(known.tiff, tags=tuple(kept + made)), geo=geo, reading=reading
    )


def _has(known: Metadata, code: int) -> bool:
    return any(tag[0] == code for tag in known.tiff.tags)


def is_point(tags: Sequence[Tag]) -> bool:
    """Whether the tags of a place count from the centre of the first pixel, not from its corner."""
    keys = next((tag[3] for tag in tags if tag[0] == _KEYS_TAG), ())
    entries = zip(*(keys[i::4] for i in range(4)), strict=False)
    return any(key == _RASTER and not where and value == 2 for key, where, _, value in entries)


def transform_of_tags(tags: Sequence[Tag]) -> Transform | None:
    """The transform that tags say; None if they say none."""
    found = {tag[0]: tag[3] for tag in tags}
    matrix, scale, tie = (found.get(code) for code in (MATRIX_TAG, SCALE_TAG, TIE_TAG))
    if matrix is not None and len(matrix) == 16:
        return (matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5])
    if scale is None or tie is None or len(tie) != 6:
        return None
    column, row, _, x, y, _ = tie
    return (x - column * scale[0], scale[0], 0.0, y + row * scale[1], 0.0, -scale[1])


def transform_of_centres(x: Sequence[float], y: Sequence[float]) -> Transform | None:
    """The transform of coordinates of the centres of columns and rows; None if steps differ."""
    steps = []
    for values in (x, y):
        numbers = np.asarray(values, float)
        if len(numbers) < 2 or not np.isfinite(numbers).all():
            return None
        found = np.diff(numbers)
        step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
        if not step or not np.allclose(found, step, rtol=1e-3, atol=0):
            return None
        steps.append(float(step))
    dx, dy = steps
    return (float(x[0]) - dx / 2, dx, 0.0, float(y[0]) - dy / 2, 0.0, dy)
