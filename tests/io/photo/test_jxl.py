"""JPEG XL: what its bits say before it is decoded, and what of it is kept."""

from __future__ import annotations

import struct
from base64 import b85decode
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.jxl_codestream import read_jxl_header
from unetmm.io.jxl_frames import read_frames
from unetmm.io.keeping import not_kept
from unetmm.io.open import open_source

ROWS, COLUMNS = np.mgrid[:8, :16]
PICTURE = np.stack([ROWS * 30, COLUMNS * 15, 255 - ROWS * 9 - COLUMNS * 4], -1).astype(np.uint8)

# Made by cjxl 0.7 of PICTURE, or of its first colour: with a profile; with an orientation of 6
# in EXIF; with other colour spaces.
WITH_PROFILE = b85decode(
    "{|doD2&W1I66OI=ox0F8x!)7Pq=mdrX$2a1nF~R<+h-wYgdympAwW^4BqeCIRMmK`Jcxe)pV$XVQT!o`@t-kd*Y5z2"
    "ehoXf?9``G)3+k_SSb#fPJ?iS;3p;6gb&m*lf%$7AfRE;Pvxx{GZ6&yAiiw4H2??#0RTh+OBkE&ZXuzdprjZX8IkJf"
    "7=t;+(ij|$F<3bUvx!|XI1yv;h8VnZApi&f#Cfi5oBG55|BunF%xikTHy{500Vwnb08ejtCoR(Xv?TyY2m"
)
TURNED = b85decode(
    "0000CN?1%F4GM<}0000KW^{RQYItlQ00000YItlQ0001IYItm8{|dn^5Kvqa2m%2BL;*_}o9%8Pp`f6o7#SIn>gX7Q"
    "ImXf$9F8$qIR>+dT`@QjWAKI;ymBD`2mr)+u5Fw8!~g$}(XGsDdcQXx{{I0e^alV>Z+Isy()qL{07wV"
)
PQ = b85decode(
    "{|dnc5RgZYI2-@~0006A0s#O-0ZSO0?QS8VprE7}85xo4=oo`J#?lxZjxks{2D6D>F*p%p@P-(?av=Z+0K|E&ZJYYT"
    "|NoECt;}nBzc(NL{{blU2LMlRcqc8=`LrbfNC*"
)
P3 = b85decode(
    "{|doDKqfZ=2m%2BL;*_}o9%8Pp`f6o7#SIn>gX7QImXf$9F8$qIR>+dT`@QjWAKI;ymBD`2mr)+u5Fw8!~g$}(XGsD"
    "dcQXx{{I0e^alV>Z+Isy()qL{07wV"
)
GAMMA = b85decode("{|doDP{G)zA_xKj0Du5X7>gCah*U?%7|ihn00H<TX#gnw|Hp9ufo5N~09^q")
OWN_PRIMARIES = b85decode(
    "{|doDf{-(#qKKEE95f~Gn-E?hq$L3#OgIR{g#Z$W0Q3Qm{3!tdP@yu)xWUW0o-aRiSWMfv&d^rd7M3K6jAN5@0*55A"
    "lG~LaFff2=W9Au;Iw0R-`HlKTqe2R#+ioewSSdzDkz$OEF)~InOP~VagP4Qy9km=i9sebSxZ~#RHs5=}rfdGwApD0S"
    "p~d~_Sz8GGPBs!KaD%u5"
)
# By imagecodecs: of PICTURE in fewer or more bits.
TWO_BITS = b85decode(
    "{|doz5D5qb0RZFxOBj=mgM$F5E$gl^_5u+BuqZbG2t(7F94?E!+0YHdu4+|#VVhBPLHbxm<1uztOT;d`jUte<2m"
)
TEN_BITS = b85decode(
    "{|doTK+z%y1OWih21__Vb<6Dl&o*uUt)Q^I3L6Cl1xGYa6e30n3LImwa&!bTVpI%cAcippr;1H6cvB2s5k^Zf7Mo%)"
    "$BHq=i0G)OD9OYk#TZ1z7%am`GBPqMh89Ihx<LE^DHVJG@FiS=?@8l(!WZ9!-jjVVzDF8g>FA5^QNH+Ie2?<Q_u^^9"
    "dz3G}7vH0N@xAz-J0#_c@5T2hUwkjVw_Qg0;(PHu$`{{@@BK|uzW82zkMhO$;>)HZeeu0W`{H|>7Qz>w^hH)8@xkZM"
    "FdDpOqe0tfO=YZYh>qH}a~rBo+O}0deRRXNC5pc3jM}z}qUoV4wypZLq3En_Xv(Xi=#K5(eN;u&pv|~$R8`TWcS;RW"
    "7Db~rl`pEQC`x!3wN+F_zY4OJD5{1vzgAK7w7PzRKB!tD9J(q&3t;C40U!Wa0>=OV1mFe%01W^DY@TZX06>GBH~;_|"
    "003Se&;S5{HX8x}05Aa<3<Q8d01N;hfM8?x|0cDH1+)8q=n^jgi0=UzM*M(P_FMnUYKs8aGV(nhk{p0@GXMZRfFhHE"
    "vXseLF%kikOtGRi#x#I70R"
)
# By cjxl 0.7: of a text, with a frame of its letters; of noise, with a frame of means, and
# with parts of the last frame that are not stored in their order; the same of the first frame.
LETTERS = b85decode(
    "{|Y#Pt^`Pm3jqw}fdm2oi~s;!{&xO$N*Id`K!NP4F$U9gfe-*P-@gJv>W>f^t})U;`cNQ&C;;Gr255i;K!5_KHD*fW"
    "#;6!0sTjNqX@QF|UW^xmhl>Hdg#ZBN8BQO9z~cBaE()#NOx~ts3MB>*0l}{QZ>xeN?Q1y=kO$%IDwhBNs8AVY+~DP0"
    "&zB!MET(N-XK1T!3ri9Ska;T?fcFFsgF#4vE%P5^jQ>9$V~p`*FyR4AIBg^V9TSep+*m#c%w;(g>kLtS3>G123K<AU"
    "7?LyriWdH_4M14{_iPYK3JR!-073&H0|fx7+rY711b%1hc)wJjbF(u(0_QiA1x9y3y{Mo75miq@0Fy8<kYJS"
)
MEANS = b85decode(
    "{|Yz&R)U1$LJ9!@0IUH3H~?4xSV}0O9NR@{VCaEHPgu6V&<c%~uxyQ~16XzfryapTXK>mnd<)RG0ujytYCAH<VDuye"
    "Q3Bu#0rW9_{{KOX5J$<6x)~;Ip8^;0{=QF`wtOP}Wr9;M1JmN7AJh(AK~GL1C^+E51fl^Y0HA;bP=GO{09jNS0DuaW"
    "QN|5k&h>oxp~GU@#&w3a+P1JH5lSJ6WJEhp31V-90n;@6xa9-@`wkcY015yA0000D0VI?Xs+b5VaJQWkV~p{Ce&!xQ"
    "(J}^vlqrIoH4gE}WuQxZUEoVxZX&VEerCKQg%hO`KF@0R6pZm+X)^8JxnhbG@2+Ly>5V7vLjQn^r5e1yBGW^%fO)MV"
    "aav0(NQ^ZVl(nv=Hy%sWvEwOL_X-5L1pudzO=*os5@UsADW#2SR;14HlqF))cES$9hn|8CY6qJu!?P+~e(h{^FBgLr"
    "iGWf}BwH5*4u<4Q+5Pv4z}Kog|B`=orLfJcgMgZTN7-pIWqvP$8rXte#qBWo9R8>H2@f&|0Ceww`d?TNr%=<Zg{IrO"
    "5-U1eSkaX!gg0=*SxNG9RX7VMf&~"
)

