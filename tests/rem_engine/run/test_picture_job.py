"""Pictures with finished mattes to files: the graph that made them is in each, and run.json says what they are."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from rem_engine.matte import Frame
from rem_engine.media import open_shot
from rem_engine.media.made_by import MadeBy
from rem_engine.media.numbering import counted
from rem_engine.media.shot import ShotInfo
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.run.picture_job import pictures_to_files

# Beyond ASCII, and longer than the other texts of a header may be.
GRAPH = {
    name: json.dumps({"nodes": [{"text": "der Rauch über 東京 }{" + "x" * 9000}], "kind": name})
    for name in ("prompt", "workflow")
}
FRAMES, SIZE = 2, (32, 48)
KINDS = ("exr", "prores", "webm", "png16", "alpha")


def write(out: Path, made_by: MadeBy) -> dict[str, object]:
    pixels = torch.linspace(0, 1, SIZE[1]).expand(FRAMES, *SIZE)
    frames = (
        Frame(index, alpha[None], plate=grey, linear=grey, alpha=alpha[None])
        for index, (grey, alpha) in enumerate(zip(pixels[..., None].repeat(1, 1, 1, 3), pixels.flip(2)))
    )
    numbering = counted("shot", FRAMES).delivered(start=1001, digits=4)
    info = ShotInfo(*SIZE, Fraction(24))
    return pictures_to_files(frames, out, numbering, ["smoke"], info, DeliverySettings(kinds=KINDS), made_by=made_by)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "out"
    write(folder, MadeBy(prompts={"smoke": "the smoke"}, graph=GRAPH))
    return folder


@pytest.mark.parametrize("kind", ["png16", "alpha"])
def test_pngs_hold_the_graph(out: Path, kind: str) -> None:
    files = sorted((out / "smoke" / kind).iterdir())
    assert len(files) == FRAMES
    for file in files:
        with Image.open(file) as picture:
            texts = picture.text  # type: ignore[attr-defined]
        assert {name: texts[name] for name in GRAPH} == GRAPH
        assert texts["rem/prompt"] == "the smoke"


def test_exrs_hold_the_graph(out: Path) -> None:
    for file in sorted((out / "exr").iterdir()):
        with OpenEXR.File(str(file), header_only=True) as opened:
            header = opened.header()
            assert {name: header[name] for name in GRAPH} == GRAPH


@pytest.mark.parametrize("suffix", ["mov", "webm"])
def test_videos_hold_the_graph(out: Path, suffix: str) -> None:
    with av.open(str(out / "smoke" / f"shot.{suffix}")) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
    assert {name: tags[name] for name in GRAPH} == GRAPH


def test_run_json_says_what_was_written(out: Path) -> None:
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (run["shot"]["frames"], run["shot"]["numbers"], run["shot"]["fps"]) == (FRAMES, "1001-1002", 24.0)
    assert run["prompts"] == [{"prompt": "the smoke", "name": "smoke", "folder": "smoke", "frames": FRAMES}]
    assert sorted(entry["kind"] for entry in run["files"]) == sorted(KINDS)
    assert "smoke/shot.mov" in run["delivery"]["files"] and "exr/shot.1001-1002.exr" in run["delivery"]["files"]


@pytest.mark.parametrize("plate", ["exr", "smoke/shot.mov"])
def test_the_graph_of_a_plate_is_not_that_of_what_is_made_of_it(out: Path, plate: str) -> None:
    with open_shot(out / plate) as shot:
        shot.read(0, 1)
        said = {**shot.attributes(0), **shot.tags}
    assert not [name for name in said if name.lower().rpartition("/")[2] in GRAPH]


def test_what_is_stopped_leaves_whole_frames_and_no_account(tmp_path: Path) -> None:
    def stopped() -> object:
        plane = torch.ones(1, *SIZE)
        yield Frame(0, plane, plate=torch.ones(*SIZE, 3), linear=torch.ones(*SIZE, 3), alpha=plane)
        raise KeyboardInterrupt

    numbering = counted("shot", FRAMES).delivered(start=1001, digits=4)
    with pytest.raises(KeyboardInterrupt, match="Frames written so far are whole"):
        pictures_to_files(
            stopped(),  # type: ignore[arg-type]
            tmp_path,
            numbering,
            ["smoke"],
            ShotInfo(*SIZE),
            DeliverySettings(kinds=("exr", "prores")),
            made_by=MadeBy(),
        )
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [
        "exr/shot.1001.exr"
    ]
    with OpenEXR.File(str(tmp_path / "exr" / "shot.1001.exr"), separate_channels=True) as image:
        assert np.array_equal(image.channels()["smoke.A"].pixels, np.ones(SIZE, np.float16))
