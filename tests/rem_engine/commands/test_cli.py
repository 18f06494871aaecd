"""The command line writes what it says, and refuses what it cannot use in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from red_model import FRAMES, HEIGHT, PROMPTS, WIDTH, RedBackbone, check_refused, expected_soft, files_of, read, segment

from rem_engine.media import open_shot
from rem_engine.names import folder_names

ROOT = Path(__file__).parents[3]


# ---- what a run writes


@pytest.mark.usefixtures("fake_model")
def test_masks_and_soft_masks_are_what_the_engine_gives(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(shot, out, "--write", "masks,soft,npz") == 0
    soft = expected_soft(shot)
    for index, folder in enumerate(("the_red_thing", "the_smoke")):
        assert sorted(file.name for file in (out / folder / "masks").iterdir()) == [
            f"plate.{1001 + n}.png" for n in range(FRAMES)
        ]
        for number in range(FRAMES):
            mask = read(out / folder / "masks" / f"plate.{1001 + number}.png")
            assert mask.dtype == np.uint8 and mask.shape == (HEIGHT, WIDTH)
            np.testing.assert_array_equal(mask, np.where(soft[index, number] > 0.5, 255, 0))
            stored = read(out / folder / "soft" / f"plate.{1001 + number}.png")
            assert stored.dtype == np.uint16
            np.testing.assert_array_equal(stored, np.rint(soft[index, number].astype(float).clip(0, 1) * 65535))
        with np.load(out / folder / "soft.npz") as archive:
            assert list(archive) == ["soft"] and archive["soft"].dtype == np.float32
            np.testing.assert_array_equal(archive["soft"], soft[index])
    assert not (out / "overlay.mp4").exists()
    assert soft.max() > 1.0  # so that clipping, and not clipping, were both seen


@pytest.mark.usefixtures("fake_model")
def test_the_layout_is_the_one_promised_and_nothing_else_is_left(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert segment(shot, out) == 0
    names = {
        f"{folder}/{kind}/plate.{1001 + n}.png"
        for folder in folder_names(PROMPTS)
        for kind in ("masks", "soft")
        for n in range(FRAMES)
    }
    assert set(files_of(out)) == names | {"run.json", "overlay.mp4"}
    with open_shot(out / "overlay.mp4") as overlay:
        assert (overlay.frame_count, overlay.height, overlay.width, overlay.fps) == (FRAMES, HEIGHT + 1, WIDTH + 1, 24)


@pytest.mark.usefixtures("fake_model")
def test_run_json_tells_the_whole_run(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(shot, out, "--threshold", "0.4", "--seed", "7", "--window", "9", "--overlap", "3") == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert run["shot"] | {"path": ""} == {
        "name": "plate",
        "path": "",
        "frames": FRAMES,
        "numbers": "1001-1014",
        "height": HEIGHT,
        "width": WIDTH,
        "fps": None,
        "colour": {
            "space": "sRGB curve, Rec. 709 primaries",
            "known_from": "stored display values",
            "exposure": 0.0,
            "pictures": {"primaries": 1, "transfer": 13, "matrix": 6},
        },
    }
    settings = run["settings"]
    assert settings["threshold"] == 0.4 and settings["seed"] == 7 and settings["protocol"] == "shot"
    assert (settings["size"], settings["window"], settings["overlap"]) == ([32, 48], 9, 3)
    assert settings["model"] == "mini" and settings["write"] == ["masks", "soft", "overlay"]
    assert run["versions"]["torch"] == torch.__version__.split("+")[0] or run["versions"]["torch"] == torch.__version__
    assert {"rem_engine", "diffusers", "transformers", "python"} <= set(run["versions"])
    assert {"load", "read", "encode_video", "encode_text", "predict", "decode", "resize", "write"} <= set(
        run["seconds"]
    )
    assert run["peak_memory_mib"] is None or run["peak_memory_mib"] > 10
    assert [(entry["prompt"], entry["folder"]) for entry in run["prompts"]] == list(
        zip(PROMPTS, folder_names(PROMPTS), strict=True)
    )
    for entry in run["prompts"]:
        masks = [read(out / entry["folder"] / "masks" / f"plate.{1001 + n}.png") for n in range(FRAMES)]
        assert entry["frames"] == FRAMES
        assert entry["mean_area"] == pytest.approx(np.mean(masks) / 255, abs=1e-9)
        assert 0 < entry["mean_area"] < 1


def test_options_reach_the_model(shot: Path, tmp_path: Path, fake_model: list[dict[str, Any]]) -> None:
    checkpoint = str(shot / "plate.1001.png")
    options = ("--model", str(tmp_path), "--checkpoint", checkpoint, "--protocol", "paper", "--size", "48x64")
    options = (*options, "--strength", "0.5", "--seed", "7", "--memory", "stream")
    assert segment(shot, tmp_path / "out", *options, "--window", "9", "--device", "cpu", "--dtype", "bfloat16") == 0
    assert fake_model == [
        {
            "model": str(tmp_path),
            "checkpoint": shot / "plate.1001.png",
            "strength": 0.5,
            "protocol": "paper",
            "size": (48, 64),
            "window": 9,
            "overlap": None,
            "cuts": "auto",
            "keep_aspect": False,
            "seed": 7,
            "decoder": "vae",
            "device": "cpu",
            "dtype": "bfloat16",
            "memory": "stream",
        }
    ]


@pytest.mark.usefixtures("fake_model")
def test_a_single_image_works(shot: Path, tmp_path: Path) -> None:
    assert segment(shot / "plate.1004.png", tmp_path / "out") == 0
    assert [file.name for file in (tmp_path / "out" / "the_smoke" / "masks").iterdir()] == ["plate.1004.png"]


def test_folders_are_safe_and_unique() -> None:
    prompts = ["The smoke!", "the smoke", "the  smoke 2", "../../etc", "???", "CON", "дым", "x" * 300, "x" * 301]
    names = folder_names(prompts)
    assert names[:7] == ("the_smoke", "the_smoke_2", "the_smoke_2_2", "etc", "prompt", "prompt_con", "дым")
    assert len(set(names)) == len(prompts) and max(map(len, names)) < 70


# ---- bad input


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.mov", "-p", "x", "-o", "out"], "nowhere.mov does not exist"),
        (["plate", "-p", " ", "-o", "out"], "The prompt is empty"),
        (["plate", "-o", "out"], "the following arguments are required: -p/--prompt"),
        (["plate", "-p", "x", "-o", "plate/plate.1001.png"], "plate.1001.png is a file: name a folder to write to"),
        (["plate", "-p", "x", "-o", "out", "--size", "big"], "'big' is no size: give height and width"),
        (["plate", "-p", "x", "-o", "out", "--threshold", "50"], "'50' is no threshold"),
        (["plate", "-p", "x", "-o", "out", "--write", "masks,tga"], "'tga' cannot be written: choose from masks,soft"),
        (["plate", "-p", "x", "-o", "out", "--window", "6"], "cannot take windows of 6 frames"),
        (["plate", "-p", "x", "-o", "out", "--size", "30x30"], "multiples of 16"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    shot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(["segment", *arguments], sentence, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake_model")
def test_a_warning_is_one_line_and_no_error(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encode = RedBackbone.encode_text
    monkeypatch.setattr(
        RedBackbone, "encode_text", lambda *given: warnings.warn("words were cut", stacklevel=1) or encode(*given)
    )
    assert segment(shot, tmp_path / "out") == 0
    assert "warning: words were cut" in capsys.readouterr().err.replace("\r", "\n").splitlines()


def test_an_unknown_model_gets_a_sentence(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(shot, tmp_path / "out", "--model", str(tmp_path / "no-model")) == 2
    assert capsys.readouterr().err.startswith("error: There is no model ")


def test_help_teaches_with_examples() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "rem_engine", "segment", "--help"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0
    for word in ("-p", "--protocol", "--write", "examples:", "overlay.mp4", "Ctrl-C"):
        assert word in done.stdout