ORDERED_MEANS = b85decode(
    "{|Y#OP83Lr3jqoN03`rq0000000000H~?4xSV|HJ5*RoHK}fMp{C@&cg-%QX;DZE0fKsRo8<(XIK!r7&00JPu0000000"
    "0000000000000003R(5&!@dDx-`WyqxR#@<WHkw2kWwZMAJ-Ng|X2DR9adgOM@D1pm{Dy?TJt4#d&5uLZ!w1VKpx"
)


def read(path: Path, data: bytes) -> tuple[Any, np.ndarray[Any, Any]]:
    """What is known of a file of this content, and its pixels."""
    path.write_bytes(data)
    source = open_source(path)
    return source.info, source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def boxed(*boxes: bytes) -> bytes:
    return box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + b"".join(boxes)


@pytest.mark.parametrize("usecontainer", [False, True])
@pytest.mark.parametrize(
    ("pixels", "more"),
    [
        (PICTURE, {}),
        (PICTURE[..., 0], {}),
        (np.dstack([PICTURE, PICTURE[..., :1]]), {}),
        (PICTURE.astype(np.uint16) * 250, {}),
        ((PICTURE / 255).astype(np.float32), {}),
        ((PICTURE[..., 0] / 255).astype(np.float16), {}),
    ],
    ids=["colour", "grey", "opacity", "16 bits", "floats", "half floats"],
)
def test_all_samples_are_read_as_they_are(
    tmp_path: Path, pixels: np.ndarray[Any, Any], more: dict[str, Any], usecontainer: bool
) -> None:
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=usecontainer)
    info, found = read(tmp_path / "a.jxl", data)
    assert info.format == "jxl" and info.shape == pixels.shape and info.dtype == pixels.dtype
    assert info.alpha == (pixels.shape[-1] == 4)
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("bits", "data"), [(2, TWO_BITS), (10, TEN_BITS)])
def test_other_bits_are_spread_over_those_of_the_type(
    tmp_path: Path, bits: int, data: bytes
) -> None:
    """Old versions of imagecodecs spread them, new ones do not."""
    info, found = read(tmp_path / "a.jxl", data)
    assert info.dtype == (np.uint8 if bits < 8 else np.uint16)
    values, most = (PICTURE / 255 * (2**bits - 1)).astype(int), np.iinfo(info.dtype).max
    assert np.abs(found - values * (most / (2**bits - 1))).max() <= 1


