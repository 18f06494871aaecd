"""`--write shapes` puts files of shapes beside the others, whole or not at all, and says what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_shots import HEIGHT, WIDTH, circle, matte_of, similarity, star, turned, unturned
from red_model import NEUTRAL, check_refused, files_of, segment
from stops import stop_at

from rem_engine.commands.cli import main
from rem_engine.run.delivery import Delivery
from rem_engine.shapes import rasterised, read_shapes
from rem_engine.shapes.maker import ShapeMaker

FRAMES = 10
SUFFIXES = ("blender.py", "fxs", "jsx", "nk", "shapes.json")


@pytest.fixture
def star_shot(tmp_path: Path) -> tuple[Path, Path, list[np.ndarray]]:
    """(plate, folder of masks, mattes) of a textured star that turns over a textured ground, frames 1001 and on."""
    rng = np.random.default_rng(3)
    ground, own = (cv2.GaussianBlur(rng.random((256, 256, 3)).astype(np.float32), (0, 0), 2) for _ in range(2))
    ground, own = ((texture - texture.mean()) * 6 + colour for texture, colour in ((ground, 0.35), (own, 0.65)))
    plate, masks = tmp_path / "plate", tmp_path / "masks"
    plate.mkdir()
    masks.mkdir()
    places = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    mattes = [matte_of(turned(star(), t)) for t in range(FRAMES)]
    for t, matte in enumerate(mattes):
        there = (unturned(places, t) + 128).astype(np.float32)
        thing = cv2.remap(own, there, None, cv2.INTER_LINEAR)
        picture = ground[:HEIGHT, :WIDTH] * (1 - matte[..., None]) + thing * matte[..., None]
        cv2.imwrite(str(plate / f"sh010.{1001 + t}.png"), (picture.clip(0, 1) * 255).round().astype(np.uint8))
        cv2.imwrite(str(masks / f"m.{1001 + t}.png"), (matte * 65535).round().astype(np.uint16))
    return plate, masks, mattes


def matte(star_shot: tuple, out: Path, *options: str) -> int:
    plate, masks, _ = star_shot
    given = ["--masks", f"star={masks}", "-o", str(out), "--write", "shapes", *NEUTRAL, *options]
    return main(["matte", str(plate), *given])


def test_mattes_are_delivered_as_shapes_under_the_plates_numbers(
    star_shot: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert matte(star_shot, out) == 0
    assert sorted(path.name for path in (out / "star").iterdir()) == [f"sh010.{suffix}" for suffix in SUFFIXES]
    said = capsys.readouterr()
    assert "star: 1 shape, " in said.err and "keys, at most" in said.err
    assert len(said.out.splitlines()) == len(SUFFIXES)
    shapes = read_shapes(out / "star" / "sh010.shapes.json")
    assert shapes.numbers == tuple(range(1001, 1001 + FRAMES))
    (shape,) = shapes.shapes
    assert len(shape.keys) <= 4
    found = [similarity(rasterised(shapes, index), matte) for index, matte in enumerate(star_shot[2])]
    assert np.mean(found) > 0.96
    run = json.loads((out / "run.json").read_text("utf-8"))
    told = run["shapes"]["star"]
    assert (told["shapes"], told["keys"], told["vertices"], told["soft"]) == (
        1,
        len(shape.keys),
        shape.vertices,
        False,
    )
    assert run["settings"]["delivery"]["shapes"]["shape_tolerance"] == 1.0
    assert len(run["files"]) == len(SUFFIXES)
    assert matte(star_shot, out) == 0
    assert "nothing was done" in capsys.readouterr().out


def test_a_take_that_is_given_ends_shapes(star_shot: tuple, tmp_path: Path) -> None:
    assert matte(star_shot, tmp_path / "out", "--cuts", "6", "--shape-keys", "every", "--name", "other") == 0
    shapes = read_shapes(tmp_path / "out" / "star" / "other.shapes.json").shapes
    assert [(shape.first, shape.last) for shape in shapes] == [(0, 5), (6, 9)]
    assert [len(shape.keys) for shape in shapes] == [6, 4]


def test_an_empty_layer_gets_files_without_shapes_and_a_sentence(
    star_shot: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in star_shot[1].iterdir():
        cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint16))
    assert matte(star_shot, tmp_path / "out") == 0
    assert "The mattes of star have no outline, so that its files hold no shapes" in capsys.readouterr().err
    assert read_shapes(tmp_path / "out" / "star" / "sh010.shapes.json").shapes == ()
    assert (tmp_path / "out" / "star" / "sh010.nk").read_text("utf-8").count("{") == (
        tmp_path / "out" / "star" / "sh010.nk"
    ).read_text("utf-8").count("}")


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "call"), [(Delivery, "write"), (ShapeMaker, "finish")])
def test_what_stops_a_run_leaves_the_shapes_of_an_earlier_one(
    star_shot: tuple, tmp_path: Path, owner: Any, call: str
) -> None:
    out = tmp_path / "out"
    assert matte(star_shot, out) == 0
    before = files_of(out)
    with stop_at(1, owner, call):
        assert matte(star_shot, out, "--shape-keys", "every") == 130
    assert files_of(out) == before
    assert matte(star_shot, out, "--shape-keys", "every") == 0
    assert files_of(out)["star/sh010.shapes.json"] != before["star/sh010.shapes.json"]


def test_settings_of_shapes_that_cannot_be_are_refused(star_shot: tuple, capsys: pytest.CaptureFixture[str]) -> None:
    plate, masks, _ = star_shot
    arguments = ["matte", str(plate), "--masks", str(masks), "-o", str(masks.parent / "out"), "--write", "shapes"]
    sentence = "A tolerance of shapes of 0 pixels is not possible; give 0.05 to 100 pixels."
    check_refused([*arguments, "--shape-tolerance", "0"], sentence, capsys)


@pytest.mark.slow
def test_a_stopped_run_of_the_model_makes_shapes_of_all_frames(
    shot: Path, tmp_path: Path, fake_model: list[dict[str, Any]]
) -> None:
    options = ("--write", "soft,shapes", "--shape-area", "16", "--refine", "0")
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert segment(shot, once, *options) == 0
    with stop_at(9, Delivery, "write"):
        assert segment(shot, twice, *options) == 130
    assert not list(twice.rglob("*.nk"))
    assert segment(shot, twice, *options) == 0
    made = {name: data for name, data in files_of(once).items() if name.endswith(SUFFIXES)}
    assert len(made) == 2 * len(SUFFIXES)
    assert {name: data for name, data in files_of(twice).items() if name.endswith(SUFFIXES)} == made


def test_a_disc_that_stands_still_is_the_same_in_every_program(star_shot: tuple, tmp_path: Path) -> None:
    disc = (matte_of(circle((80, 60), 30)) * 65535).round().astype(np.uint16)
    for path in star_shot[1].iterdir():
        cv2.imwrite(str(path), disc)
    assert matte(star_shot, tmp_path / "out", "--shape-vertices", "8") == 0
    (shape,) = read_shapes(tmp_path / "out" / "star" / "sh010.shapes.json").shapes
    assert shape.keys == (0, FRAMES - 1)
    assert shape.vertices <= 8
