"""Mattes that are given beside the layers, settings of single layers, presets and edge mattes, by command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from red_model import FRAMES, HEIGHT, NEUTRAL, WIDTH, check_refused, read, segment
from torch import Tensor

from rem_engine.commands.cli import main
from rem_engine.matte import chain
from rem_engine.matte.presets import PRESETS

FULL = 65535


def pictures(folder: Path, values: np.ndarray, first: int = 1001) -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(values, start=first):
        cv2.imwrite(str(folder / f"m.{number}.png"), picture)
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> tuple[str, ...]:
    """Options for two layers: "car" has 0.8 everywhere, "dust" 0.4."""
    given = []
    for name, value in (("car", 0.8), ("dust", 0.4)):
        folder = pictures(tmp_path / name, np.full((FRAMES, HEIGHT, WIDTH), round(value * FULL), np.uint16))
        given += ["--masks", f"{name}={folder}"]
    return tuple(given)


def run(shot: Path, masks: tuple[str, ...], out: Path, *options: str) -> int:
    return main(["matte", str(shot), *masks, "-o", str(out), *NEUTRAL, *options])


def alphas(out: Path, layer: str) -> np.ndarray:
    files = sorted((out / layer / "alpha").iterdir())
    return np.stack([read(file) for file in files]) / FULL


def test_a_garbage_matte_multiplies_a_hold_out_subtracts_and_a_core_raises(
    shot: Path, tmp_path: Path, masks: tuple[str, ...]
) -> None:
    left = np.zeros((HEIGHT, WIDTH), np.uint16)
    left[:, :20] = FULL
    half = np.full((FRAMES, HEIGHT, WIDTH), FULL // 2, np.uint16)
    half[3] = 0
    cv2.imwrite(str(tmp_path / "garbage.png"), left)
    lamp = pictures(tmp_path / "lamp", half)
    given = ("--include", str(tmp_path / "garbage.png"), "--hold-out", f"dust={lamp}", "--add", "car=5,10,4,3")
    out = tmp_path / "out"
    assert run(shot, masks, out, *given) == 0
    car = np.zeros((FRAMES, HEIGHT, WIDTH))
    car[:, :, :20] = 0.8
    car[:, 10:13, 5:9] = 1.0
    dust = np.zeros((FRAMES, HEIGHT, WIDTH))
    dust[:, :, :20] = 0.2
    dust[3, :, :20] = 0.4
    np.testing.assert_allclose(alphas(out, "car"), car, atol=2e-5)
    np.testing.assert_allclose(alphas(out, "dust"), dust, atol=2e-5)
    assert not alphas(out, "dust")[:, :, 20:].any()
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert settings["given"]["add"] == ["car=5,10,4,3"]


def test_a_box_may_begin_left_of_the_frame(shot: Path, tmp_path: Path, masks: tuple[str, ...]) -> None:
    assert run(shot, masks, tmp_path / "out", "--include", "-10,-5,30,20") == 0
    expected = np.zeros((FRAMES, HEIGHT, WIDTH))
    expected[:, :15, :20] = 0.8
    np.testing.assert_allclose(alphas(tmp_path / "out", "car"), expected, atol=2e-5)


def test_a_given_sequence_lies_on_the_frames_of_its_numbers_and_holds_on(
    shot: Path, tmp_path: Path, masks: tuple[str, ...]
) -> None:
    values = np.zeros((2, HEIGHT, WIDTH), np.uint16)
    values[1] = FULL
    folder = pictures(tmp_path / "lamp", values, first=1004)
    assert run(shot, masks, tmp_path / "out", "--hold-out", str(folder)) == 0
    found = alphas(tmp_path / "out", "car")
    np.testing.assert_allclose(found[:4], 0.8, atol=2e-5)
    assert not found[4:].any()  # 1005, and what holds on from there


def test_a_delivery_by_another_given_matte_is_another_delivery(
    shot: Path, tmp_path: Path, masks: tuple[str, ...]
) -> None:
    garbage = tmp_path / "garbage.png"
    out, given = tmp_path / "out", ("--include", str(garbage))
    for value in (FULL, 0):
        cv2.imwrite(str(garbage), np.full((HEIGHT, WIDTH), value, np.uint16))
        assert run(shot, masks, out, *given) == 0
        np.testing.assert_allclose(alphas(out, "car"), 0.8 * (value > 0), atol=2e-5)


def test_layers_have_settings_and_presets_of_their_own(shot: Path, tmp_path: Path, masks: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    lines = ("--set", "car | white: 0.8", "--set", "dust | preset: fire | black: 0.1 | invert: on")
    assert run(shot, masks, out, *lines) == 0
    np.testing.assert_allclose(alphas(out, "car"), 1.0)
    np.testing.assert_allclose(alphas(out, "dust"), 1.0 - (0.4 - 0.1) / (1.0 - 0.1), atol=2e-5)


def test_options_stand_above_the_preset(shot: Path, tmp_path: Path, masks: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    command = ["matte", str(shot), *masks, "-o", str(out), "--preset", "water", "--refine", "0", "--smooth", "0"]
    assert main(command) == 0
    said = json.loads((out / "run.json").read_text())["settings"]["matte"]
    assert (said["smooth"], said["edges"]) == (0, PRESETS["water"]["edges"])


def test_core_and_edge_are_further_mattes_and_no_part_of_the_union(shot: Path, tmp_path: Path) -> None:
    disc = np.zeros((HEIGHT, WIDTH), np.uint16)
    cv2.circle(disc, (23, 16), 9, FULL, -1)
    folder = pictures(tmp_path / "car", np.stack([disc] * FRAMES))
    out, width = tmp_path / "out", 3 * 1920 / WIDTH
    edge_mattes = ("--write", "alpha,exr", "--exr-form", "premultiplied", "--edge-mattes", f"{width}")
    assert run(shot, ("--masks", str(folder)), out, *edge_mattes) == 0
    inside = disc > 0
    y, x = np.mgrid[-3:4, -3:4]
    disk = (np.hypot(y, x) <= 3).astype(np.uint8)
    grown = cv2.dilate(inside.astype(np.uint8), disk) > 0
    shrunk = cv2.erode(inside.astype(np.uint8), disk) > 0
    np.testing.assert_array_equal(alphas(out, "car_core")[0], shrunk)
    np.testing.assert_array_equal(alphas(out, "car_edge")[0], grown & ~shrunk)
    with OpenEXR.File(str(out / "exr" / "plate.1001.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    np.testing.assert_array_equal(channels["car_core.A"], shrunk)
    np.testing.assert_array_equal(channels["car_edge.A"], grown & ~shrunk)
    np.testing.assert_array_equal(channels["A"], inside)
    told = json.loads((out / "run.json").read_text())
    assert told["layers"] == ["car"]
    assert f"car_edge/alpha/plate.1001-{1000 + FRAMES}.png" in told["delivery"]["files"]


@pytest.mark.usefixtures("fake_model")
def test_a_prompt_line_sets_its_layer_and_the_others_stay(shot: Path, tmp_path: Path) -> None:
    plain, own = tmp_path / "plain", tmp_path / "own"
    write = ("--write", "soft,alpha", *NEUTRAL)
    assert segment(shot, plain, *write) == 0
    lines = tmp_path / "prompts.txt"
    lines.write_text("the red thing | invert: on | edge mattes: 60\n# the fog\nthe smoke\n", "utf-8")
    assert main(["segment", str(shot), "--prompts", str(lines), "-o", str(own), *write]) == 0
    np.testing.assert_array_equal(alphas(own, "the_smoke"), alphas(plain, "the_smoke"))
    np.testing.assert_allclose(alphas(own, "the_red_thing"), 1.0 - alphas(plain, "the_red_thing"), atol=2e-5)
    assert {path.name for path in own.iterdir() if path.is_dir()} == {
        "the_red_thing",
        "the_red_thing_core",
        "the_red_thing_edge",
        "the_smoke",
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--include", "nowhere.png"],
            "nowhere.png does not exist: give a picture, a sequence, a video, or a box left,top",
        ),
        (["--include", "fog=car"], "There is no layer 'fog' for the matte car: the layers are car, dust."),
        (["--hold-out", "small.png"], f"The matte small.png is 40x20 and the frames of plate {WIDTH}x{HEIGHT}: give"),
        (["--hold-out", "900,4,5,5"], f"The box 900,4,5,5 holds no pixel of a frame of {WIDTH}x{HEIGHT}: give left,"),
        (["--add", "3,4,0,5"], "The box 3,4,0,5 has no pixels: give left,top,width,height, the last two more than 0."),
        (["--include", "0,0,960"], "The box 0,0,960 is no box: give left,top,width,height in whole pixels."),
        (["--include", "car=0.5,0,9,9"], "The box 0.5,0,9,9 is no box: give left,top,width,height in whole pixels."),
        (["--hold-out", "nan,0,9,9"], "The box nan,0,9,9 is no box: give left,top,width,height in whole pixels."),
        (["--add", "car="], "The matte 'car=' has no path: give a picture, a sequence, a video, or a box."),
        (["--add", ""], "The matte '' has no path: give a picture, a sequence, a video, or a box."),
        (
            ["--set", "car | grow: 1", "--set", "car | grow: 2"],
            "Layer 'car': 'grow' is set twice: leave one of them out.",
        ),
        (["--set", "fog | feather: 2"], "There is no layer 'fog' to set something for: the layers are car, dust."),
        (["--set", "car | feather"], "The line 'car | feather' is no layer's settings: write its name and what is set"),
        (["--set", "car | feather: -1"], "Layer 'car': A feather of -1 pixels is not possible; give 0 to 1024 pixels."),
        (["--preset", "mud"], "argument --preset: invalid choice: 'mud'"),
        (["--edge-blur", "500"], "An edge blur of 500 pixels is not possible; give 0 to 128 pixels."),
    ],
)
def test_what_cannot_be_gets_one_sentence_before_anything_is_written(
    shot: Path,
    tmp_path: Path,
    masks: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("small.png", np.zeros((20, 40), np.uint16))
    check_refused(["matte", str(shot), *masks, "-o", "out", *options], sentence, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "has_colours"),
    [
        *((("--write", kind), False) for kind in ("alpha", "alpha_exr", "cryptomatte", "shapes")),
        *((("--write", "exr", "--exr-form", form), form in ("plate", "premultiplied"))
          for form in ("matte", "packed", "plate", "premultiplied")),
        *((("--write", kind), True) for kind in ("exr", "png16", "prores", "webm", "alpha,png16")),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else "",
)  # fmt: skip
def test_colours_are_taken_out_of_the_ground_only_where_a_file_holds_them(
    shot: Path, tmp_path: Path, masks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...], has_colours: bool,
) -> None:  # fmt: skip
    asked: list[Tensor] = []

    def noted(plate: Tensor, alpha: Tensor) -> Tensor:
        asked.append(plate)
        return plate.expand(*alpha.shape, 3)

    monkeypatch.setattr(chain, "decontaminate", noted)
    assert run(shot, masks, tmp_path / "out", "--set", "car | preset: hair", "--decontaminate", *options) == 0
    assert bool(asked) is has_colours
