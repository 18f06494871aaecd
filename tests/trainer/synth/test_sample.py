"""The shipped shot is what its listing says, its exact mattes are those of what is seen in it, and runs are scored by
them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rem_engine.media import open_shot
from rem_engine.media.writing import mask_png
from rem_engine.pixels import to_uint8
from tests.rem_engine.red_model import deliver
from trainer.commands.cli import main
from trainer.synth.rich.meaning import Match, Query, match
from trainer.synth.sample import SHIPPED, composition, exact_mattes, target_matte

LISTED = json.loads(SHIPPED.with_suffix(".json").read_text("utf-8"))


def test_the_listing_is_of_the_shot() -> None:
    assert SHIPPED.stat().st_size < 2_000_000
    with open_shot(SHIPPED) as shot:
        assert [shot.height, shot.width] == LISTED["size"] == [360, 640]
        assert shot.frame_count == LISTED["frames"] == 72
        assert shot.fps == LISTED["rate"] == 24
    sentences = {e.text: len(e.targets) for e in composition(LISTED["seed"]).expressions}
    told = LISTED["prompts"] | LISTED["not_found"]
    assert {text: len(entry["names"]) for text, entry in told.items()} == sentences
    assert "CC BY" in LISTED["licence"] and "Big Buck Bunny" in LISTED["plate"]
    assert all(entry["J"] >= 0.6 for entry in LISTED["prompts"].values())
    assert all(entry["J"] < 0.6 for entry in LISTED["not_found"].values())


@pytest.mark.parametrize("seed", range(8))
def test_sentences_name_what_they_are_said_to_name(seed: int) -> None:
    """And nothing else; that a star which stands still does not turn is more than the world's own words are sure of."""
    made = composition(seed)
    told = {e.text: e.targets for e in made.expressions}
    other = next(thing.colour for thing in made.things if thing.motion == "rotating")
    queries = {
        "the smoke": Query("smoke"),
        "the steam": Query("steam"),
        "the red star": Query("star", ("red",)),
        f"the {other} star": Query("star", (str(other),)),
        "the star that turns": Query("star", motion="rotating"),
        "both stars": Query("star"),
        "the orange circle": Query("circle", ("orange",)),
    }
    for text, query in queries.items():
        found = [match(made.things, query, index) is Match.YES for index in range(len(made.things))]
        assert told[text] == tuple(np.flatnonzero(found)), text
    assert told.keys() == queries.keys()
    assert not any(thing.is_unseen for thing in made.things)


def test_exact_mattes_are_those_of_what_is_seen() -> None:
    """By colours of the encoded picture: red and orange fill their mattes, and are nowhere else round them."""
    mattes = exact_mattes(frames=3)
    with open_shot(SHIPPED) as shot:
        frames = to_uint8(shot.read(0, 3)).astype(np.int64)
    red, green, blue = np.moveaxis(frames, -1, 0)
    looks = {
        "the red star": (red > 150) & (green < 110) & (blue < 110),
        "the orange circle": (red > 180) & (green > 80) & (green < 190) & (blue < 90),
    }
    for expression in composition().expressions:
        if expression.text not in looks:
            continue
        matte, seen = target_matte(mattes, expression), looks[expression.text]
        inside = np.stack([cv2.erode((frame > 0.99).astype(np.uint8), np.ones((5, 5))) for frame in matte]) > 0
        reach = np.stack([cv2.dilate((frame > 0).astype(np.uint8), np.ones((5, 5))) for frame in matte]) > 0
        near = np.stack([cv2.dilate(frame.astype(np.uint8), np.ones((25, 25))) for frame in reach]) > 0
        assert inside.sum() > 7_000
        assert seen[inside].mean() > 0.98, expression.text
        assert seen[near & ~reach].mean() < 0.05, expression.text


@pytest.mark.thorough
def test_the_masks_of_a_run_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact masks at 1; masks of which every second frame is empty at a half; what there is no matte of is left out."""
    prompts = ("the red star", "circle: the orange circle", "the elephant")
    assert deliver(SHIPPED, tmp_path / "out", "--write", "masks", prompts=prompts) == 0
    mattes, asked = exact_mattes(), {e.text: e for e in composition().expressions}
    for folder, text in (("the_red_star", "the red star"), ("circle", "the orange circle")):
        files = sorted((tmp_path / "out" / folder / "masks").iterdir())
        for index, (file, matte) in enumerate(zip(files, target_matte(mattes, asked[text]), strict=True)):
            shown = matte > 0.5 if folder == "circle" or index % 2 else np.zeros(matte.shape, bool)
            file.write_bytes(mask_png(shown))
    capsys.readouterr()
    assert main(["score", "--run", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out) == {"the red star": 0.5, "the orange circle": 1.0}


def test_what_cannot_be_scored_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--run", str(tmp_path)]) != 0
    assert "segment the shot first" in capsys.readouterr().err
    assert main(["sample", "--rank", "1-3"]) != 0
    assert "give --clip" in capsys.readouterr().err
    assert main(["sample", "--out", str(tmp_path / "none.mp4")]) != 0
    assert "give --clip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--seed", "5", "--out", "shot.mp4"], "--seed says how a shot is rendered: give --clip, too."),
        (["--out", "shot.json"], "shot.json is where the list goes: name a video by --out"),
        (["--clip", "nowhere.mp4", "--out", "new.mp4"], "nowhere.mp4 is not there"),
        (["--clip", "shot.mp4", "--out", "shot.mov"], "shot.json is there already: name another --out"),
    ],
)
def test_nothing_is_rendered_or_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("shot.mp4", "shot.json"):
        Path(name).write_text("kept")
    assert main(["sample", *given]) == 2
    assert told in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shot.json", "shot.mp4"]
    assert {Path(name).read_text() for name in ("shot.mp4", "shot.json")} == {"kept"}
