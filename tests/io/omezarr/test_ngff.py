"""OME-Zarr outputs as others read them: valid by its reference models, pixels where they belong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import zarr
from helpers import content
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.image import DTYPES, Box, Encoding, ImageInfo, Plane, SinkOptions
from unetmm.io.metadata import DisplayFacts, Metadata, MicroscopyFacts
from unetmm.io.omezarr import shards as omezarr_shards
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.output import Output
from unetmm.io.select import Selection
from unetmm.io.select_words import parse_channels

SIZES = {"Y": (0.5, "micrometer"), "X": (0.25, "micrometer")}
VERSIONS = ("0.4", "0.5")
CASES: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("grey", "YX", (70, 53), {}),
    ("one chunk", "YX", (5, 7), {}),
    ("RGB", "YXS", (37, 53, 3), {}),
    ("RGBA", "YXS", (37, 53, 4), {"alpha": True}),
    (
        "five axes",
        "TCZYX",
        (2, 2, 2, 20, 18),
        {
            "channel_names": ("DAPI", "Cy5"),
            "metadata": Metadata(microscopy=MicroscopyFacts(channel_colors=("#0000ff", "#ff0000"))),
            "pixel_size": SIZES | {"Z": (2.0, "micrometer"), "T": (1.5, "second")},
        },
    ),
]


def pixels_of(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(5).random(shape) * 120).astype(dtype)


def info_of(pixels: NDArray[Any], axes: str, **more: Any) -> ImageInfo:
    return ImageInfo(
        "any", axes, pixels.shape, pixels.dtype, (1, 1), **{"pixel_size": SIZES, **more}
    )


def boxes_of(output: Output) -> list[tuple[Plane, Box]]:
    level = output.store.levels[0]
    places = itertools.product(output.info.planes, *map(range, level.grid))
    return [(plane, level.box(row, column)) for plane, row, column in places]


def fill(output: Output, pixels: NDArray[Any], boxes: list[tuple[Plane, Box]]) -> None:
    for plane, box in boxes:
        where = tuple(plane["TCZ".index(a)] for a in output.info.axes if a in "TCZ")
        part = pixels[where][box.y0 : box.y1, box.x0 : box.x1]
        output.write(plane, box, part.reshape(box.height, box.width, output.info.samples))


def write(path: Path, pixels: NDArray[Any], axes: str, encoding: Encoding, **more: Any) -> Path:
    output = open_sink(
        SinkOptions(path, chunk_px=16, encoding=encoding), info_of(pixels, axes, **more)
    )
    fill(output, pixels, boxes_of(output))
    output.close()
    return path


def ome(path: Path) -> dict[str, Any]:
    """The OME metadata of either version."""
    attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    found: dict[str, Any] = attributes.get("ome", attributes)  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("note", "axes", "shape", "more"), CASES, ids=[c[0] for c in CASES])
def test_outputs_are_valid_and_their_levels_in_place(
    tmp_path: Path, version: str, note: str, axes: str, shape: tuple[int, ...], more: dict[str, Any]
) -> None:
    pixels = pixels_of(shape)
    path = write(tmp_path / "a.ome.zarr", pixels, axes, Encoding(ome_zarr=version), **more)
    image: Any = ome_zarr_models.open_ome_zarr(str(path), version=version)  # type: ignore[arg-type]
    multiscales = getattr(image, "ome_attributes", image.attributes).multiscales[0]
    stored = "".join(axis.name for axis in multiscales.axes)
    assert stored == {"YX": "yx", "YXS": "cyx", "TCZYX": "tczyx"}[axes]
    sizes = more.get("pixel_size", SIZES)
    assert [a.unit for a in multiscales.axes] == [
        sizes.get(axis.upper(), (1, None))[1] for axis in stored
    ]
    height, width = pixels.shape[axes.index("Y")], pixels.shape[axes.index("X")]
    levels = multiscales.datasets
    assert len(levels) == {"one chunk": 1, "five axes": 2, "grey": 4}.get(note, 3)
    for number, dataset in enumerate(levels):
        factor = 2**number
        transforms = dataset.coordinateTransformations
        for axis, size in zip(stored, transforms[0].scale, strict=True):
            own = sizes.get(axis.upper(), (1.0, ""))[0]
            assert size == (own * factor if axis in "yx" else own)
        if number:
            x = transforms[1].translation[-1]
            assert x == 0.25 * (factor - 1) / 2, "the mean of the first pixels' centres"
        array: Any = zarr.open_group(str(path), mode="r")[dataset.path]
        assert array.shape[-2:] == (-(-height // factor), -(-width // factor))
    finest: Any = zarr.open_group(str(path), mode="r")["0"]
    planar = np.moveaxis(pixels, -1, 0) if "S" in axes else pixels
    np.testing.assert_array_equal(finest[...], planar)


def test_a_slope_lies_at_the_same_place_in_every_level(tmp_path: Path) -> None:
    """Pixels that say where they are tell whether a level's translation is right."""
    x = np.arange(64, dtype=np.float32) * 0.25 + 100
    pixels = np.tile(x, (64, 1))
    origin = {"X": (0.1, "millimeter"), "Y": (7.0, "reference frame")}
    known = Metadata(microscopy=MicroscopyFacts(origin=origin))
    path = write(tmp_path / "a.zarr", pixels, "YX", Encoding(), metadata=known)
    datasets = ome(path)["multiscales"][0]["datasets"]
    for number, dataset in enumerate(datasets):
        scale, translation = (t[t["type"]] for t in dataset["coordinateTransformations"])
        array: Any = zarr.open_group(str(path), mode="r")[str(number)]
        columns = np.arange(array.shape[1])
        np.testing.assert_allclose(array[0], translation[1] + scale[1] * columns)
        assert translation[0] == 0.5 * (2**number - 1) / 2, "a frame unknown to us is no place"
    assert open_source(path).info.metadata.microscopy.origin == {"X": (100.0, "micrometer")}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_stored_in_both_versions(tmp_path: Path, version: str, dtype: str) -> None:
    pixels = pixels_of((20, 18), dtype)
    path = write(tmp_path / "a.zarr", pixels, "YX", Encoding(ome_zarr=version))
    found = open_source(path).read((0, 0, 0), Box(0, 0, 20, 18))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[..., 0], pixels)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("compression", "codec"),
    [(None, {"0.4": "blosc", "0.5": "zstd"}), ("none", None), ("blosc", "blosc"), ("zstd", "zstd")],
)
def test_compression_is_the_one_that_was_asked_for(
    tmp_path: Path, version: str, compression: str | None, codec: Any
) -> None:
    pixels = pixels_of((40, 33), "uint8")
    path = write(tmp_path / "a.zarr", pixels, "YX", Encoding(compression, ome_zarr=version))
    array: Any = zarr.open_group(str(path), mode="r")["0"]
    found = [getattr(c, "codec_id", type(c).__name__.removesuffix("Codec").lower())
             for c in array.compressors]  # fmt: skip
    expected = codec[version] if isinstance(codec, dict) else codec
    assert found == ([] if expected is None else [expected])
    np.testing.assert_array_equal(array[...], pixels)


