"""Every file of a run says how it was made, read back by other readers; runs made anew say the same."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from rem_engine import __version__
from rem_engine.commands.cli import main
from rem_engine.media.made_by import MadeBy, read_made_by, safe_text
from rem_engine.media.writing import mask_png

PROMPTS = ("rauch: der Rauch über 東京 | -the steam", "car: the red car")
KINDS = "masks,soft,overlay,alpha,png16,exr,prores,webm"


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates") / "shot"
    folder.mkdir()
    for number in range(1001, 1004):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"shot.{number}.png"), pixels)
    return folder


def segment(plate: Path, out: Path, *more: str) -> None:
    prompts = [argument for prompt in PROMPTS for argument in ("-p", prompt)]
    arguments = ["segment", str(plate), *prompts, "-o", str(out), "--write", KINDS, "--combine", "exclusive"]
    assert main([*arguments, "--feather", "2", *more]) == 0


@pytest.fixture(scope="module")
def run(plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    segment(plate, out)
    return out


def first(out: Path, pattern: str) -> Path:
    return sorted(out.glob(pattern))[0]


def check_texts(texts: dict[str, str], layer: str, prompt: str, matted: bool) -> None:
    assert texts["rem/software"] == "ReferEverything"
    assert texts["rem/version"] == __version__
    assert texts["rem/model"] == "REM-mini"
    assert texts["rem/layer"] == layer
    assert texts["rem/prompt"] == prompt
    assert ("rem/matte" in texts) == matted
    if matted:
        assert json.loads(texts["rem/matte"])["feather"] == 2.0


RAUCH, BOTH = "der Rauch über 東京 | -the steam", f"rauch: {PROMPTS[0][7:]}; car: the red car"


@pytest.mark.parametrize(
    ("pattern", "matted"),
    [
        ("rauch/masks/*.png", False),
        ("rauch/soft/*.png", False),
        ("rauch/alpha/*.png", True),
        ("rauch/png16/*.png", True),
    ],
)
def test_a_layers_pictures_say_it(run: Path, pattern: str, matted: bool) -> None:
    files = sorted(run.glob(pattern))
    assert len(files) == 3
    for file in files:
        with Image.open(file) as picture:
            picture.load()
            check_texts(dict(picture.text), "rauch", RAUCH, matted)  # type: ignore[attr-defined]
    assert cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED).shape[:2] == (48, 64)


def test_an_id_map_says_it_of_all_layers(run: Path) -> None:
    with Image.open(first(run, "ids/*.png")) as picture:
        check_texts(dict(picture.text), "rauch, car", BOTH, False)  # type: ignore[attr-defined]


def test_an_exr_says_it_of_all_layers(run: Path) -> None:
    with OpenEXR.File(str(first(run, "exr/*.exr")), header_only=True) as file:
        check_texts(file.header(), "rauch, car", BOTH, True)


@pytest.mark.parametrize("pattern", ["rauch/*.mov", "rauch/*.webm", "overlay.mp4"])
def test_videos_say_it(run: Path, pattern: str) -> None:
    with av.open(str(first(run, pattern))) as container:
        texts = {name.lower(): value for name, value in container.metadata.items()}
        assert len(list(container.decode(video=0))) == 3
    overlay = pattern == "overlay.mp4"
    check_texts(texts, "rauch, car" if overlay else "rauch", BOTH if overlay else RAUCH, not overlay)


def test_two_runs_give_the_same_bytes(run: Path, plate: Path, tmp_path: Path) -> None:
    segment(plate, tmp_path / "again")
    files = [file.relative_to(run) for file in run.rglob("*.png")] + [Path("overlay.mp4"), Path("rauch/shot.mov")]
    assert len(files) > 20
    for file in files:
        assert (run / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_mattes_of_a_runs_masks_hand_on_what_these_say(run: Path, plate: Path, tmp_path: Path) -> None:
    arguments = ["matte", str(plate), "--masks", str(run), "-o", str(tmp_path / "out"), "--write", "alpha,exr"]
    assert main([*arguments, "--grow", "1"]) == 0
    with Image.open(first(tmp_path / "out", "rauch/alpha/*.png")) as picture:
        texts = dict(picture.text)  # type: ignore[attr-defined]
    assert texts["rem/prompt"] == RAUCH
    assert texts["rem/model"] == "REM-mini"
    assert json.loads(texts["rem/matte"])["grow"] == 1.0
    account = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert [entry["prompt"] for entry in account["prompts"]] == [RAUCH, "the red car"]
    assert account["versions"]["rem_engine"] == __version__
    assert account["settings"]["matte"]["grow"] == 1.0


def test_masks_of_others_say_nothing(tmp_path: Path) -> None:
    made = MadeBy("model", "a.safetensors", {"a": "the prompt é"})
    (tmp_path / "ours.png").write_bytes(mask_png(np.zeros((4, 4), bool), made.texts(["a"])))
    assert read_made_by(tmp_path / "ours.png") == ("model", "a.safetensors", "the prompt é", {})
    cv2.imwrite(str(tmp_path / "theirs.png"), np.zeros((4, 4), np.uint8))
    assert read_made_by(tmp_path / "theirs.png") == ("", "", "", {})
    (tmp_path / "ours.mov").write_bytes(bytes(100))
    assert read_made_by(tmp_path / "ours.mov") == ("", "", "", {})
    np.savez(tmp_path / "theirs.npz", soft=np.zeros((1, 4, 4), np.float32))
    assert read_made_by(tmp_path / "theirs.npz") == ("", "", "", {})
    (tmp_path / "cut.png").write_bytes((tmp_path / "ours.png").read_bytes()[:50])
    assert read_made_by(tmp_path / "cut.png") == ("", "", "", {})


def test_texts_are_bounded_and_safe() -> None:
    assert safe_text("a\0b\x1b[31m\nc\u2028d\ud800e") == "a b [31m c d e"
    assert len(safe_text("x" * 100_000)) == 4000
    assert safe_text("火 🔥 дым") == "火 🔥 дым"
    texts = MadeBy(prompts={"a": "x" * 9000}).texts(["a"])
    assert len(texts["rem/prompt"]) == 4000
    assert "rem/model" not in texts