def test_packed_profiles_are_refused_with_a_way_to_keep_them(tmp_path: Path) -> None:
    for data in (WITH_PROFILE, boxed(box(b"jxlc", WITH_PROFILE))):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "b.jxl", data)
        assert str(caught.value).endswith(
            "b.jxl: is a JPEG XL whose colours only a packed profile describes, which is not read "
            "here; convert it: djxl b.jxl b.png (djxl 0.9 or newer), which keeps the profile"
        )


@pytest.mark.parametrize(
    ("data", "chunks", "words"),
    [
        (PQ, ((b"cICP", bytes([9, 16, 0, 1])),), "BT.2020 with HDR transfer PQ"),
        (P3, ((b"cICP", bytes([12, 13, 0, 1])),), ""),
        (GAMMA, ((b"gAMA", (55000).to_bytes(4)),), ""),
    ],
)
def test_colour_spaces_are_kept_or_named(
    tmp_path: Path, data: bytes, chunks: object, words: str
) -> None:
    info, pixels = read(tmp_path / "a.jxl", data)
    assert info.metadata.photo.png_chunks == chunks
    np.testing.assert_array_equal(pixels.squeeze(), PICTURE if pixels.shape[-1] > 1 else ROWS * 30)
    assert not_kept(info, "png") == (("light levels",) if words else ())
    assert words in "".join(not_kept(info, "tiff")) and bool(not_kept(info, "tiff")) == bool(words)


def test_colours_without_a_number_become_a_profile(tmp_path: Path) -> None:
    info, pixels = read(tmp_path / "a.jxl", OWN_PRIMARIES)
    assert np.abs(pixels.astype(int) - PICTURE).mean() < 2
    profile = info.metadata.photo.icc_profile
    assert profile[36:40] == b"acsp" and not info.metadata.reading.left_out


