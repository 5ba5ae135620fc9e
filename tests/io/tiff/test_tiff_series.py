"""Which pages of a TIFF, and of the files beside it, are the image."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_files import same_by_boxes, values, write_ome

from unetmm.errors import ImageError
from unetmm.io.image import Box, SinkOptions
from unetmm.io.ome_sets import without_parts
from unetmm.io.open import open_sink, open_source
from unetmm.io.select import Selection
from unetmm.provenance.facts import _input_state

OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def test_a_thumbnail_in_front_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    small, large = values((20, 30, 3)), values((200, 300, 3))
    for subifds in (0, 1):
        with tifffile.TiffWriter(path) as writer:
            writer.write(small, photometric="rgb", subfiletype=1, subifds=subifds, metadata=None)
            writer.write(large, photometric="rgb", metadata=None)
        same_by_boxes(path, large)
    tifffile.imwrite(path, small, photometric="rgb", subfiletype=1, metadata=None)
    same_by_boxes(path, small)


def set_of_files(folder: Path) -> list[Path]:
    """An OME-TIFF of two depths in two files."""
    paths = [folder / f"m_Z{z}.ome.tif" for z in (0, 1)]
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{p.name}">urn:uuid:{z}'
        f"</UUID></TiffData>"
        for z, p in enumerate(paths)
    )
    for z, path in enumerate(paths):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="urn:uuid:{z}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" '
            'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{parts}</Pixels></Image></OME>"
        )
        tifffile.imwrite(path, np.full((20, 30), z + 5, np.uint8), description=xml, metadata=None)
    return paths


def test_a_set_of_files_is_one_input(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = set_of_files(tmp_path)
    source = open_source(first)
    assert source.info.shape == (2, 20, 30)
    assert source.info.metadata.reading.other_files == (str(second.resolve()),)
    assert "is one of 2 files of an image, which is read whole" in caplog.text
    with pytest.raises(ImageError, match="is a part of the input"):
        open_sink(SinkOptions(second, overwrite=True), source.info)
    before = _input_state(first, source.info)
    tifffile.imwrite(second, np.zeros((20, 30), np.uint8))
    assert _input_state(first, source.info) != before


def several(path: Path) -> list[Any]:
    """A small overview in front of a large image, and a stack that is smaller than that."""
    images = [values((9, 11, 3)), values((200, 300), "uint16"), values((2, 20, 30))]
    with tifffile.TiffWriter(path) as writer:
        writer.write(images[0], photometric="rgb", metadata=None)
        writer.write(images[1], metadata=None)
        writer.write(images[2], photometric="minisblack", metadata=None)
    return images


def test_the_largest_image_is_read_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tif"
    images = several(path)
    same_by_boxes(path, images[1][..., None])
    assert "3 images: 0 (11 x 9 px), 1 (300 x 200 px), 2 (2 planes of 30 x 20 px)" in caplog.text
    for number, axes in ((0, "YXS"), (2, "ZYX")):
        assert open_source(path, Selection(series=number)).info.axes == axes
    with pytest.raises(ImageError, match=r"image 3 was asked for \(--series\); it holds 3 images"):
        open_source(path, Selection(series=3))
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="holds one image; leave --series 1 out"):
        open_source(tmp_path / "a.png", Selection(series=1))


def test_a_companion_leads_to_its_files(tmp_path: Path) -> None:
    first, second = set_of_files(tmp_path)
    companion = tmp_path / "m.companion.ome"
    companion.write_text(tifffile.tiffcomment(first))
    source = open_source(companion)
    assert source.info.shape == (2, 20, 30)
    assert set(source.info.metadata.reading.other_files) == {
        *(str(p.resolve()) for p in (first, second)),
    }
    assert without_parts([first, second]) == {second: first}
    companion.write_text('<OME FileName="/etc/other.tif"/>')
    with pytest.raises(ImageError, match="none of the TIFF files that it names is there"):
        open_source(companion)


def test_a_part_that_refers_to_another_tiff(tmp_path: Path) -> None:
    first, second = set_of_files(tmp_path)
    reference = f'<OME xmlns="{OME}" UUID="urn:uuid:1"><BinaryOnly MetadataFile="{first.name}" '
    pixels = np.full((20, 30), 6, np.uint8)
    text = f'<?xml version="1.0"?>{reference}UUID="urn:uuid:0"/></OME>'
    tifffile.imwrite(second, pixels, description=text, metadata=None)
    source = open_source(second)
    assert source.info.shape == (2, 20, 30)
    assert [source.read((0, 0, z), Box(0, 0, 1, 1)).item() for z in (0, 1)] == [5, 6]
    assert source.info.metadata.reading.other_files == (str(first.resolve()),)
    assert without_parts([first, second]) == {second: first}
    source.close()


def test_shells_of_other_images_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "slide.jpg")
    (tmp_path / "slide.jpg").rename(tmp_path / "slide.mrxs")
    with pytest.raises(ImageError, match=r"MIRAX.*slide/; convert it: vips copy slide.mrxs"):
        open_source(tmp_path / "slide.mrxs")
    tifffile.imwrite(tmp_path / "a.vsi", values((20, 30)))
    with pytest.raises(ImageError, match=r"cellSens.*_a_/; convert it: bioformats2raw a.vsi"):
        open_source(tmp_path / "a.vsi")


def test_first_of_several_series(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(values((20, 30, 3)), photometric="rgb")
        writer.write(values((9, 11)))
    assert open_source(path).info.metadata.reading.other_series == 1
    same_by_boxes(path, values((20, 30, 3)))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [("CYX", (3, 40, 30)), ("ZYX", (4, 40, 30)), ("TCYX", (2, 3, 40, 30))],
)
def test_planes_that_tifffile_stores_as_colours_are_planes(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: str, compression: str | None
) -> None:
    path, pixels = tmp_path / "a.tif", values(shape, dtype)
    how: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}  # its own choice
    tifffile.imwrite(path, pixels, metadata={"axes": axes}, compression=compression, **how)
    with closing(open_source(path)) as source:
        assert (source.info.axes, source.info.shape) == (axes, shape)
        assert source.info.samples == 1 and not source.info.alpha
        for plane in source.info.planes:
            index = tuple(plane["TCZ".index(axis)] for axis in axes if axis in "TCZ")
            found = source.read(plane, Box(3, 2, 39, 30))[..., 0]
            np.testing.assert_array_equal(found, pixels[index][3:39, 2:30])


def test_interleaved_samples_that_the_file_names_are_colours_or_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values((40, 30, 3)), metadata={"axes": "YXC"}, photometric="rgb")
    assert open_source(path).info.axes == "YXS"
    same_by_boxes(path, values((40, 30, 3)))
    tifffile.imwrite(
        path, values((40, 30, 5)), metadata={"axes": "YXC"}, photometric="minisblack",
        planarconfig="contig",
    )  # fmt: skip
    info = open_source(path).info
    assert (info.axes, info.shape) == ("CYX", (5, 40, 30))
    same_by_boxes(path, values((40, 30, 5))[..., :1])


def test_companion_file_is_used_or_missed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, pixels = tmp_path / "a.ome.tif", values((6, 20, 30))
    tifffile.imwrite(
        path, pixels, metadata={"axes": "CYX", "PhysicalSizeX": 0.5}, photometric="minisblack"
    )
    xml = str(tifffile.tiffcomment(path))
    reference = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    tifffile.tiffcomment(path, reference)
    with caplog.at_level(logging.WARNING, "unetmm"):
        assert open_source(path).info.channel_names == ()
    assert "a.companion.ome is missing" in caplog.text
    (tmp_path / "a.companion.ome").write_text(xml, encoding="utf-8")
    info = open_source(path).info
    assert (info.axes, info.shape) == ("CYX", (6, 20, 30))
    assert info.pixel_size["X"] == (0.5, "micrometer")


def test_a_set_of_several_ome_files_is_one_image(tmp_path: Path) -> None:
    pixels = values((2, 20, 30), "uint16")
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    uuids = {name: f"urn:uuid:00000000-0000-0000-0000-00000000000{name}" for name in "12"}
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">'
        f'<UUID FileName="{name}.ome.tif">{uuid}</UUID></TiffData>'
        for z, (name, uuid) in enumerate(uuids.items())
    )
    for z, (name, uuid) in enumerate(uuids.items()):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="{namespace}" UUID="{uuid}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" '
            'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels[z], description=xml, metadata=None)
    source = open_source(tmp_path / "1.ome.tif")
    assert (source.info.axes, source.info.shape) == ("ZYX", (2, 20, 30))
    for z in range(2):
        found = source.read((0, 0, z), Box(2, 3, 15, 29))[..., 0]
        np.testing.assert_array_equal(found, pixels[z, 2:15, 3:29])
    (tmp_path / "2.ome.tif").unlink()
    with pytest.raises(ImageError, match="needs 2.ome.tif; put"):
        open_source(tmp_path / "1.ome.tif")


INTERRUPTED = [
    ("whole times are kept", 4, {"T": 5, "C": 1, "Z": 2}, (2, 2), "the first 2 completely"),
    ("a part of a time is not", 5, {"T": 5, "C": 1, "Z": 2}, (2, 2), "5 time points"),
    ("depths of one time", 3, {"T": 1, "C": 1, "Z": 6}, (3,), "6 depths"),
    ("no complete time", 3, {"T": 2, "C": 1, "Z": 4}, (2, 4), "5 of its 8 planes are missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pages", "sizes", "shape", "text"), [row[1:] for row in INTERRUPTED],
    ids=[row[0] for row in INTERRUPTED],
)  # fmt: skip
def test_what_there_is_of_an_interrupted_acquisition_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pages: int, sizes: dict[str, int],
    shape: tuple[int, ...], text: str,
) -> None:  # fmt: skip
    path = tmp_path / "a.ome.tif"
    pixels = write_ome(path, pages, sizes)
    with closing(open_source(path)) as source:
        info = source.info
        assert info.shape[:-2] == shape
        last = source.read(info.planes[-1], Box(0, 0, 20, 30))[..., 0]
    told = [r.getMessage() for r in caplog.records if r.name.startswith("unetmm")]
    assert len(told) == 1 and told[0].startswith(f"{path}: ") and text in told[0]
    if len(info.planes) <= pages:
        np.testing.assert_array_equal(last, pixels[len(info.planes) - 1])
        assert f'SizeT="{info.length("T")}"' in info.metadata.microscopy.ome_xml
        assert f'SizeZ="{info.length("Z")}"' in info.metadata.microscopy.ome_xml


def test_planes_missing_in_between_are_filled_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome(path, 3, {"T": 3, "C": 1, "Z": 1})
    stated = '<TiffData IFD="0" PlaneCount="3"/>'
    gap = '<TiffData FirstT="0" IFD="0"/><TiffData FirstT="2" IFD="2"/>'
    with tifffile.TiffFile(path, mode="r+") as tif:
        text = tif.pages.first.description
        tif.pages.first.tags["ImageDescription"].overwrite(text.replace(stated, gap))
    with closing(open_source(path)) as source:
        assert source.info.shape == (3, 20, 30)
        assert not source.read((1, 0, 0), Box(0, 0, 20, 30)).any()
    assert "1 of its 3 planes are missing" in caplog.text


def test_a_second_image_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ome.tif"
    second = '<Image ID="Image:1"><Pixels ID="Pixels:1" DimensionOrder="XYZCT" Type="uint16" '
    second += 'SizeX="30" SizeY="20" SizeT="1" SizeC="1" SizeZ="2"><TiffData IFD="2"/></Pixels>'
    write_ome(path, 4, {"T": 1, "C": 1, "Z": 2}, more=second + "</Image>")
    assert open_source(path).info.shape == (2, 20, 30)
    listed = "0 (2 planes of 30 x 20 px), 1 (2 planes of 30 x 20 px)"
    assert f"{path}: holds 2 images: {listed}; number 0 is read" in caplog.text
    second = open_source(path, Selection(series=1))
    assert second.read((0, 0, 0), Box(0, 0, 1, 1)) == tifffile.imread(path, key=2)[0, 0]


def test_an_order_of_planes_that_is_none_is_read_where_it_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    pixels = write_ome(path, 4, {"T": 1, "C": 1, "Z": 4}, order="XYQZT")
    with closing(open_source(path)) as source:
        assert (source.info.axes, source.info.shape) == ("ZYX", (4, 20, 30))
        found = source.read((0, 0, 2), Box(0, 0, 20, 30))[..., 0]
        np.testing.assert_array_equal(found, pixels[2])
    write_ome(path, 4, {"T": 2, "C": 1, "Z": 2}, order="xyzct")
    assert open_source(path).info.shape == (2, 2, 20, 30)
    write_ome(path, 4, {"T": 2, "C": 1, "Z": 2}, order="XYQZT")
    with pytest.raises(ImageError, match='DimensionOrder "XYQZT", which is no order.*XYZCT'):
        open_source(path)
