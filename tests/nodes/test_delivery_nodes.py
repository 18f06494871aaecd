"""SaveMatte and SegmentShot inside each ComfyUI found: their files, read back by other readers than the pack's own."""

from __future__ import annotations

import json
import re
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from comfy_hosts import PACK
from in_comfyui import report_of

from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8

SAMPLE = PACK / "assets" / "sample_shot.mp4"

SHOT_SIZE, SHOT_FRAMES = (48, 80), 7
RATE = Fraction(24000, 1001)
VARYING = [0, 40, 80, 280, 480]  # milliseconds
TIMECODE = "01:02:03:04"
BRIGHT = 4.0  # scene-linear; nothing that went through display values holds it


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/delivery_in_host.py found in one ComfyUI."""
    folder = tmp_path_factory.mktemp("delivery_nodes")
    write_shots(folder / "shots")
    return report_of("delivery_in_host.py", host, folder, folder / "shots")


def write_shots(folder: Path) -> None:
    """The sample shot, small, as a lossless 8-bit video with a timecode; and float EXR plates with values above 1 and a
    layer of 0.25."""
    (folder / "plates").mkdir(parents=True)
    with open_shot(SAMPLE) as shot, av.open(str(folder / "shot.mov"), "w") as container:
        stream = container.add_stream("libx264rgb", rate=RATE, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *SHOT_SIZE, "rgb24"
        stream.metadata["timecode"] = TIMECODE
        for frame in to_uint8(shot.read(0, SHOT_FRAMES)):
            small = cv2.resize(frame, SHOT_SIZE[::-1], interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small, "rgb24")))
        container.mux(stream.encode())
    write_varying(folder / "varying.mov")
    for number in range(101, 104):
        plate = np.full((*SHOT_SIZE, 3), 0.18, np.float32)
        plate[10:20, 10 : number - 80] = BRIGHT
        header = {"type": OpenEXR.scanlineimage, "owner": "Studio X", "imageCounter": number}
        layer = {f"spec.{name}": np.full(SHOT_SIZE, 0.25, np.float32) for name in "RGB"}
        with OpenEXR.File(header, {"RGB": plate, **layer}) as file:
            file.write(str(folder / "plates" / f"plate.{number}.exr"))
    for name in ("holes", "two"):
        (folder / name).mkdir()
    for name in ("a.01", "a.02", "b.01", "b.02"):
        cv2.imwrite(str(folder / "two" / f"{name}.png"), np.full((*SHOT_SIZE, 3), 9, np.uint8))
    for number in (101, 102, 104, 105):
        cv2.imwrite(str(folder / "holes" / f"hole_v02_{number}.png"), np.full((*SHOT_SIZE, 3), number, np.uint8))


def write_varying(path: Path) -> None:
    """A video of a variable rate with a second of sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SHOT_SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for stamp in VARYING:
            picture = av.VideoFrame.from_ndarray(np.full((*SHOT_SIZE, 3), stamp % 251, np.uint8), "rgb24")
            picture.pts, picture.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        piece = av.AudioFrame.from_ndarray(np.full((1, 48000), 1000, np.int16), "s16", "mono")
        piece.sample_rate, piece.pts, piece.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(sound.encode(piece))
        container.mux(sound.encode())


def channels(file: Path) -> dict[str, np.ndarray]:
    with OpenEXR.File(str(file), separate_channels=True) as image:
        return {name: np.array(channel.pixels) for name, channel in image.channels().items()}


def linear(display: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    display = display.astype(np.float64)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float64)