def test_the_codestream_says_how_an_image_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    packed = box(b"brob", b"xml " + imagecodecs.brotli_encode(b"<x:xmpmeta>here</x:xmpmeta>"))
    exif_box = box(b"Exif", bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0"))
    streams = [
        (TURNED, np.rot90(PICTURE, -1)),
        (boxed(exif_box, packed, box(b"jxlc", P3)), PICTURE),
    ]
    for data, pixels in streams:
        info, found = read(tmp_path / "a.jxl", data)
        np.testing.assert_array_equal(found, pixels)
        kept = Image.Exif()
        kept.load(info.metadata.photo.exif)
        assert kept.get(0x0112, 1) == 1
    assert b"Maker" in info.metadata.photo.exif and b"here" in info.metadata.xmp


def test_codestreams_in_several_boxes_are_one(tmp_path: Path) -> None:
    halves = [box(b"jxlp", n.to_bytes(4) + p) for n, p in ((0, P3[:60]), (1 << 31 | 1, P3[60:]))]
    info, pixels = read(tmp_path / "a.jxl", boxed(halves[0], box(b"jumb", b"?"), halves[1]))
    assert info.metadata.reading.left_out == ("box jumb",)
    np.testing.assert_array_equal(pixels, PICTURE)


@pytest.mark.parametrize(
    ("data", "sizes"),
    [(LETTERS, [(9, 15), (40, 600)]), (MEANS, [(1, 38), (8, 300)]), (TURNED, [(8, 16)])],
)
def test_frames_are_known_before_they_are_decoded(data: bytes, sizes: object) -> None:
    data = data[data.index(b"\xff\x0a") :]  # the codestream, which is the last box
    header = read_jxl_header(data)
    frames = read_frames(header, header.frames_at, lambda at, count: data[at : at + count])
    assert [(frame.height, frame.width) for frame in frames] == sizes
    assert [frame.is_last for frame in frames] == [False] * (len(frames) - 1) + [True]
    if data not in MEANS:  # whose last frame ends where its order says
        with pytest.raises(EOFError, match="truncated"):
            read_frames(header, header.frames_at, lambda at, count: data[at:-1][:count])


def test_an_order_of_parts_is_refused_where_frames_follow_it(tmp_path: Path) -> None:
    """What follows is not found, so it could take any memory."""
    info, pixels = read(tmp_path / "a.jxl", MEANS)
    assert info.shape[:2] == pixels.shape[:2] == (8, 300)
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "a.jxl", ORDERED_MEANS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(
        "a.jxl: is a JPEG XL of several frames, one with parts in an order of their own, which is "
        "not read here; convert it: djxl a.jxl a.png, or write it by cjxl without --group_order"
    )


def bits_of(*fields: tuple[int, int]) -> bytes:
    """Values of so many bits each, the lowest first."""
    value = at = 0
    for number, count in fields:
        value, at = value | number << at, at + count
    return value.to_bytes(-(-at // 8), "little")


def test_frames_larger_than_their_image_are_counted(tmp_path: Path) -> None:
    """An image of 8 x 8 px, laid over which there is a frame of 9000 x 8000."""
    whole = bits_of((1, 1), (0, 5), (1, 3), (1, 1), (1, 1))
    frame = bits_of(
        (0, 1), (0, 2), (1, 1), (0, 2), (0, 2), (3, 2), (0, 2),  # modular, squares of 1024 px
        (1, 1), (0, 10), (0, 10), (2, 2), (9000 - 2304, 14), (2, 2), (8000 - 2304, 14),
        (0, 2), (1, 1), (0, 2), (1, 1), (0, 2), (0, 1),  # all of it, and the last one
    )  # fmt: skip
    sizes = bytes(90 * 2)
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a" + whole + frame + sizes)
    assert open_source(tmp_path / "a.jxl").resident_bytes > 9000 * 8000 * 3 * 4


def test_what_is_no_still_image_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jxl"
    two = imagecodecs.jpegxl_encode(np.stack([PICTURE, PICTURE]), lossless=True)
    with pytest.raises(ImageError, match="animated JPEG XL; save one frame"):
        read(path, two)
    for data in (WITH_PROFILE, boxed(box(b"jxlc", TURNED)), LETTERS, MEANS, ORDERED_MEANS):
        for length in (*range(2, 60, 7), len(data) // 2, len(data) - 1):
            with pytest.raises(ImageError) as caught:
                read(path, data[:length])
            assert "\n" not in str(caught.value)


def test_further_channels_are_named(tmp_path: Path) -> None:
    planes = np.stack([PICTURE[..., 0], PICTURE[..., 1], PICTURE[..., 2]])
    data = imagecodecs.jpegxl_encode(planes, lossless=True, planar=True, photometric="gray")
    info, pixels = read(tmp_path / "a.jxl", data)
    np.testing.assert_array_equal(pixels[..., 0], PICTURE[..., 0])
    assert info.shape == (8, 16) and len(info.metadata.reading.left_out) == 1