def test_version_0_4_is_laid_out_as_its_readers_want(tmp_path: Path) -> None:
    pixels = pixels_of((37, 53))
    path = write(tmp_path / "a.zarr", pixels, "YX", Encoding(ome_zarr="0.4"))
    files = content(path)
    assert {".zattrs", ".zgroup", "0/.zarray", "0/2/3", "checksums/.zgroup"} <= files.keys()
    assert not [name for name in files if name.endswith("zarr.json")]
    assert ome(path)["multiscales"][0]["version"] == "0.4"
    assert open_source(path).info.metadata.reading.zarr_format == 2


def test_without_a_pyramid_there_is_one_level(tmp_path: Path) -> None:
    pixels = pixels_of((37, 53))
    path = write(tmp_path / "a.zarr", pixels, "YX", Encoding(pyramid=False))
    image = ome(path)["multiscales"][0]
    assert len(image["datasets"]) == 1 and "type" not in image
    assert sorted(zarr.open_group(str(path), mode="r").array_keys()) == ["0"]


REFUSED = [
    (Encoding("lzw"), "not written with lzw compression; use one of zstd, blosc, none"),
    (Encoding(shard_px=24), "whole chunks of 16 px; use a multiple, as 64"),
    (Encoding(shard_px=32, ome_zarr="0.4"), "0.4 knows no shards"),
    (Encoding(ome_zarr="0.3"), "0.3 is not written; use 0.5 or 0.4"),
]


