"""What a plate's header says stands in the delivered files, as OpenEXR's own reader and PyAV have it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from av.video.frame import VideoFrame
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rem_engine.commands.cli import main
from rem_engine.media import open_shot
from rem_engine.media.attributes import utc_offset

PIXELS = np.random.default_rng(0).random((48, 64, 3), np.float32)
KEPT: dict[str, Any] = {
    "owner": "Studio X",
    "comments": "take 3, the good one",
    "reelName": "A001C003",
    "utcOffset": -7200.0,
    "longitude": 13.25,
    "latitude": 52.5,
    "altitude": 34.0,
    "focus": 2.5,
    "expTime": 0.0208,
    "aperture": 2.8,
    "isoSpeed": 800.0,
    "cameraMake": "ARRI",
    "cameraModel": "ALEXA 35",
    "cameraCCTSetting": 5600.0,
    "cameraColorBalance": np.array([1.0, 0.5], np.float32),
    "lensModel": "Signature Prime 47",
    "nominalFocalLength": 47.0,
    "sensorAcquisitionRectangle": (np.array([0, 0], np.int32), np.array([63, 47], np.int32)),
    "worldToCamera": np.arange(16, dtype=np.float32).reshape(4, 4),
    "nuke/version": "15.0",
    "exr/nuke/input/filename": "/plates/a.0001.dpx",
    "show/shot": "Straße 東京",
    "show/count": 7,
    "show/gain": 1.25,
    "show/exact": np.array([0.1], np.float64),
    "show/place": np.array([1, 2], np.int32),
    "show/direction": np.array([1.0, 2.0, 3.0], np.float32),
    "show/matrix": np.arange(9, dtype=np.float32).reshape(3, 3),
    "show/names": ["a", "b"],
    "show/curve": np.arange(5, dtype=np.float32),
    "keyCode": OpenEXR.KeyCode(1, 2, 3, 4, 5, 4, 64),
    "framesPerSecond": Fraction(25),
}
STALE: dict[str, Any] = {
    "cryptomatte/1234567/manifest": '{"a": "00000001"}',
    "acesImageContainerFlag": 1,
    "rem/prompt": "an earlier run's",
}


def write_exr(path: Path, attributes: dict[str, Any]) -> None:
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    channels = {name: PIXELS[..., place].astype(np.float16) for place, name in enumerate("RGB")}
    OpenEXR.File(header, channels).write(str(path))


def segmented(plate: Path, out: Path, *kinds: str) -> Path:
    assert main(["segment", str(plate), "-p", "it: the red car", "-o", str(out), "--write", ",".join(kinds)]) == 0
    return out


def headers(out: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((out / "exr").glob("*.exr")):
        with OpenEXR.File(str(path), header_only=True) as file:
            found.append(dict(file.header()))
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, list):
        return list(one) == other
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool((one == other).all())
    if isinstance(one, float):
        return type(one) is type(other) and abs(one - other) <= 1e-6 * abs(one)
    return type(one) is type(other) and str(one) == str(other)


def time_code(frame: int) -> OpenEXR.TimeCode:
    return OpenEXR.TimeCode(10, 0, 0, frame, 0, 1, 0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def of_exr(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plate of three frames, each with a date and a time code of its own, and what was delivered of it."""
    plate = tmp_path_factory.mktemp("plates") / "shot"
    plate.mkdir()
    for number in range(3):
        own = {"capDate": f"2024:05:01 10:00:0{number}", "imageCounter": 100 + number, "timeCode": time_code(number)}
        write_exr(plate / f"shot.{1001 + number}.exr", KEPT | STALE | own)
    return plate, segmented(plate, tmp_path_factory.mktemp("out"), "exr", "prores", "webm")


@pytest.mark.parametrize("name", KEPT)
def test_an_exrs_attributes_go_to_every_frame_in_their_own_types(of_exr: tuple[Path, Path], name: str) -> None:
    found = headers(of_exr[1])
    assert len(found) == 3
    for header in found:
        assert same(KEPT[name], header[name]), (KEPT[name], header[name])


def test_what_is_a_frames_own_stays_so(of_exr: tuple[Path, Path]) -> None:
    for number, header in enumerate(headers(of_exr[1])):
        assert header["capDate"] == f"2024:05:01 10:00:0{number}"
        assert header["imageCounter"] == 100 + number
        code = header["timeCode"]
        assert (code.hours, code.frame, code.colorFrame, code.bgf1) == (10, number, 1, 1)
    plates, delivered = (sorted(folder.glob("*.exr")) for folder in (of_exr[0], of_exr[1] / "exr"))
    for plate, frame in zip(plates, delivered, strict=True):  # with all flags and user data
        words = [oiio.ImageInput.open(str(path)).spec().getattribute("smpte:TimeCode") for path in (plate, frame)]
        assert words[0] == words[1]
        assert words[0][1] == 0x87654321


