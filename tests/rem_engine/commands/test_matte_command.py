"""`matte` makes of masks on disk what `segment` delivers of the model's, and refuses masks that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from red_model import FRAMES, HEIGHT, NEUTRAL, PROMPTS, WIDTH, check_refused, files_of, read, segment
from stops import disk_full, stop_at

from rem_engine.commands.cli import main
from rem_engine.media import video
from rem_engine.run.delivery import Delivery
from rem_engine.run.given_masks import find_masks


def matte(shot: Path, masks: str | Path, out: Path, *options: str) -> int:
    return main(["matte", str(shot), "--masks", str(masks), "-o", str(out), *options])


@pytest.fixture
def truth() -> np.ndarray:
    """Masks [T,H,W], uint16: a soft disc that moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distances = [np.hypot(y - 16, x - 10 - 2 * number) for number in range(FRAMES)]
    return np.rint((10 - np.array(distances)).clip(0, 7) / 7 * 65535).astype(np.uint16)


@pytest.fixture
def masks(tmp_path: Path, truth: np.ndarray) -> Path:
    """The folder `car/soft` of 16-bit PNGs."""
    return write_pngs(tmp_path / "car" / "soft", truth)


def write_pngs(folder: Path, pictures: Iterable[np.ndarray]) -> Path:
    """As `m.1001.png` and so on."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1001):
        cv2.imwrite(str(folder / f"m.{number}.png"), picture)
    return folder


def write_video(path: Path, masks: np.ndarray) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "gray16le"
        for mask in masks:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(mask, format="gray16le")))
        container.mux(stream.encode())


def alphas(out: Path, layer: str = "car") -> np.ndarray:
    """16-bit alphas [T,H,W] that were delivered, in the order of their numbers."""
    files = sorted((out / layer / "alpha").iterdir())
    assert [file.name for file in files] == [f"plate.{1001 + number}.png" for number in range(len(files))]
    return np.stack([read(file) for file in files])


# ---- what is made


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("kind", ["soft", "npz"])
def test_masks_of_a_run_become_what_the_run_would_have_delivered(shot: Path, tmp_path: Path, kind: str) -> None:
    shaping = ("--smooth", "1", "--grow", "1", "--feather", "1.5", "--cuts", "none")
    at_once, masked, later = tmp_path / "at_once", tmp_path / "masked", tmp_path / "later"
    assert segment(shot, at_once, "--write", "alpha,exr,png16", *shaping) == 0
    assert segment(shot, masked, "--write", f"masks,{kind}") == 0
    assert matte(shot, masked, later, "--write", "alpha,exr,png16", *shaping) == 0
    expected = files_of(at_once)
    del expected["run.json"]
    delivered = files_of(later)
    del delivered["run.json"]
    assert delivered == expected
    assert len(expected) == FRAMES * (2 * len(PROMPTS) + 1)


def test_every_form_of_mask_is_read_as_it_is(shot: Path, tmp_path: Path, masks: Path, truth: np.ndarray) -> None:
    eight = np.rint(truth / 257).astype(np.uint8)
    for name in ("eight", "colour", "y", "a"):
        (tmp_path / name).mkdir()
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    for number in range(FRAMES):
        Image.fromarray(eight[number]).save(tmp_path / "eight" / f"{1001 + number}.png")
        Image.fromarray(eight[number]).convert("RGB").save(tmp_path / "colour" / f"{1001 + number}.png")
        value = (truth[number] / 65535).astype(np.float32)
        colour = np.full((HEIGHT, WIDTH), 0.3, np.float32)
        OpenEXR.File(header, {"Y": value}).write(str(tmp_path / "y" / f"{1001 + number}.exr"))
        channels = {"R": colour, "G": colour, "B": colour * 0, "A": value}
        OpenEXR.File(header, channels).write(str(tmp_path / "a" / f"{1001 + number}.exr"))
    write_video(tmp_path / "grey.mkv", truth)
    given = {"car": masks, **{name: tmp_path / name for name in ("eight", "colour", "y", "a")}}
    given["video"] = tmp_path / "grey.mkv"
    arguments = [argument for name, path in given.items() for argument in ("--masks", f"{name}={path}")]
    assert main(["matte", str(shot), *arguments, "-o", str(tmp_path / "out"), *NEUTRAL]) == 0
    np.testing.assert_array_equal(alphas(tmp_path / "out"), truth)
    for name in ("y", "a"):  # as stored: no sRGB curve is undone or put on
        np.testing.assert_array_equal(alphas(tmp_path / "out", name), truth)
    for name in ("eight", "colour"):
        np.testing.assert_array_equal(alphas(tmp_path / "out", name), eight.astype(np.uint16) * 257)
    np.testing.assert_allclose(alphas(tmp_path / "out", "video"), truth.astype(int), atol=2)


def test_the_frames_of_a_matte_video_are_counted_once(
    shot: Path, tmp_path: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    count = video.survey  # decodes them all, unless each stands alone
    monkeypatch.setattr(video, "survey", lambda *given: counted.append(given) or count(*given))
    write_video(tmp_path / "car.mkv", truth)
    assert matte(shot, tmp_path / "car.mkv", tmp_path / "out") == 0
    assert len(counted) == 1


def test_a_channel_is_asked_for_behind_a_colon(shot: Path, tmp_path: Path, truth: np.ndarray) -> None:
    noise = np.random.default_rng(2).integers(0, 65536, (FRAMES, HEIGHT, WIDTH, 3), np.uint16)
    folder = write_pngs(tmp_path / "roto", np.concatenate([noise, truth[..., None]], axis=3))  # B, G, R, A
    masks = ("--masks", f"car={folder}:A", "--masks", f"red={folder}:R")
    assert main(["matte", str(shot), *masks, "-o", str(tmp_path / "out"), *NEUTRAL]) == 0
    np.testing.assert_array_equal(alphas(tmp_path / "out"), truth)
    np.testing.assert_array_equal(alphas(tmp_path / "out", "red"), noise[..., 2])
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["masks"] == {"car": f"{folder}:A", "red": f"{folder}:R"}


def test_masks_whose_colour_and_alpha_vary_are_refused_before_anything_is_written(
    shot: Path, tmp_path: Path, truth: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pngs(tmp_path / "roto", (np.dstack([mask] * 3 + [mask[:, ::-1]]) for mask in truth))
    arguments = ["matte", str(shot), "--masks", str(folder), "-o", str(tmp_path / "out")]
    check_refused(arguments, "both the colour and the alpha vary, and either may be the matte", capsys)
    assert not (tmp_path / "out").exists()


def test_masks_of_0_and_1_are_taken_and_that_is_said(
    shot: Path, tmp_path: Path, truth: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pngs(tmp_path / "car", (truth > 0).astype(np.uint8))
    assert matte(shot, folder, tmp_path / "out", *NEUTRAL) == 0
    np.testing.assert_array_equal(alphas(tmp_path / "out"), (truth > 0) * np.uint16(65535))
    assert "hold only 0 and 1, which are taken for black and white" in "".join(capsys.readouterr())


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("highest", [1, 20])
def test_masks_of_a_run_are_shades_however_dark(shot: Path, tmp_path: Path, highest: int) -> None:
    """By its folder, and by what its files say of themselves; another program's are numbers of objects, or 0 and 1."""
    run = tmp_path / "run"
    assert segment(shot, run, "--write", "soft") == 0
    folder = sorted(run.glob("*/soft"))[0]
    dark = np.random.default_rng(3).integers(0, highest + 1, (HEIGHT, WIDTH)).astype(np.uint16)
    for file in folder.iterdir():
        with Image.open(file) as picture:
            texts = PngInfo()
            for name, text in picture.text.items():
                texts.add_text(name, text)
        Image.fromarray(dark).save(file, pnginfo=texts)
    for number, given in enumerate((run, folder)):
        out = tmp_path / f"out{number}"
        assert matte(shot, given, out, *NEUTRAL) == 0
        assert (alphas(out, folder.parent.name) == dark).all()


