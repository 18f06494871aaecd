"""Masks of a model's own size beside a plate, and what is known of those that were scaled up."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from red_model import check_refused

from rem_engine.commands.cli import main
from rem_engine.run.delivery_settings import DeliverySettings, idle_forms
from rem_engine.run.given_masks import find_masks

HEIGHT, WIDTH, SIDE, FRAMES = 90, 160, 16, 2


def disk(frame: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return (26.5 - np.hypot(rows - 45, columns - 78 - frame)).clip(0.0, 1.0)


def own(frame: int) -> np.ndarray:
    return cv2.resize(disk(frame), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def write(folder: Path, name: str, pictures: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1001):
        assert cv2.imwrite(str(folder / f"{name}.{number}.png"), np.rint(picture * 65535).astype(np.uint16))
    return folder


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    colours = [np.float32([0.1, 0.3, 0.7]) * disk(t)[..., None] + np.float32([0.3, 0.6, 0.2]) * (1 - disk(t)[..., None])
               for t in range(FRAMES)]  # fmt: skip
    return write(tmp_path / "plate", "plate", colours)


def matte(plate: Path, masks: Path, out: Path, *options: str) -> np.ndarray:
    assert main(["matte", str(plate), "--masks", f"thing={masks}", "-o", str(out), *options]) == 0
    files = sorted((out / "thing" / "alpha").iterdir())
    return np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]) / 65535.0


def test_masks_of_a_models_own_size_are_taken_and_solved(plate: Path, tmp_path: Path) -> None:
    masks = write(tmp_path / "own", "m", [own(t) for t in range(FRAMES)])
    exact = np.stack([disk(t) for t in range(FRAMES)])
    bicubic = np.stack([cv2.resize(own(t), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for t in range(FRAMES)])
    np.testing.assert_allclose(matte(plate, masks, tmp_path / "o", "--refine", "0"), bicubic.clip(0, 1), atol=1e-4)
    solved = matte(plate, masks, tmp_path / "a", "--refine", "auto")
    assert np.abs(solved - exact).mean() < 0.2 * np.abs(bicubic - exact).mean()
    np.testing.assert_allclose(matte(plate, masks, tmp_path / "b", "--model-size", str(SIDE)), solved, atol=1e-6)


def test_masks_of_rem_mini_beside_a_plate_of_full_hd(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:1080, :1920].astype(np.float32)
    exact = (300.5 - np.hypot(rows - 540, columns - 900)).clip(0.0, 1.0)
    colours = np.float32([0.1, 0.3, 0.7]) * exact[..., None] + np.float32([0.3, 0.6, 0.2]) * (1 - exact[..., None])
    small = cv2.resize(exact, (96, 96), interpolation=cv2.INTER_AREA)
    plate, masks = write(tmp_path / "plate", "plate", [colours]), write(tmp_path / "own", "m", [small])
    (found,) = matte(plate, masks, tmp_path / "o")
    bicubic = cv2.resize(small, (1920, 1080), interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)
    assert found.shape == (1080, 1920)
    assert np.abs(found - exact).sum() < 0.1 * np.abs(bicubic - exact).sum()


def test_a_model_that_sees_more_lines_than_the_plate_has_is_told(
    plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those of 512x512 beside a plate of 640x360: a cell is wider than a pixel, and not as high."""
    large = [cv2.resize(disk(t), (120, 120), interpolation=cv2.INTER_LINEAR) for t in range(FRAMES)]
    masks = write(tmp_path / "own", "m", large)
    command = ["matte", str(plate), "--masks", f"thing={masks}", "-o", str(tmp_path / "o")]
    check_refused(command, "are 120x120 and the frames of plate 160x90: give masks of the shot's size", capsys)
    check_refused(command, "and where these are that, their size: --model-size 120.", capsys)
    check_refused([*command, "--model-size", "96"], "or a model's own, which are smaller.", capsys)
    scaled = [cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for mask in large]
    whole = write(tmp_path / "scaled", "m", scaled)
    told, exact = ("--model-size", "120"), np.stack([disk(t) for t in range(FRAMES)])
    found, expected = (matte(plate, m, tmp_path / f"{m.name}_o", *told) for m in (masks, whole))
    np.testing.assert_allclose(found, expected, atol=0.03)
    for alpha in (found, matte(plate, masks, tmp_path / "c", *told, "--refine", "0")):
        assert np.abs(alpha - exact).mean() < 4e-3


def test_the_size_of_scaled_masks_is_found_or_said(plate: Path, tmp_path: Path) -> None:
    scaled = [cv2.resize(own(t), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for t in range(FRAMES)]
    solved = matte(plate, write(tmp_path / "own", "m", [own(t) for t in range(FRAMES)]), tmp_path / "a")
    found = matte(plate, write(tmp_path / "scaled", "m", scaled), tmp_path / "b")
    said = matte(plate, tmp_path / "scaled", tmp_path / "c", "--model-size", str(SIDE))
    np.testing.assert_allclose(found, solved, atol=5e-3)
    np.testing.assert_array_equal(said, found)


def test_a_runs_account_says_at_which_size_its_masks_were_made(tmp_path: Path) -> None:
    run = {"prompts": [{"prompt": "the car", "name": "car", "folder": "car"}], "mask_size": [96, 96]}
    (tmp_path / "car" / "soft").mkdir(parents=True)
    (tmp_path / "car" / "alpha").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(run))
    cells = {part: find_masks([str(tmp_path / "car" / part)])["car"].cells for part in ("soft", "alpha")}
    assert cells == {"soft": (96, 96), "alpha": None}
    for damaged in ([96], "96", [0, 96], [96.0, 96], None):
        (tmp_path / "run.json").write_text(json.dumps(run | {"mask_size": damaged}))
        assert find_masks([str(tmp_path / "car" / "soft")])["car"].cells is None