@pytest.mark.parametrize(("encoding", "text"), REFUSED)
def test_what_cannot_be_stored_is_refused_at_once(
    tmp_path: Path, encoding: Encoding, text: str
) -> None:
    info = info_of(pixels_of((37, 53)), "YX")
    with pytest.raises(ImageError, match=text):
        open_sink(SinkOptions(tmp_path / "a.zarr", chunk_px=16, encoding=encoding), info)
    assert not list(tmp_path.iterdir())


SHARDED = [
    ("grey", "YX", (70, 53)),
    ("lower than a chunk", "YX", (9, 100)),
    ("RGB", "YXS", (37, 53, 3)),
    ("five axes", "TCZYX", (2, 2, 2, 40, 18)),
]


@pytest.mark.parametrize(("note", "axes", "shape"), SHARDED, ids=[s[0] for s in SHARDED])
def test_shards_hold_all_chunks_in_whatever_order_they_came(
    tmp_path: Path, note: str, axes: str, shape: tuple[int, ...]
) -> None:
    pixels = pixels_of(shape)
    pixels[..., :3] = 0
    encoding = Encoding(shard_px=32)
    paths = [tmp_path / "a" / "i.zarr", tmp_path / "b" / "i.zarr"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        options = SinkOptions(path, chunk_px=16, encoding=encoding)
        output = open_sink(options, info_of(pixels, axes))
        boxes = boxes_of(output)
        order = np.random.default_rng(seed).permutation(len(boxes))
        fill(output, pixels, [boxes[i] for i in order])
        output.close()
    assert content(paths[0]) == content(paths[1])
    array: Any = zarr.open_group(str(paths[0]), mode="r")["0"]
    assert array.shards is not None and array.shards[-1] == 32
    np.testing.assert_array_equal(array[...], np.moveaxis(pixels, -1, 0) if "S" in axes else pixels)
    files = [n for n in content(paths[0]) if n.startswith("0/c/")]
    per_plane = -(-shape[axes.index("Y")] // 32) * -(-shape[axes.index("X")] // 32)
    assert len(files) == per_plane * len(info_of(pixels, axes).planes)
    ome_zarr_models.open_ome_zarr(str(paths[0]), version="0.5")
    assert open_source(paths[0]).info.chunk == (min(16, shape[axes.index("Y")]), 16)


def test_a_run_killed_while_shards_are_joined_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = pixels_of((100, 90))
    encoding = Encoding(shard_px=32)
    (tmp_path / "peace").mkdir()
    peace = write(tmp_path / "peace" / "a.zarr", pixels, "YX", encoding)
    options = SinkOptions(tmp_path / "a.zarr", chunk_px=16, encoding=encoding)
    output = open_sink(options, info_of(pixels, "YX"))
    fill(output, pixels, boxes_of(output))
    joining, made = omezarr_shards._write_shard, [0]

    def failing(*arguments: Any) -> None:
        made[0] += 1
        if made[0] > 5:
            raise OSError(28, "No space left on device")
        joining(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(omezarr_shards, "_write_shard", failing)
        with pytest.raises(ImageError, match="disk is full"):
            output.close()
    output.leave()
    folder = output.workspace.folder
    # A chunk of a shard that is joined gets damaged: it is made again, beside its shard.
    joined = folder / "image.zarr" / "0" / "c" / "0" / "1"
    data = bytearray(joined.read_bytes())
    data[3] ^= 255
    joined.write_bytes(data)
    again = open_sink(options, info_of(pixels, "YX"))
    again.join("1")
    assert again.distrust(range(100)) == 1
    boxes = [b for b in boxes_of(again) if not again.table.done(_key(b[1]))]
    assert len(boxes) == 1
    fill(again, pixels, boxes)
    again.close()
    assert content(tmp_path / "a.zarr") == content(peace)


def _key(box: Box) -> ChunkKey:
    return ChunkKey(0, (0, 0, 0), box.y0 // 16, box.x0 // 16)


def channels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ome(path)["omero"]["channels"]
    return found


def test_rendering_is_made_of_names_colours_and_pixel_type(tmp_path: Path) -> None:
    pixels = pixels_of((2, 20, 18))
    colors = MicroscopyFacts(channel_colors=("#0000ff", "#ff8000"))
    known = Metadata(microscopy=colors, display=DisplayFacts(bits=12))
    path = write(
        tmp_path / "a.zarr", pixels, "CYX", Encoding(), channel_names=("a", "b"), metadata=known
    )
    assert [(c["label"], c["color"]) for c in channels(path)] == [("a", "0000FF"), ("b", "FF8000")]
    assert channels(path)[0]["window"] == {"min": 0.0, "max": 4095.0, "start": 0.0, "end": 4095.0}
    rgba = write(tmp_path / "b.zarr", pixels_of((9, 9, 4), "uint8"), "YXS", Encoding(), alpha=True)
    assert [c["color"] for c in channels(rgba)][:3] == ["FF0000", "00FF00", "0000FF"]
    assert [c["active"] for c in channels(rgba)] == [True, True, True, False]
    assert open_source(rgba).info.channel_names == ()


def test_dyes_give_channels_their_colours(tmp_path: Path) -> None:
    named = {"channel_names": ("DAPI", "x"), "metadata": Metadata()}
    path = write(tmp_path / "a.zarr", pixels_of((2, 20, 18)), "CYX", Encoding(), **named)
    assert [c["color"] for c in channels(path)] == ["0000FF", "FF0000"]


def test_rendering_shows_the_measured_range(tmp_path: Path) -> None:
    pixels = pixels_of((20, 18), "float32")
    output = open_sink(SinkOptions(tmp_path / "a.zarr"), info_of(pixels, "YX"))
    entry = {"low": -3.0, "high": 110.0, "fill": 0.0, "attention": {}}
    output.create({"calibration": json.dumps({"model": "m", "entries": {"0.0": entry}})})
    output.join("0")
    fill(output, pixels, boxes_of(output))
    output.close()
    window = channels(tmp_path / "a.zarr")[0]["window"]
    assert window == {"min": -3.0, "max": 110.0, "start": -3.0, "end": 110.0}


def test_rendering_of_the_input_is_kept_and_follows_the_channels(tmp_path: Path) -> None:
    given = {
        "version": "0.4",
        "rdefs": {"model": "color", "defaultZ": 3},
        "channels": [
            {"label": "a", "color": "112233", "window": {"start": 5, "end": 60}},
            {"label": "b", "color": "445566", "active": False, "family": "linear"},
        ],
    }
    pixels = pixels_of((2, 20, 18))
    names = {"channel_names": ("a", "b")}
    known = Metadata(microscopy=MicroscopyFacts(omero=given))
    first = write(tmp_path / "a.zarr", pixels, "CYX", Encoding(), metadata=known, **names)
    window = {"min": 0.0, "max": 65535.0, "start": 5, "end": 60}
    assert channels(first)[0] == {"label": "a", "color": "112233", "active": True, "window": window}
    assert channels(first)[1]["family"] == "linear" and not channels(first)[1]["active"]
    assert ome(first)["omero"]["rdefs"] == given["rdefs"]
    source = open_source(first, Selection(channels=parse_channels("b")))
    second = write(
        tmp_path / "b.zarr", pixels[1:], "CYX", Encoding(), metadata=source.info.metadata
    )
    assert [c["color"] for c in channels(second)] == ["445566"]


MALFORMED = [
    "x",
    3,
    ["a"],
    {"channels": "x"},
    {"channels": [1, None]},
    {"channels": [{"label": "a", "window": 7}, "b"]},
    {"channels": [{"label": "a"}]},
    {"channels": [{"label": "a"}, {}, {"label": "c"}]},
]


@pytest.mark.parametrize("omero", MALFORMED)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_rendering_that_is_malformed_costs_nothing_else(
    tmp_path: Path, omero: Any, version: str
) -> None:
    pixels = pixels_of((2, 20, 18))
    path = write(tmp_path / "a.zarr", pixels, "CYX", Encoding(ome_zarr=version))
    group = zarr.open_group(path, mode="r+")
    attributes = dict(group.attrs)
    if version == "0.4":
        attributes["omero"] = omero
    else:
        attributes["ome"] = dict(attributes["ome"]) | {"omero": omero}
    group.attrs.put(attributes)
    source = open_source(path)
    named = isinstance(omero, dict) and isinstance(omero["channels"][0], dict)
    assert source.info.channel_names == (("a", "") if named else ())
    second = write(tmp_path / "b.zarr", pixels, "CYX", Encoding(), metadata=source.info.metadata)
    assert len(channels(second)) == 2 and all("start" in c["window"] for c in channels(second))
    assert channels(second)[0].get("label", "") == ("a" if named else "")
    chosen = open_source(path, Selection(channels=parse_channels("1")))
    assert chosen.info.channel_names in ((), ("",))