def test_what_describes_the_plates_file_does_not(of_exr: tuple[Path, Path]) -> None:
    for header in headers(of_exr[1]):
        assert not {"cryptomatte/1234567/manifest", "acesImageContainerFlag", "name", "view"} & header.keys()
        assert header["compression"] == OpenEXR.ZIP_COMPRESSION
        assert header["rem/prompt"] == "the red car"
        assert "without an alpha" in header["rem/contents"]


@pytest.mark.parametrize("kind", ["mov", "webm"])
def test_videos_name_owner_reel_and_camera(of_exr: tuple[Path, Path], kind: str) -> None:
    with av.open(str(next(of_exr[1].glob(f"it/*.{kind}")))) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        streams = [dict(stream.metadata) for stream in container.streams]
    assert tags["copyright"] == "Studio X"
    assert tags["comment"] == "take 3, the good one"
    assert tags["reel_name"] == "A001C003"
    assert kind == "webm" or "A001C003" in [stream.get("reel_name") for stream in streams if "timecode" in stream]
    assert (tags["make"], tags["model"]) == ("ARRI", "ALEXA 35")


def test_a_header_is_read_with_its_frame_and_not_again(
    of_exr: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    inside = oiio.ImageInput.open
    with open_shot(of_exr[0]) as shot:
        monkeypatch.setattr(
            oiio.ImageInput, "open", staticmethod(lambda *given: (opened.append(given[0]), inside(*given))[1])
        )
        for index in range(3):
            shot.read(index, index + 1)
            assert shot.attributes(index)["imageCounter"] == 100 + index
    assert len(opened) == 3


def test_a_frame_that_stands_in_for_another_is_not_of_its_time(tmp_path: Path) -> None:
    plate = tmp_path / "shot"
    plate.mkdir()
    for number in (1001, 1003):
        write_exr(plate / f"shot.{number}.exr", {"owner": "X", "capDate": f"{number}", "imageCounter": number})
    out = tmp_path / "out"
    assert main(["segment", str(plate), "-p", "it", "-o", str(out), "--write", "exr", "--gaps", "hold"]) == 0
    first, held, last = headers(out)
    assert (first["capDate"], last["capDate"]) == ("1001", "1003")
    assert held["owner"] == "X"
    assert not {"capDate", "imageCounter"} & held.keys()


@pytest.mark.parametrize(("name", "length"), [("timeCode", 8), ("keyCode", 28)])
def test_codes_that_do_not_exist_are_left_out(tmp_path: Path, name: str, length: int) -> None:
    plate = tmp_path / "still.exr"
    write_exr(plate, KEPT | {"timeCode": time_code(3)})
    content = plate.read_bytes()
    place = content.index(f"{name}\0{name.lower()}\0".encode()) + 2 * len(name) + 2 + 4
    plate.write_bytes(content[:place] + b"\x7f" * length + content[place + length :])
    (header,) = headers(segmented(plate, tmp_path / "out", "exr"))
    assert name not in header
    assert header["owner"] == "Studio X"


def test_attributes_of_types_that_nobody_knows_are_left_out(tmp_path: Path) -> None:
    plate = tmp_path / "still.exr"
    write_exr(plate, {"owner": "Studio X", "blob": "0123"})
    plate.write_bytes(plate.read_bytes().replace(b"blob\0string\0", b"blob\0mytype\0"))
    (header,) = headers(segmented(plate, tmp_path / "out", "exr"))
    assert "blob" not in header
    assert header["owner"] == "Studio X"


def test_texts_in_latin_1_are_read(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Copyright", "\u00a9 M\u00fcller")  # tEXt, which is Latin-1
    Image.fromarray((PIXELS * 255).astype(np.uint8)).save(tmp_path / "still.png", pnginfo=text)
    (header,) = headers(segmented(tmp_path / "still.png", tmp_path / "png", "exr"))
    assert header["owner"] == "\u00a9 M\u00fcller"
    write_exr(tmp_path / "still.exr", {"owner": "StraXXe"})
    content = (tmp_path / "still.exr").read_bytes()
    (tmp_path / "still.exr").write_bytes(content.replace(b"StraXXe", b"Stra\xdf\xe9e"))
    out = segmented(tmp_path / "still.exr", tmp_path / "exr", "exr", "prores")
    (header,) = headers(out)
    assert header["owner"] == "Stra\u00df\u00e9e"
    with av.open(str(next(out.glob("it/*.mov")))) as container:
        assert container.metadata["copyright"] == "Stra\u00df\u00e9e"


def write_picture(path: Path, attributes: dict[str, Any]) -> None:
    spec = oiio.ImageSpec(64, 48, 3, "uint16" if path.suffix == ".dpx" else "uint8")
    for name, value in attributes.items():
        if isinstance(value, tuple):
            spec.attribute(name, oiio.TypeDesc("keycode" if "Key" in name else "float[3]"), value)
        else:
            spec.attribute(name, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    output.write_image(PIXELS)
    output.close()


EXIF: dict[str, Any] = {
    "Copyright": "Studio X",
    "ImageDescription": "a still",
    "Make": "Canon",
    "Model": "R5",
    "Exif:LensMake": "Canon",
    "Exif:LensModel": "RF50",
    "Exif:BodySerialNumber": "123",
    "Exif:FocalLength": 50.0,
    "FNumber": 2.8,
    "ExposureTime": 0.02,
    "Exif:DateTimeOriginal": "2023:05:05 10:00:00",
    "Exif:OffsetTimeOriginal": "+02:00",
    "GPS:LongitudeRef": "W",
    "GPS:Longitude": (13.0, 24.0, 0.0),
    "GPS:LatitudeRef": "N",
    "GPS:Latitude": (52.0, 30.0, 36.0),
}


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
def test_exif_becomes_openexrs_standard_attributes(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"still{suffix}", EXIF)
    (header,) = headers(segmented(tmp_path / f"still{suffix}", tmp_path / "out", "exr"))
    expected = {
        "owner": "Studio X",
        "comments": "a still",
        "cameraMake": "Canon",
        "cameraModel": "R5",
        "lensMake": "Canon",
        "lensModel": "RF50",
        "cameraSerialNumber": "123",
        "capDate": "2023:05:05 10:00:00",
        "utcOffset": -7200.0,
    }
    assert {name: header[name] for name in expected} == expected
    numbers = {"nominalFocalLength": 50.0, "aperture": 2.8, "expTime": 0.02, "longitude": -13.4, "latitude": 52.51}
    assert {name: header[name] for name in numbers} == pytest.approx(numbers, rel=1e-3)


def test_a_dpx_header_becomes_openexrs_standard_attributes(tmp_path: Path) -> None:
    stated = {
        "Copyright": "Studio X",
        "dpx:InputDevice": "A001C003",
        "dpx:SourceDateTime": "2023:01:01 00:00:00",
        "dpx:SlateInfo": "12A take 3",
        "dpx:ShutterAngle": 180.0,
        "smpte:KeyCode": (1, 2, 3, 4, 5, 4, 64),
        "dpx:Transfer": "ITUR709",
    }
    write_picture(tmp_path / "still.dpx", stated)
    (header,) = headers(segmented(tmp_path / "still.dpx", tmp_path / "out", "exr"))
    assert header["owner"] == "Studio X"
    assert header["reelName"] == header["dpx/inputDevice"] == "A001C003"
    assert header["capDate"] == "2023:01:01 00:00:00"
    assert header["dpx/slateInfo"] == "12A take 3"
    assert header["shutterAngle"] == 180.0
    assert str(header["keyCode"]) == str(OpenEXR.KeyCode(1, 2, 3, 4, 5, 4, 64))


def test_a_videos_tags_go_to_videos_and_exrs(tmp_path: Path) -> None:
    plate = tmp_path / "clip.mov"
    with av.open(str(plate), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(
            {
                "copyright": "Studio X",
                "com.apple.quicktime.model": "iPhone",
                "com.apple.quicktime.creationdate": "2024-05-01T10:11:12+0200",
                "com.apple.quicktime.location.ISO6709": "+52.5163-013.3777+034.000/",
                "scene": "12A",
                "encoder": "someone's",
            }
        )
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(VideoFrame.from_ndarray((PIXELS * 255).astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    out = segmented(plate, tmp_path / "out", "exr", "prores")
    for header in headers(out):
        assert (header["owner"], header["cameraModel"]) == ("Studio X", "iPhone")
        assert (header["capDate"], header["utcOffset"]) == ("2024:05:01 10:11:12", -7200.0)
        assert header["latitude"] == pytest.approx(52.5163)
        assert header["longitude"] == pytest.approx(-13.3777)
        assert header["container/scene"] == "12A"
    with av.open(str(next(out.glob("it/*.mov")))) as container:
        tags = dict(container.metadata)
    assert (tags["copyright"], tags["scene"]) == ("Studio X", "12A")
    assert tags["com.apple.quicktime.location.ISO6709"] == "+52.5163-013.3777+034.000/"
    assert "someone" not in json.dumps(tags)


def test_a_plate_that_says_nothing_adds_nothing(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), (PIXELS * 255).astype(np.uint8))
    (header,) = headers(segmented(tmp_path / "still.png", tmp_path / "out", "exr"))
    assert not {"owner", "capDate", "reelName", "cameraMake"} & header.keys()
    assert header["comments"] == header["rem/contents"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("Z", 0.0), ("+02:00", -7200.0), ("-0530", 19800.0), ("", None), ("noon", None)]
)
def test_offsets_are_what_is_added_for_universal_time(text: str, seconds: float | None) -> None:
    assert utc_offset(text) == seconds