def test_an_option_takes_auto_or_a_number(plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value, said in (
        ("much", "'much', and auto or a number, 0 to 512 pixels, is expected"),
        ("12.5", "'12.5', and auto or a number"),
        ("", "'', and auto or a number"),
        ("513", "A refinement radius of 513 pixels is not possible; give 0 to 512 pixels"),
    ):
        with pytest.raises(SystemExit):
            main(["matte", str(plate), "--masks", str(plate), "-o", str(tmp_path / "o"), f"--refine={value}"])
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_a_models_size_that_is_known_to_be_another_is_told(
    plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write(tmp_path / "own", "m", [own(t) for t in range(FRAMES)])
    said = "come from 16x16 pixels of a model, and the model size says 96x96: leave the model size out"
    out = tmp_path / "o"
    command = ["matte", str(plate), "--masks", f"thing={masks}", "-o", str(out)]
    check_refused([*command, "--model-size", "96"], said, capsys)
    check_refused([*command, "--set", "thing | model size: 96"], said, capsys)
    assert not out.exists()
    scaled = [cv2.resize(own(t), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for t in range(FRAMES)]
    write(tmp_path / "run" / "thing" / "soft", "plate", scaled)
    run = {"prompts": [{"prompt": "", "name": "thing", "folder": "thing"}], "mask_size": [SIDE, SIDE]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    of_run = ["matte", str(plate), "--masks", str(tmp_path / "run" / "thing" / "soft"), "-o", str(out)]
    check_refused([*of_run, "--model-size", "96"], said, capsys)
    unknown = ["matte", str(plate), "--masks", f"thing={write(tmp_path / 'unknown', 'm', [0 * disk(0), scaled[1]])}"]
    for size in ("5", "40"):
        told = f"come from 16x16 pixels of a model, and the model size says {size}x{size}"
        check_refused([*unknown, "-o", str(out), "--model-size", size], told, capsys)
    assert not out.exists()
    capsys.readouterr()
    matte(plate, write(tmp_path / "roto", "m", [disk(t) for t in range(FRAMES)]), out, "--model-size", "20")
    assert "have finer edges than 20x20 pixels of a model can, by up to 0." in capsys.readouterr().err


def test_what_is_asked_of_masks_and_does_nothing_is_told(
    plate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write(tmp_path / "roto", "m", [disk(t) for t in range(FRAMES)])
    scaled = [cv2.resize(own(t), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for t in range(FRAMES)]
    shows = write(tmp_path / "scaled", "m", scaled)
    size, edges = (
        "The edges of thing stay as its masks have them",
        "'edges: solid' does nothing for thing: it goes with",
    )
    for place, (given, options, told) in enumerate([
        (masks, ("--edges", "solid"), size),
        (masks, (), ""),
        (shows, ("--edges", "solid"), ""),
        (masks, ("--refine", "0", "--edges", "solid"), f"{edges} refine: auto."),
        (masks, ("--refine", "12", "--set", "thing | edges: solid"), f"{edges} refine: auto."),
        (masks, ("--refine", "0", "--knee", "0.2"), "'knee: 0.2' does nothing for thing: it goes with a threshold."),
        (masks, ("--refine", "0", "--knee", "0.2", "--threshold", "0.5"), ""),
        (masks, ("--refine", "0", "--exr-form", "matte"), "'exr form: matte' does nothing: it goes with exr, and what"),
    ]):  # fmt: skip
        matte(plate, given, tmp_path / f"o{place}", *options)
        said = capsys.readouterr().err
        assert told in said
        assert [mark in said for mark in (size, "does nothing")] == [mark in told for mark in (size, "does nothing")]


def test_a_form_of_files_that_are_not_written_is_told() -> None:
    assert idle_forms(DeliverySettings(("exr", "prores"), premultiplied=True, sound=True, exr_type="float")) == []
    (packed,) = idle_forms(DeliverySettings(("exr",), exr_form="packed", exr_compression="dwaa"))
    assert packed.endswith("packed EXRs have mattes: they get zip.")
    idle = idle_forms(DeliverySettings(("alpha",), premultiplied=True, exr_linear=False, sound=True, exr_form="packed"))
    assert [sentence.partition(" does nothing")[0] for sentence in idle] == [
        "'premultiplied'", "'exr display'", "'sound'", "'exr form: packed'",
    ]  # fmt: skip


@pytest.mark.usefixtures("fake_model")
def test_a_models_size_that_the_model_does_not_have_is_told(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    command = ["segment", str(shot), "-p", "red", "-o", str(out), "--write", "alpha", "--model-size", "95"]
    check_refused(command, "the model size says 95x95: leave the model size out", capsys)
    assert not out.exists() or not any(out.iterdir())


def test_words_of_options_are_taken_in_any_letter_case(plate: Path, tmp_path: Path) -> None:
    masks = write(tmp_path / "own", "m", [own(t) for t in range(FRAMES)])
    plain = ("--refine", "auto", "--edges", "solid", "--cuts", "none", "--write", "alpha", "--device", "cpu")
    expected = matte(plate, masks, tmp_path / "a", *plain)
    for place, change in enumerate((str.upper, str.title)):
        options = [option if option.startswith("--") else change(option) for option in plain]
        np.testing.assert_array_equal(matte(plate, masks, tmp_path / f"b{place}", *options), expected)
    smoke = matte(plate, masks, tmp_path / "c", "--preset", "Smoke")
    np.testing.assert_array_equal(matte(plate, masks, tmp_path / "d", "--set", "thing | Preset: SMOKE"), smoke)
