"""What files and run.json say of how each layer was matted, read back by other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image
from red_model import HEIGHT, WIDTH, check_refused, read

from rem_engine.commands.cli import main

STAR = {"grow": -1, "edges": "solid", "edge_blur": 0.0, "smooth": 0, "refine": "auto", "threshold": "off"}
SMOKE = {"grow": 0, "edges": "soft", "edge_blur": 2.0, "smooth": 2, "refine": "auto", "threshold": "off"}
LINES = "star: the red thing | preset: solid | grow: -1\nsmoke: the smoke | preset: smoke | edge blur: 2\n"

pytestmark = pytest.mark.usefixtures("fake_model")


def png_texts(folder: Path) -> dict[str, str]:
    with Image.open(sorted(folder.iterdir())[0]) as picture:
        picture.load()
        return dict(picture.text)  # type: ignore[attr-defined]


def exr_header(folder: Path) -> dict[str, Any]:
    with OpenEXR.File(str(sorted(folder.iterdir())[0]), header_only=True) as file:
        return dict(file.header())


def among(expected: dict[str, Any], text: str) -> bool:
    return expected.items() <= json.loads(text).items()


@pytest.fixture
def run(shot: Path, tmp_path: Path) -> Path:
    """A run of two layers with settings of their own."""
    (tmp_path / "prompts.txt").write_text(LINES, "utf-8")
    command = ["segment", str(shot), "--prompts", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "run")]
    assert main([*command, "--frames", "1001-1003", "--write", "soft,alpha,exr", "--edge-mattes", "60"]) == 0
    return tmp_path / "run"


def test_each_file_says_what_its_own_layers_were_made_with(run: Path) -> None:
    for layer, expected in (("star", STAR), ("star_core", STAR), ("smoke", SMOKE), ("smoke_edge", SMOKE)):
        assert among(expected, png_texts(run / layer / "alpha")["rem/matte"]), layer
    header = exr_header(run / "exr")
    of_layers = json.loads(header["rem/matte"])
    assert list(of_layers) == ["star", "smoke"]
    assert STAR.items() <= of_layers["star"].items()
    assert SMOKE.items() <= of_layers["smoke"].items()
    assert header["rem/contents"].endswith("Each layer's matte is its A.")
    settings = json.loads((run / "run.json").read_text("utf-8"))["settings"]
    assert STAR.items() <= settings["mattes"]["star"].items()
    assert SMOKE.items() <= settings["mattes"]["smoke"].items()


def test_settings_of_one_layer_of_matte_are_in_its_files_alone(run: Path, shot: Path, tmp_path: Path) -> None:
    masks = ("--masks", f"s={run / 'smoke' / 'soft'}", "--masks", f"t={run / 'star' / 'soft'}", "--frames", "1001-1003")
    out = tmp_path / "out"
    set_one = ("--set", "s | preset: smoke | threshold: 0.5", "--write", "alpha_exr,exr")
    assert main(["matte", str(shot), *masks, "-o", str(out), *set_one]) == 0
    header = exr_header(out / "s" / "alpha_exr")
    assert among({"edges": "soft", "smooth": 2, "threshold": 0.5}, header["rem/matte"])
    assert header["rem/contents"] == "One matte alone, A, cropped to what it holds."
    assert among({"edges": "auto", "smooth": 0, "threshold": "off"}, exr_header(out / "t" / "alpha_exr")["rem/matte"])
    of_layers = json.loads(exr_header(out / "exr")["rem/matte"])
    assert (of_layers["s"]["edges"], of_layers["t"]["edges"]) == ("soft", "auto")
    settings = json.loads((out / "run.json").read_text("utf-8"))["settings"]
    assert (settings["mattes"]["s"]["smooth"], settings["mattes"]["t"]["smooth"]) == (2, 0)


def test_a_runs_layers_keep_their_settings_unless_given_anew(
    run: Path, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", ["matte", str(shot), "--masks", str(run), "--frames", "1001-1003"]
    capsys.readouterr()
    assert main([*again, "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "As in their run: star | preset: solid | grow: -1; smoke | preset: smoke | edge blur: 2. --set gives" in said
    assert "Not taken over from their run: --edge-mattes 60.0; give it again" in said
    for layer in ("star", "smoke"):
        files = sorted((run / layer / "alpha").iterdir())
        assert len(files) == 3
        for file in files:
            np.testing.assert_array_equal(read(out / layer / "alpha" / file.name), read(file))
    anew = ("--edges", "soft", "--set", "star | grow: 3", "--set", "smoke | preset: solid")
    assert main([*again, "-o", str(tmp_path / "anew"), *anew]) == 0
    settings = json.loads((tmp_path / "anew" / "run.json").read_text("utf-8"))["settings"]["mattes"]
    assert (settings["star"]["grow"], settings["star"]["edges"]) == (3, "soft")
    assert (settings["smoke"]["smooth"], settings["smoke"]["edge_blur"], settings["smoke"]["edges"]) == (0, 0, "solid")


def test_files_name_the_mattes_that_bounded_them(run: Path, shot: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "garb.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    box, garbage = "smoke=0,0,9,9", str(tmp_path / "garb.png")
    command = [
        "segment",
        str(shot),
        "-p",
        "star: the red thing",
        "-p",
        "smoke: the smoke",
        "-o",
        str(tmp_path / "bound"),
    ]
    bounds = ("--include", garbage, "--hold-out", box, "--add", "star=1,1,2,2")
    assert main([*command, "--frames", "1001-1001", "--write", "soft,alpha", *bounds]) == 0
    of_star = {"include": ["garb.png"], "add": ["1,1,2,2"]}
    assert json.loads(png_texts(tmp_path / "bound" / "star" / "alpha")["rem/given"]) == of_star
    assert json.loads(png_texts(tmp_path / "bound" / "star" / "soft")["rem/given"]) == {"include": ["garb.png"]}
    masks = ("--masks", str(tmp_path / "bound"), "--add", "0,0,1,1", "--write", "alpha,exr", "--edge-mattes", "60")
    out = tmp_path / "out"
    assert main(["matte", str(shot), "--frames", "1001-1001", "-o", str(out), *masks]) == 0
    of_smoke = {"include": ["garb.png"], "hold_out": ["0,0,9,9"], "add": ["0,0,1,1"]}
    assert json.loads(png_texts(out / "smoke_core" / "alpha")["rem/given"]) == of_smoke
    of_layers = {"star": {"include": ["garb.png"], "add": ["0,0,1,1"]}, "smoke": of_smoke}
    assert json.loads(exr_header(out / "exr")["rem/given"]) == of_layers
    assert "rem/given" not in png_texts(run / "star" / "alpha")


@pytest.mark.parametrize("command", ["matte", "segment"])
def test_the_folder_of_the_frames_is_not_written_to(
    command: str, run: Path, shot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, asked = sorted(shot.iterdir()), ("--masks", str(run)) if command == "matte" else ("-p", "the smoke")
    for source in (str(shot), str(shot / "plate.####.png")):
        check_refused([command, source, *asked, "-o", str(shot)], "lies where this run would write: give", capsys)
    assert sorted(shot.iterdir()) == there