@pytest.fixture
def given(report: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [T,H,W,3] and alphas [L,T,H,W] that SaveMatte was given."""
    stored = torch.load(Path(report["saved"]["exr"]["folder"]).parent / "given.pt", weights_only=True)
    image, mask = stored["image"].numpy(), stored["mask"].numpy()
    return image, mask.reshape(2, len(image), *image.shape[1:3])


def test_an_exr_holds_the_picture_in_linear_light_and_every_layer_by_its_name(
    report: dict[str, Any], given: tuple[np.ndarray, np.ndarray]
) -> None:
    image, alphas = given
    for index in range(len(image)):
        found = channels(Path(report["saved"]["exr"]["folder"]) / "exr" / f"exr.{7 + index:06d}.exr")
        assert set(found) == {"R", "G", "B", "smoke.A", "fire-1.A"}
        for channel, name in enumerate("RGB"):
            assert np.abs(found[name] - linear(image[index, ..., channel])).max() < 1e-3
        for layer, name in enumerate(("smoke", "fire-1")):
            assert np.array_equal(found[f"{name}.A"], half(alphas[layer, index]))


def test_a_premultiplied_display_exr_is_the_picture_times_its_alpha(
    report: dict[str, Any], given: tuple[np.ndarray, np.ndarray]
) -> None:
    image, alphas = given
    found = channels(Path(report["saved"]["premultiplied"]["folder"]) / "exr" / "premultiplied.1001.exr")
    expected = image[0] * alphas[:, 0].max(axis=0)[..., None]
    assert found["R"].dtype == np.float32
    assert np.abs(np.stack([found[name] for name in "RGB"], axis=-1) - expected).max() < 1e-6


def test_a_second_format_is_written_beside_the_first(
    report: dict[str, Any], given: tuple[np.ndarray, np.ndarray]
) -> None:
    image, alphas = given
    folder = Path(report["saved"]["exr"]["folder"])
    picture = cv2.imread(str(folder / "fire-1" / "png16" / "exr.000008.png"), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16 and picture.shape[-1] == 4
    assert np.abs(picture[..., 2::-1] / 65535.0 - image[1]).max() < 1e-4
    assert np.abs(picture[..., 3] / 65535.0 - alphas[1, 1]).max() < 1e-4
    assert report["saved"]["exr"]["files"] == [
        "exr/exr.######.exr 000007-000009",
        "fire-1/png16/exr.######.png 000007-000009",
        "preview.png",
        "run.json",
        "smoke/png16/exr.######.png 000007-000009",
    ]
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert [prompt["name"] for prompt in run["prompts"]] == ["smoke", "fire-1"]
    assert (run["shot"]["frames"], run["shot"]["numbers"]) == (3, "7-9")
    assert run["delivery"]["files"] == [
        "exr/exr.000007-000009.exr",
        "fire-1/png16/exr.000007-000009.png",
        "smoke/png16/exr.000007-000009.png",
    ]
    assert {entry["kind"] for entry in run["files"]} == {"exr", "png16"}


def test_videos_have_an_alpha_and_the_exact_rate(report: dict[str, Any], given: tuple[np.ndarray, np.ndarray]) -> None:
    image, alphas = given
    folder = Path(report["saved"]["prores"]["folder"])
    for layer, name in enumerate(("smoke", "fire-1")):
        with av.open(str(folder / name / "prores.mov")) as video:
            stream = video.streams.video[0]
            assert stream.average_rate == RATE
            frames = [frame.to_ndarray(format="rgba64le") / 65535.0 for frame in video.decode(stream)]
        assert len(frames) == len(image)
        assert np.abs(np.stack(frames)[..., 3] - alphas[layer]).max() < 2e-3
        assert (folder / name / "prores.webm").is_file()


def test_layers_without_names_are_numbered(report: dict[str, Any]) -> None:
    assert report["saved"]["alpha"]["files"] == [
        "matte/alpha/alpha.####.png 1001-1003",
        "matte_2/alpha/alpha.####.png 1001-1003",
        "preview.png",
        "run.json",
    ]


def test_layers_may_come_from_several_sockets(report: dict[str, Any], given: tuple[np.ndarray, np.ndarray]) -> None:
    _, alphas = given
    found = channels(Path(report["saved"]["sockets"]["folder"]) / "exr" / "sockets.1002.exr")
    assert np.array_equal(found["smoke.A"], half(alphas[0, 1]))
    assert np.array_equal(found["fire-1.A"], half(alphas[1, 0]))  # one mask for all frames


def test_foreground_colours_belong_to_their_layers(report: dict[str, Any]) -> None:
    found = channels(Path(report["saved"]["foreground"]["folder"]) / "exr" / "foreground.1003.exr")
    for name in ("smoke", "fire-1"):
        # In half floats, of products that were rounded before.
        assert np.allclose(found[f"{name}.G"], found[f"{name}.A"], rtol=2.0**-10, atol=0.0)
        assert found[f"{name}.R"].max() == 0.0


def test_no_run_overwrites_another(report: dict[str, Any]) -> None:
    saved = report["saved"]
    assert [Path(saved[name]["folder"]).name for name in ("alpha", "again")] == ["alpha_00001", "alpha_00002"]
    assert saved["alpha"]["files"] == saved["again"]["files"]


def test_prefixes_are_filled_in_as_by_save_image(report: dict[str, Any]) -> None:
    now = datetime.now()
    below = {prefix: re.sub(r".*/output/", "", folder) for prefix, folder in report["names"].items()}
    assert below["plain"] == "plain_00001"
    assert below["a/b/c"] == "a/b/c_00001"
    assert re.fullmatch(rf"{now.year}-\d\d-\d\d_\d\d/x_64x40_00001", below["%date:yyyy-MM-dd_hh%/x_%width%x%height%"])
    assert below["%year%/y"] == f"{now.year}/y_00001"


def test_nodes_show_a_strip_and_their_files(report: dict[str, Any]) -> None:
    for shown in (report["saved"]["exr"], report["shots"]["path"]):
        assert shown["pictures"] == 1
        assert shown["text"] == [shown["folder"], *shown["files"]]


def alpha_of(report: dict[str, Any], run: str) -> np.ndarray:
    """Alphas [L,T,H,W] of EXR frames that SegmentShot wrote."""
    files = sorted((Path(report["shots"][run]["folder"]) / "exr").iterdir())
    frames = [channels(file) for file in files]
    return np.stack([[frame[f"{name}.A"] for frame in frames] for name in ("smoke", "circle")]).astype(np.float64)


def test_a_shot_is_the_same_however_it_comes(report: dict[str, Any]) -> None:
    expected = alpha_of(report, "path")
    assert expected.shape == (2, SHOT_FRAMES, *SHOT_SIZE)
    assert expected.std() > 0.05  # masks of one level would be equal anyway
    assert np.array_equal(alpha_of(report, "file"), expected)
    assert np.array_equal(alpha_of(report, "bytes"), expected)
    assert np.abs(alpha_of(report, "tensors") - expected).max() < 2e-3


def test_rate_and_timecode_of_a_shot_survive(report: dict[str, Any]) -> None:
    folder = Path(report["shots"]["path"]["folder"])
    header = OpenEXR.File(str(folder / "exr" / "path.1001.exr"), header_only=True).header()
    assert header["framesPerSecond"] == RATE
    code = header["timeCode"]
    assert (code.hours, code.minutes, code.seconds, code.frame) == (1, 2, 3, 4)
    with av.open(str(folder / "smoke" / "path.mov")) as video:
        assert video.streams.video[0].average_rate == RATE
        codes = [stream.metadata.get("timecode") for stream in video.streams]
        assert TIMECODE in [video.metadata.get("timecode"), *codes]
        assert sum(1 for _ in video.decode(video=0)) == SHOT_FRAMES


def test_a_variable_rate_is_kept_and_said_on_the_node_and_sound_comes_on_request(report: dict[str, Any]) -> None:
    shown = report["shots"]["varying"]
    assert "variable frame rate" in shown["text"][0]
    with av.open(str(Path(shown["folder"]) / "smoke" / "varying.mov")) as video:
        assert len(video.streams.audio) == 1
        assert [round(frame.time * 1000) for frame in video.decode(video=0)] == VARYING
    with av.open(str(Path(report["shots"]["path"]["folder"]) / "smoke" / "path.mov")) as video:
        assert not video.streams.audio


def test_values_above_white_reach_the_exr(report: dict[str, Any]) -> None:
    folder = Path(report["shots"]["plates"]["folder"])
    files = sorted((folder / "exr").iterdir())
    assert [file.name for file in files] == [f"plates.{number}.exr" for number in (101, 102, 103)]
    for number, file in enumerate(files, start=101):
        red = channels(file)["R"]
        expected = np.full(SHOT_SIZE, 0.18, np.float32)
        expected[10:20, 10 : number - 80] = BRIGHT
        assert np.array_equal(red, expected)


def header_of(file: Path) -> dict[str, Any]:
    with OpenEXR.File(str(file), header_only=True) as opened:
        return dict(opened.header())


def test_files_say_what_made_them_and_what_the_plate_says(report: dict[str, Any]) -> None:
    for number, file in enumerate(sorted((Path(report["shots"]["plates"]["folder"]) / "exr").iterdir()), start=101):
        header = header_of(file)
        assert (header["owner"], header["imageCounter"]) == ("Studio X", number)
        assert (header["rem/model"], header["rem/layer"]) == ("REM-mini", "smoke, circle")
        assert header["rem/prompt"].startswith("smoke: ")
        assert '"feather"' in header["rem/matte"]
    saved = header_of(sorted((Path(report["saved"]["exr"]["folder"]) / "exr").iterdir())[0])
    assert (saved["rem/software"], saved["rem/layer"]) == ("ReferEverything", "smoke, fire-1")
    assert not {"rem/prompt", "rem/model"} & saved.keys()


def test_a_layer_and_a_range_of_frames_can_be_chosen(report: dict[str, Any]) -> None:
    files = sorted((Path(report["shots"]["chosen"]["folder"]) / "exr").iterdir())
    assert len(files) == 2
    for file in files:
        assert np.array_equal(channels(file)["R"], np.full(SHOT_SIZE, 0.25, np.float16))


def test_the_colour_space_that_was_named_is_stated_and_the_values_stay(report: dict[str, Any]) -> None:
    named, plain = (Path(report["shots"][name]["folder"]) / "exr" for name in ("space", "plates"))
    first, other = sorted(named.iterdir())[0], sorted(plain.iterdir())[0]
    assert np.array_equal(channels(first)["R"], channels(other)["R"].astype(np.float16))
    assert OpenEXR.File(str(first), header_only=True).header()["colorInteropID"] == "lin_ap0_scene"


OWN = {
    "own": "circle/alpha/plate.###.png 101-103",
    "own video": "circle/alpha/shot.####.png 1001-1007",
    "held": "circle/alpha/held_###.png 101-105",
    "renumbered": "circle/alpha/renumbered.####.png 1001-1002",
    "other start": "circle/alpha/other start.######.png 000001-000002",
    "one of two": "circle/alpha/one of two.##.png 01-02",
}
"""What is written of shots whose numbers and names are their own, or chosen."""


def test_a_sequence_keeps_its_numbers_and_where_no_name_was_chosen_its_own(report: dict[str, Any]) -> None:
    files = {name: shot["files"] for name, shot in report["shots"].items()}
    alpha = {name: next(line for line in lines if "/alpha/" in line) for name, lines in files.items() if name in OWN}
    assert alpha == OWN


def test_exclusive_writes_an_id_map(report: dict[str, Any]) -> None:
    files = report["shots"]["exclusive"]["files"]
    assert any(line.startswith("ids/") for line in files), files


def test_a_close_up_is_written_too(report: dict[str, Any]) -> None:
    assert "smoke/alpha/close_up.####.png 1001-1007" in report["shots"]["close_up"]["files"]


def test_the_input_folders_shots_are_listed_and_checked(report: dict[str, Any]) -> None:
    plates = ["holes/", "plates/", "shot.mov", "two/a.##.png", "two/b.##.png", "varying.mov"]
    assert report["listed"] == ["connected video", *plates]
    known, linked, absent, outside = report["valid"]
    assert known is True and linked is True
    assert "absent.mov" in absent and absent.endswith(".")
    assert "leads out" in outside and outside.endswith(".")


def test_the_matte_stage_computes_where_the_host_does(report: dict[str, Any]) -> None:
    assert report["devices"] == {"MaskToAlpha": ["cpu:0"], "SegmentShot": ["cpu:0"]}


def test_a_shot_rendered_anew_is_segmented_again(report: dict[str, Any]) -> None:
    assert report["fingerprints"] == [True, False, False]


def test_a_cancel_leaves_whole_frames_and_no_half_video(report: dict[str, Any]) -> None:
    for name, layers in (("SaveMatte", ["matte"]), ("SegmentShot", ["smoke", "circle"])):
        files = [file for file in report["cancelled"][name] if not Path(file).name.startswith(".")]
        assert files == [f"exr/{name}.1001.exr", f"exr/{name}.1002.exr"], (name, layers)


def test_a_full_disk_gets_one_sentence_and_leaves_whole_frames(report: dict[str, Any]) -> None:
    full = report["full"]
    assert full["files"] == ["shot_00001/exr/shot.1001.exr"]
    assert full["sentence"].startswith("No space is left on the disk for ") and "\n" not in full["sentence"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("size", "64x40 pixels and the mask 64x20"),
        ("count", "3 images and 4 masks"),
        ("no frames", "no frames"),
        ("foreground size", "64x40 pixels and the foreground 64x20"),
        ("foreground count", "2 layers of 3 images and 3 foregrounds"),
        ("name count", "There are 2 layers and 1 name: write a name for each layer"),
        ("name", "'a/b'"),
        ("name twice", "a, A have one name"),
        ("outside", "leads out of ComfyUI's output folder"),
        ("absolute", "leads out of ComfyUI's output folder"),
        ("zero byte", "'a\\x00b' holds a zero byte"),
        ("long name", "a name longer than 180 bytes"),
        ("long shot", "a name longer than 180 bytes"),
        ("shot with a zero byte", "shot"),
        ("shot of a long name", "nnn"),
        ("null for an image", "Nothing is connected at image"),
        ("null for a clip", "Nothing is connected at clip"),
        ("not a number", "mask of frame 0"),
        ("format", "'tiff'"),
        ("no shot", "no shot"),
        ("two shots", "'shot.mov' is chosen"),
        ("absent", "'absent.mov'"),
        ("space", "no colour space 'acess': give one of"),
        ("space of pictures", "display sRGB already: leave plate_space"),
        ("outside shot", "leads out of ComfyUI's input folder"),
    ],
)
def test_wrong_input_gets_one_sentence(report: dict[str, Any], case: str, words: str) -> None:
    answer = report["sentences"][case]
    assert answer.startswith(("ValueError: ", "FileNotFoundError: ")) and words in answer, answer
    assert "\n" not in answer and answer.endswith(".")
