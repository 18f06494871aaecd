"""What a run reads may change: under it while it works, or between it and the next of the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image
from red_model import HEIGHT, WIDTH, deliver

from rem_engine.commands.cli import main
from rem_engine.media.images import ImageShot

pytestmark = pytest.mark.usefixtures("fake_model")

_CONFIGURATION = """ocio_profile_version: 2
roles: {{default: raw, scene_linear: ACES2065-1, aces_interchange: ACES2065-1}}
file_rules: [!<Rule> {{name: Default, colorspace: default}}]
displays: {{screen: [!<View> {{name: raw, colorspace: raw}}]}}
colorspaces:
  - !<ColorSpace> {{name: raw, isdata: true}}
  - !<ColorSpace> {{name: ACES2065-1}}
  - !<ColorSpace>
    name: scan
    to_scene_reference: !<ExponentTransform> {{value: [{power}, {power}, {power}, 1]}}
"""


def change_while_reading(monkeypatch: pytest.MonkeyPatch, file: Path, at: int) -> None:
    """Write a file of a shot anew as soon as frame `at` is read."""
    read = ImageShot._frame

    def reading(shot: ImageShot, index: int) -> np.ndarray:
        if index == at and cv2.imread(str(file))[0, 0, 0] != 90:
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(file)
        return read(shot, index)

    monkeypatch.setattr(ImageShot, "_frame", reading)


def warnings_in(out: Path) -> list[dict[str, Any]]:
    return [one for one in json.loads((out / "run.json").read_text())["warnings"] if one["what"] == "shot"]


def test_a_frame_that_is_written_while_it_is_read_is_told(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    change_while_reading(monkeypatch, shot / "plate.1002.png", at=7)
    assert deliver(shot, out, "--write", "soft,exr") == 0
    sentence = "plate.1002.png changed while the run was reading: what was written may be of the old and of the new"
    assert sentence in capsys.readouterr().err and sentence in warnings_in(out)[0]["sentence"]
    # The same words again are another run, of the shot as it is now.
    assert deliver(shot, out, "--write", "soft,exr") == 0
    assert "nothing was done" not in capsys.readouterr().out and warnings_in(out) == []


def test_matte_tells_of_masks_that_change_too(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deliver(shot, tmp_path / "masks", "--write", "soft") == 0
    change_while_reading(monkeypatch, tmp_path / "masks" / "smoke" / "soft" / "plate.1001.png", at=7)
    assert main(["matte", str(shot), "--masks", str(tmp_path / "masks"), "-o", str(tmp_path / "out")]) == 0
    assert "plate.1001.png changed while the run was reading" in capsys.readouterr().err
    assert len(warnings_in(tmp_path / "out")) == 1


def test_segment_tells_of_hints_that_change_too(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign = tmp_path / "sign.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(sign)
    change_while_reading(monkeypatch, sign, at=7)
    assert deliver(shot, tmp_path / "out", "--write", "soft", "--hold-out", str(sign)) == 0
    assert "sign.png changed while the run was reading" in capsys.readouterr().err
    assert len(warnings_in(tmp_path / "out")) == 1


def test_a_space_that_means_something_else_now_is_another_run(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reds = []
    for power in (2, 3):
        configuration = tmp_path / f"{power}.ocio"
        configuration.write_text(_CONFIGURATION.format(power=power))
        monkeypatch.setenv("OCIO", str(configuration))
        for command in ("segment", "matte"):
            given = ["-p", "smoke: the smoke"] if command == "segment" else ["--masks", str(tmp_path / "segment")]
            write = "soft,exr" if command == "segment" else "exr"
            out = tmp_path / command
            assert main([command, str(shot), *given, "-o", str(out), "--write", write, "--plate-space", "scan"]) == 0
            with OpenEXR.File(str(out / "exr" / "plate.1001.exr")) as file:
                reds.append(float(file.channels()["RGB"].pixels[0, 0, 0]))
    expected = [(40 / 255) ** power for power in (2, 2, 3, 3)]
    np.testing.assert_allclose(reds, expected, rtol=2e-3)