@pytest.mark.parametrize(
    ("text", "path", "channel"),
    [
        ("m", "m", ""),
        ("m:A", "m", "A"),
        ("m:luma", "m", "luma"),
        ("m:smoke.A", "m", "smoke.A"),
        ("gone:A", "gone", "A"),  # so that what is missing is named as it is
        ("gone:smoke.A", "gone:smoke.A", ""),
        ("m.####.exr:smoke.A", "m.####.exr", "smoke.A"),
        ("with:colon", "with:colon", ""),
        ("with:colon:A", "with:colon", "A"),
        ("m:A/x", "m:A/x", ""),
        (r"C:\masks", r"C:\masks", ""),
        ("C:masks", "C:masks", ""),
        (r"C:\masks:A", r"C:\masks", "A"),
        ("C:A", "C:A", ""),
    ],
)
def test_a_colon_may_belong_to_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str, channel: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m", "with:colon"):
        (tmp_path / name).mkdir()
    (masks,) = find_masks([f"car={text}"]).values()
    assert (str(masks.path), masks.channel) == (path, channel)


def test_a_threshold_makes_a_mask_solid(shot: Path, tmp_path: Path, masks: Path, truth: np.ndarray) -> None:
    assert matte(shot, masks, tmp_path / "out", *NEUTRAL, "--threshold", "0.5", "--knee", "0", "--invert") == 0
    np.testing.assert_array_equal(alphas(tmp_path / "out"), np.where(truth / 65535 > 0.5, 0, 65535))


