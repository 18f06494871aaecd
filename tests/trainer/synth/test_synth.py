"""Promises of the synthetic shots: exact mattes, honest sentences, held-out combinations, a published layout."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from rem_engine.backbones.load import MINI_FOLDER
from trainer.commands.cli import main
from trainer.synth.backgrounds import procedural
from trainer.synth.processes import RENDERERS
from trainer.synth.scene import Thing, caption, describe, describe_absent, render, sample_shot, sample_things
from trainer.synth.shapes import coverage, outline, placed
from trainer.synth.vocabulary import COLOURS, KINDS, PLACES, PROCESSES, held_out
from trainer.synth.write import read_split, write_split

SHAPE_AREAS = {
    # of a shape of unit radius: polygons by hand, the circle at 0.95 and the ring's hole at 0.52 of the radius
    "circle": np.pi * 0.95**2,
    "ring": np.pi * (1 - 0.52**2),
    "square": (2 * 0.82) ** 2,
    "triangle": 0.5 * 2.1 * 1.85,
    "diamond": 0.5 * 1.44 * 2.4,
    "cross": 2 * (2.1 * 0.76) - 0.76**2,
    "star": 10 * 0.5 * 1.2 * 0.52 * np.sin(np.pi / 5),
}


@pytest.mark.parametrize("kind", SHAPE_AREAS)
def test_coverage_is_the_area_of_the_shape(kind: str) -> None:
    matte = coverage(placed(outline(kind), (32.3, 31.6), 20.0, 0.4), 64, 64)
    assert matte.sum() == pytest.approx(SHAPE_AREAS[kind] * 400, rel=0.02)


def test_coverage_does_not_shift_a_shape() -> None:
    matte = coverage(placed(outline("circle"), (20.25, 40.75), 12.0, 0.0), 64, 64)
    y, x = np.mgrid[:64, :64] + 0.5
    assert (matte * x).sum() / matte.sum() == pytest.approx(20.25, abs=0.06)
    assert (matte * y).sum() / matte.sum() == pytest.approx(40.75, abs=0.06)


def test_frames_are_the_composite_of_background_and_mattes() -> None:
    """Over black and over white, a pixel differs by what no thing covers."""
    things = sample_things(np.random.default_rng(3))
    black = render(things, np.zeros((3, 48, 48, 3), np.float32))
    white = render(things, np.ones((3, 48, 48, 3), np.float32))
    uncovered = 1 - black.mattes.sum(axis=0)
    np.testing.assert_allclose(white.frames - black.frames, uncovered[..., None].repeat(3, -1), atol=1e-5)


def test_a_thing_in_front_takes_its_share_from_the_one_behind() -> None:
    behind = Thing("square", None, (0.5, 0.5), 0.3, 1, "red", "large", "still")
    front = Thing("circle", None, (0.5, 0.5), 0.15, 2, "blue", "medium", "still")
    mattes = render([behind, front], np.zeros((1, 64, 64, 3), np.float32)).mattes[:, 0]
    assert mattes[0, 32, 32] == 0 and mattes[1, 32, 32] == 1
    assert mattes.sum(axis=0).max() <= 1 + 1e-6


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_move_softly_and_at_every_size_alike(name: str) -> None:
    small = RENDERERS[name](np.random.default_rng(5), 48, 48, (0.5, 0.5), 0.3)
    large = RENDERERS[name](np.random.default_rng(5), 96, 96, (0.5, 0.5), 0.3)
    first, later = small(0)[1], small(6)[1]
    assert np.abs(first - later).mean() > 0.002, "it stands still"
    assert ((later > 0.05) & (later < 0.8)).sum() > 20, "its matte is hard"
    assert 0.03 < (later > 0.5).mean() < 0.5
    assert (large(6)[1] > 0.5).mean() == pytest.approx((later > 0.5).mean(), rel=0.35)


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 2, -1), ("right", 2, 1), ("up", 1, -1), ("down", 1, 1)])
def test_motions_go_where_they_say(motion: str, axis: int, sign: int) -> None:
    thing = Thing("square", None, (0.5, 0.5), 0.12, 1, "red", "small", motion)
    mattes = render([thing], np.zeros((9, 64, 64, 3), np.float32)).mattes[0]
    position = np.arange(64)
    centres = [(m.sum(axis=2 - axis) * position).sum() / m.sum() for m in mattes]
    assert (centres[-1] - centres[0]) * sign > 64 * 0.15


def test_growing_grows_and_rotating_keeps_its_area() -> None:
    def areas(motion: str) -> np.ndarray:
        thing = Thing("star", None, (0.5, 0.5), 0.2, 1, "red", "medium", motion)
        return render([thing], np.zeros((9, 64, 64, 3), np.float32)).mattes[0].sum(axis=(1, 2))

    assert areas("growing")[-1] > 2 * areas("growing")[0]
    assert np.ptp(areas("rotating")) < 0.02 * areas("rotating").mean()


def test_unseen_combinations_never_appear_in_seen_shots_and_are_what_unseen_ones_ask_for() -> None:
    for seed in range(60):
        assert not any(t.is_unseen for t in sample_things(np.random.default_rng(seed)))
        shot = sample_shot(np.random.default_rng(seed), procedural, 1, 32, 32, unseen=True)
        assert sum(t.is_unseen for t in shot.things) == 1
        for expression in shot.expressions:
            if expression.target is not None:
                thing = shot.things[expression.target]
                assert thing.is_unseen
                assert thing.is_process or f"{thing.colour} {thing.kind}" in expression.text


def test_every_kind_colour_and_place_is_seen_in_training() -> None:
    assert len(KINDS) >= 6 and len(COLOURS) >= 8 and len(PROCESSES) >= 6
    for kind in KINDS:
        assert sum(held_out(kind, colour) for colour in COLOURS) == 1
    for colour in COLOURS:
        assert sum(held_out(kind, colour) for kind in KINDS) == 1
    for process in PROCESSES:
        assert sum(held_out(process, place) for place in PLACES) == 1


def test_a_sentence_fits_one_thing_only() -> None:
    """Read back word by word: no other thing of the shot has every attribute the sentence names."""
    names = set(KINDS)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        things = sample_things(rng)
        for index, thing in enumerate(things):
            sentence = describe(rng, things, index)
            if sentence is None or thing.is_process:
                continue
            words = set(sentence.split())
            said = {"kind": words & names, "colour": words & set(COLOURS), "size": words & {"small", "large"}}
            fitting = [t for t in things if all(not v or getattr(t, k) in v for k, v in said.items())]
            motions = re.findall(r"moving (?:to the )?(left|right|up|down)", sentence)
            fitting = [t for t in fitting if not motions or t.motion in motions]
            if len(fitting) > 1:  # then place, or standing still, must tell them apart
                assert words & {"at", "on", "in", "standing", "not", "turning", "rotating", "growing"}, sentence
            assert thing in fitting


def test_absent_sentences_name_nothing_that_is_there() -> None:
    for seed, unseen in product(range(40), (False, True)):
        rng = np.random.default_rng(seed)
        things = sample_things(rng, unseen)
        words = describe_absent(rng, things).split()
        for thing in things:
            assert not (thing.kind in words and (thing.is_process or thing.colour in words)), (words, thing)


def test_captions_list_every_thing() -> None:
    things = sample_things(np.random.default_rng(8))
    assert caption(np.random.default_rng(0), things).count(",") == len(things) - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "data"
    write_split(root, 3, 5, procedural, frames=4, height=40, width=56, unseen=False)
    return root


def test_the_layout_is_that_of_refer_youtube_vos(folder: Path) -> None:
    meta = json.loads((folder / "train" / "meta.json").read_text())["videos"]
    spoken = json.loads((folder / "meta_expressions" / "train" / "meta_expressions.json").read_text())["videos"]
    assert len(spoken) == 3 and set(meta) == set(spoken)
    for video, entry in spoken.items():
        assert entry["frames"] == ["00000", "00001", "00002", "00003"]
        for name in entry["frames"]:
            frame = cv2.imread(str(folder / "train" / "JPEGImages" / video / f"{name}.jpg"))
            ids = cv2.imread(str(folder / "train" / "Annotations" / video / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            assert frame.shape == (40, 56, 3) and ids.shape == (40, 56) and ids.dtype == np.uint8
            assert set(np.unique(ids)) <= {0} | {int(i) for i in meta[video]["objects"]}
        for expression in entry["expressions"].values():
            assert expression["exp"] and expression["obj_id"] in meta[video]["objects"]


def test_annotations_are_the_mattes_over_one_half(folder: Path) -> None:
    for entry in read_split(folder):
        for index in range(len(entry.things)):
            paths = sorted((folder / "train" / "alpha" / entry.video / str(index + 1)).glob("*.png"))
            alpha = np.stack([cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in paths])
            assert alpha.dtype == np.uint16
            clear = np.abs(alpha / 65535 - 0.5) > 1e-4
            np.testing.assert_array_equal((entry.ids == index + 1)[clear], (alpha / 65535 > 0.5)[clear])


def test_the_same_seed_writes_the_same_shots(folder: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "again", 3, 5, procedural, frames=4, height=40, width=56, unseen=False)
    for path in folder.rglob("*.*"):
        assert (tmp_path / "again" / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_shots_have_the_size_that_rem_mini_works_at_where_none_is_given(tmp_path: Path) -> None:
    assert main(["synth", "--out", str(tmp_path / "d"), "--count", "1", "--seed", "5", "--frames", "1"]) == 0
    (picture,) = (tmp_path / "d" / "train" / "JPEGImages").rglob("*.jpg")
    assert list(cv2.imread(str(picture)).shape[:2]) == json.loads((MINI_FOLDER / "rem.json").read_text())["size"]


def test_a_folder_that_exists_is_left_alone(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        write_split(folder, 1, 5, procedural, frames=1, height=32, width=32, unseen=False)


def test_a_folder_beside_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "data.partial" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    write_split(tmp_path / "data", 1, 5, procedural, frames=1, height=32, width=32, unseen=False)
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.partial"]


def test_a_stop_leaves_no_folder(tmp_path: Path) -> None:
    def stopping(*_: object) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path / "data", 1, 5, stopping, frames=1, height=32, width=32, unseen=False)
    assert not list(tmp_path.iterdir())
