"""What files and run.json say of how each layer was matted, read back by other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import OpenEXR
import pytest
from PIL import Image

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