def test_a_cut_in_the_plate_is_found_and_not_smoothed_across(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    grounds = [rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1) for _ in range(2)]
    for name in ("plate", "dust"):
        (tmp_path / name).mkdir()
    for number in range(16):
        Image.fromarray(np.roll(grounds[number // 8], number, axis=1)).save(tmp_path / "plate" / f"{1001 + number}.png")
        Image.fromarray(np.full((96, 128), 255 * (number // 8), np.uint8)).save(
            tmp_path / "dust" / f"{1001 + number}.png"
        )
    assert matte(tmp_path / "plate", tmp_path / "dust", tmp_path / "out", *NEUTRAL, "--smooth", "2") == 0
    found = alphas(tmp_path / "out", "dust")
    assert (found[:8] == 0).all() and (found[8:] == 65535).all()


def test_another_delivery_of_the_same_shot_replaces_only_its_own_kinds(
    shot: Path, tmp_path: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert matte(shot, masks, out, "--write", "alpha,prores", "--start", "1") == 0
    assert capsys.readouterr().out.splitlines() == [
        str(out / "car" / "alpha" / f"plate.0001-{FRAMES:04d}.png"),
        str(out / "car" / "plate.mov"),
    ]
    assert matte(shot, masks, out, "--write", "alpha", "--start", "101", "--padding", "3") == 0
    assert {path.name for path in (out / "car" / "alpha").iterdir()} == {f"plate.{101 + n}.png" for n in range(FRAMES)}
    assert (out / "car" / "plate.mov").is_file()


def test_layers_are_named_by_the_artist_or_by_their_folders(tmp_path: Path) -> None:
    for folder in ("the_smoke/soft", "roto v2", "ids"):
        (tmp_path / folder).mkdir(parents=True)
    given = ["front.v1=nowhere", f"{tmp_path}/the_smoke/soft", f"{tmp_path}/roto v2", f"{tmp_path}/ids", "a/dust.mov"]
    assert list(find_masks(given)) == ["front.v1", "the_smoke", "roto_v2", "ids_2", "dust"]


@pytest.mark.parametrize("text", ["", "car="])
def test_masks_without_a_path_are_refused(text: str) -> None:
    """The folder one is in would be meant."""
    with pytest.raises(ValueError, match=f"The masks '{text}' have no path: give NAME=PATH, or a path."):
        find_masks([text])


# ---- stopping


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), disk_full()])
def test_a_stop_leaves_whole_frames_and_says_so(
    shot: Path,
    tmp_path: Path,
    masks: Path,
    capsys: pytest.CaptureFixture[str],
    stop: BaseException,
) -> None:
    out = tmp_path / "out"
    with stop_at(5, Delivery, "write", stop):
        code = matte(shot, masks, out, "--write", "alpha,exr,prores")
    interrupted = isinstance(stop, KeyboardInterrupt)
    assert code == (130 if interrupted else 2)
    said = capsys.readouterr().err.splitlines()[-1]
    begin = "Interrupted." if interrupted else f"error: No space is left on the disk for {out}: make room."
    assert said == (
        f"{begin} Frames 0 to 3 of {FRAMES} are whole; the same command run again starts at the first frame."
    )
    numbers = [1001, 1002, 1003, 1004]
    assert set(files_of(out)) == {
        ".unfinished.json",
        *(f"car/alpha/plate.{number}.png" for number in numbers),
        *(f"exr/plate.{number}.exr" for number in numbers),
    }


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--masks", "nowhere"], "nowhere does not exist: give a folder of masks, a matte video, or a run's soft.npz."),
        (["--masks", "small"], f"The masks in small are 45x30 and the frames of plate {WIDTH}x{HEIGHT}: give masks of"),
        (["--masks", "strange"], "strange/run.json lists no layers of a run: give the folder of its masks instead."),
        (["--masks", "empty"], "The run in empty wrote no masks of fog: let it write soft ones."),
        (["--masks", "few"], "No mask in few (0-2) has the number of a frame of plate (1001-1014): masks lie on"),
        (
            ["--masks", "few.mkv"],
            "There are 3 masks in few.mkv, which have no numbers, and 14 frames in plate (1001-1014)",
        ),
        (["--masks", "plate"], "plate.1001.png is a picture in colour and no mask: give grey ones"),
        (["--masks", "bad.npz"], "bad.npz is no soft.npz of a run"),
        (["--masks", "car/soft", "--masks", "car/soft"], "Two layers have the name 'car': name them apart"),
        (["--masks", "two words=car/soft"], "'two words' cannot name a layer: a name is one word of"),
        (["--masks", "ids=car/soft"], "'ids' cannot name a layer"),
        (["--masks", "car/soft", "--write", "masks"], "'masks' cannot be written: choose from alpha,png16,exr,"),
        (["--masks", "car/soft", "--threshold", "5"], "A threshold of 5 is not possible"),
        (
            ["--masks", "car/soft", "--cuts", "0"],
            f"A take cannot begin at frame 0: the shot has frames 0 to {FRAMES - 1}",
        ),
        (["--masks", "car/alpha", "-o", "."], "car/alpha lies where this run would write: give another folder to"),
        (["--masks", "car/soft", "-o", "plate/plate.1001.png"], "plate.1001.png is a file: name a folder to write to."),
        (["--masks", "car/soft", "--device", "abacus"], "There is no device 'abacus'; use 'auto', 'cpu', or one that "),
        (
            ["--masks", "car/soft", "--device", "meta"],
            "PyTorch cannot use the device 'meta' here; use",
        ),
        ([], "the following arguments are required: --masks"),
    ],
)
def test_bad_input_gets_one_sentence(
    shot: Path,
    tmp_path: Path,
    masks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, count, size in (("small", FRAMES, (45, 30)), ("few", 3, (WIDTH, HEIGHT))):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("L", size).save(tmp_path / name / f"{number}.png")
    for name, run in (("strange", {"prompts": [{"folder": "../up"}, 3]}), ("empty", {"prompts": [{"folder": "fog"}]})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    np.savez(tmp_path / "bad.npz", other=np.zeros(3))
    write_video(tmp_path / "few.mkv", np.zeros((3, HEIGHT, WIDTH), np.uint16))
    shutil.copytree(masks, tmp_path / "car" / "alpha")
    check_refused(["matte", "plate", "-o", "out", *arguments], sentence, capsys)
    assert not list((tmp_path / "out").rglob("*.*"))
    assert len(list((tmp_path / "car" / "alpha").iterdir())) == FRAMES


def test_help_teaches_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["matte", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for word in ("examples:", "--masks", "--threshold", "--smooth", "--start", "Ctrl-C"):
        assert word in shown
