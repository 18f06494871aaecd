"""A finished run is corrected by the masks of a few frames: what changes, what stays to the byte, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from red_model import FRAMES, HEIGHT, NEUTRAL, WIDTH, check_refused, deliver, files_of
from stops import stop_at

import rem_engine.run.correct_job
from rem_engine.commands.cli import main
from rem_engine.metrics import region_similarity

PROMPTS = ("disc: the red disc", "other: the smoke")
EVERYTHING = "soft,masks,alpha,exr"

pytestmark = pytest.mark.usefixtures("fake_model")


def disc(number: int, grow: float = 0.0) -> np.ndarray:
    """What the fixture's frame shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(y - 16, x - 10 - 2 * (number - 1001)) < 8 + grow


def paint(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255 if mask.dtype == bool else mask).save(path)


def correct(out: Path, *options: str, layer: str = "disc") -> int:
    return main(["correct", str(out), "--layer", layer, *options])


def shown(out: Path) -> dict[str, bytes]:
    """What a run shows; its account and what corrections are made from aside."""
    return {name: data for name, data in files_of(out).items() if not name.startswith(".") and name != "run.json"}


def soft_of(out: Path, layer: str = "disc") -> np.ndarray:
    files = sorted((out / layer / "soft").glob("*.png"))
    return np.stack([np.asarray(Image.open(file)) for file in files]) / 65535.0


def turns_of(out: Path) -> list[str]:
    entries = json.loads((out / "run.json").read_text("utf-8")).get("corrections", {})
    return [turn["frames"] for turn in entries.get("disc", [])]


@pytest.fixture
def out(shot: Path, tmp_path: Path) -> Path:
    made = tmp_path / "out"
    assert deliver(shot, made, "--write", EVERYTHING, *NEUTRAL, "--cuts", "10", prompts=PROMPTS) == 0
    return made


def test_the_take_follows_one_mask_and_all_else_keeps_every_byte(out: Path, tmp_path: Path) -> None:
    before = shown(out)
    paint(tmp_path / "fixed" / "plate.1005.png", disc(1005, grow=4.0))
    assert correct(out, "--keys", str(tmp_path / "fixed")) == 0
    after = shown(out)
    assert after.keys() == before.keys()
    of_take = [f"plate.{1001 + place}" for place in range(10)]
    expected = {f"disc/{kind}/{name}.png" for kind in ("soft", "masks", "alpha") for name in of_take}
    expected |= {f"exr/{name}.exr" for name in of_take}
    changed = {name for name, data in after.items() if data != before[name]}
    assert changed <= expected
    assert len(changed) > 0.8 * len(expected)  # black and white masks may come out the same
    soft = soft_of(out)
    np.testing.assert_array_equal(soft[4], disc(1005, grow=4.0))
    truth = np.stack([disc(1001 + place, grow=4.0) for place in range(10)])
    assert region_similarity(soft[:10] > 0.5, truth).mean() > 0.85
    masks = np.asarray(Image.open(out / "disc/masks/plate.1003.png")) > 0
    np.testing.assert_array_equal(masks, soft[2] > 0.5)
    alpha = np.asarray(Image.open(out / "disc/alpha/plate.1003.png")) / 65535.0
    np.testing.assert_allclose(alpha, soft[2], atol=2 / 65535)


@pytest.mark.slow
def test_later_turns_add_to_earlier_ones_and_are_taken_back_one_by_one(out: Path, tmp_path: Path) -> None:
    states, fixed = [shown(out)], tmp_path / "fixed"
    for name, grow in (("plate.1003.png", 2.0), ("plate.1008.png", -2.0), ("plate.1003.png", 4.0)):
        paint(fixed / name, disc(int(name[6:10]), grow))
        assert correct(out, "--keys", str(fixed / name)) == 0
        states.append(shown(out))
    np.testing.assert_array_equal(soft_of(out)[2], disc(1003, 4.0))
    np.testing.assert_array_equal(soft_of(out)[7], disc(1008, -2.0))
    assert turns_of(out) == ["1003", "1008", "1003"]
    for state in states[-2::-1]:
        assert correct(out, "--undo") == 0
        assert shown(out) == state
    assert turns_of(out) == []
    assert correct(out, "--undo") == 2


def test_the_same_masks_given_once_more_change_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "plate.1003.png", disc(1003))
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    before = files_of(out)
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    assert "0 frames" in capsys.readouterr().out
    assert files_of(out) == before


@pytest.mark.slow
def test_segment_with_keys_is_segment_and_correct(shot: Path, out: Path, tmp_path: Path) -> None:
    paint(tmp_path / "fixed" / "plate.1005.png", disc(1005, grow=2.0))
    assert correct(out, "--keys", str(tmp_path / "fixed")) == 0
    other, keys = tmp_path / "other", f"disc={tmp_path / 'fixed'}"
    options = ("--write", EVERYTHING, *NEUTRAL, "--cuts", "10", "--keys", keys)
    for _ in range(2):  # the second time it is there already
        assert deliver(shot, other, *options, prompts=PROMPTS) == 0
        assert shown(other) == shown(out)
        assert turns_of(other) == ["1005"]


@pytest.mark.slow
def test_segmented_again_a_shot_has_no_corrections(shot: Path, out: Path, tmp_path: Path) -> None:
    before = shown(out)
    paint(tmp_path / "plate.1003.png", disc(1003, 3.0))
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    options = ("--write", EVERYTHING, *NEUTRAL, "--cuts", "10")
    assert deliver(shot, out, *options, prompts=PROMPTS) == 0  # is there already, corrections and all
    assert turns_of(out) == ["1003"]
    assert deliver(shot, out, *options, "--again", prompts=PROMPTS) == 0
    assert shown(out) == before
    assert correct(out, "--undo") == 2
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    assert correct(out, "--undo") == 0
    assert shown(out) == before


@pytest.mark.slow
def test_float_masks_and_the_overlay_are_corrected_too(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "npz,overlay", prompts=PROMPTS) == 0
    before = shown(out)
    paint(tmp_path / "plate.1003.png", disc(1003, 3.0))
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    after = shown(out)
    assert {name for name in after if after[name] != before[name]} == {"disc/soft.npz", "overlay.mp4"}
    soft = np.load(out / "disc/soft.npz")["soft"]
    assert soft.shape == (FRAMES, HEIGHT, WIDTH) and soft.dtype == np.float32
    np.testing.assert_array_equal(soft[2], disc(1003, 3.0))
    assert correct(out, "--undo") == 0
    with np.load(out / "disc/soft.npz") as undone:
        assert np.abs(undone["soft"] - soft).max() > 0.1
    assert shown(out)["overlay.mp4"] == before["overlay.mp4"]


@pytest.mark.slow
def test_exclusive_layers_keep_their_id_map_right(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "soft", "--combine", "exclusive", prompts=PROMPTS) == 0
    paint(tmp_path / "plate.1003.png", disc(1003, 3.0))
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    both = np.stack([soft_of(out), soft_of(out, "other")])
    ids = np.stack([np.asarray(Image.open(file)) for file in sorted((out / "ids").glob("*.png"))])
    np.testing.assert_array_equal(ids, np.where(both.max(axis=0) > 0.5, both.argmax(axis=0) + 1, 0))


@pytest.mark.slow
def test_regions_of_the_run_hold_for_what_follows(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "soft", "--hold-out", "0,0,20,33", prompts=PROMPTS) == 0
    paint(tmp_path / "plate.1003.png", disc(1003))
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    soft = soft_of(out)
    np.testing.assert_array_equal(soft[2], disc(1003))
    assert soft[2][:, :20].any()
    assert not np.delete(soft, 2, axis=0)[:, :, :20].any()


@pytest.mark.slow
def test_an_empty_mask_says_that_nothing_is_there(out: Path, tmp_path: Path) -> None:
    for number in (1004, 1008):
        paint(tmp_path / "fixed" / f"plate.{number}.png", np.zeros((HEIGHT, WIDTH), bool))
    assert correct(out, "--keys", str(tmp_path / "fixed")) == 0
    assert soft_of(out)[:10].mean() < 0.02


@pytest.mark.slow
def test_masks_may_be_the_alpha_of_a_picture_or_a_palette(out: Path, tmp_path: Path) -> None:
    white = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    white[..., 3] = disc(1003) * 128
    paint(tmp_path / "alpha" / "roto_1003.png", white)
    assert correct(out, "--keys", str(tmp_path / "alpha")) == 0
    np.testing.assert_allclose(soft_of(out)[2], disc(1003) * 128 / 255, atol=1e-4)
    picture = Image.fromarray(disc(1005).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    (tmp_path / "palette").mkdir()
    picture.save(tmp_path / "palette" / "1005.png")
    assert correct(out, "--keys", str(tmp_path / "palette")) == 0
    np.testing.assert_array_equal(soft_of(out)[4], disc(1005))


def test_suggested_frames_are_written_to_be_painted_over(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown(out)
    assert correct(out, "--suggest", "2") == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.parent for path in paths] == [out / "disc" / "fix"] * 2
    place = int(paths[0].stem[-4:]) - 1001
    np.testing.assert_allclose(np.asarray(Image.open(paths[0])) / 255.0, soft_of(out)[place].clip(0, 1), atol=0.5 / 255)
    paint(paths[0], np.full((HEIGHT, WIDTH), 77, np.uint8))
    assert correct(out, "--suggest", "2") == 0
    assert np.asarray(Image.open(paths[0])).min() == 77  # what was painted stays
    assert {name: data for name, data in shown(out).items() if "/fix/" not in name} == before
    assert correct(out, "--keys", str(out / "disc" / "fix")) == 0
    capsys.readouterr()
    assert correct(out, "--suggest", "2", "--to", str(tmp_path / "to")) == 0
    assert not {path.name for path in paths} & {path.name for path in (tmp_path / "to").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["corrected_take", "MadeAnew"])
def test_a_turn_that_is_stopped_leaves_all_as_it_was(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    before, account = shown(out), (out / "run.json").read_bytes()
    paint(tmp_path / "plate.1003.png", disc(1003, 3.0))
    with stop_at(1, rem_engine.run.correct_job, where):
        assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 130
    assert "is as it was" in capsys.readouterr().err
    assert shown(out) == before
    assert (out / "run.json").read_bytes() == account
    assert correct(out, "--keys", str(tmp_path / "plate.1003.png")) == 0
    np.testing.assert_array_equal(soft_of(out)[2], disc(1003, 3.0))
    assert turns_of(out) == ["1003"]


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("plate.1003.png", (HEIGHT, WIDTH + 1), f"are {WIDTH + 1}x{HEIGHT} and the frames of plate {WIDTH}x{HEIGHT}"),
        ("plate.2003.png", (HEIGHT, WIDTH), "The masks 2003 in"),
        ("star.png", (HEIGHT, WIDTH), "have no numbers that say of which frames they are: name them as the plate's"),
    ],
)
def test_masks_that_are_of_no_frame_get_a_sentence(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, size: tuple[int, int], told: str
) -> None:
    before = files_of(out)
    paint(tmp_path / "fixed" / name, np.zeros(size, bool))
    check_refused(["correct", str(out), "--layer", "disc", "--keys", str(tmp_path / "fixed")], told, capsys)
    assert files_of(out) == before


def test_two_masks_for_one_frame_and_masks_of_all_layers_get_a_sentence(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, command = files_of(out), ["correct", str(out), "--layer", "disc", "--keys"]
    for name in ("plate.1003.png", "plate.1003.tif"):
        paint(tmp_path / "twice" / name, disc(1003))
    check_refused([*command, str(tmp_path / "twice")], "holds one frame twice", capsys)
    paint(tmp_path / "labels" / "1003.png", disc(1003) * np.uint8(2) + (~disc(1003)) * np.uint8(1))
    check_refused([*command, str(tmp_path / "labels")], "numbers of objects", capsys)
    assert files_of(out) == before


def test_what_cannot_be_corrected_gets_a_sentence(
    shot: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(key := tmp_path / "plate.1003.png", disc(1003))
    keys = ["--keys", str(key)]
    check_refused(["correct", str(out), *keys], "has several layers: give --layer with one of disc, other", capsys)
    check_refused(["correct", str(out), "--layer", "disk", *keys], "There is no layer 'disk'", capsys)
    check_refused(["correct", str(out), "--layer", "disc", "--undo"], "has no corrections", capsys)
    check_refused(["correct", str(tmp_path), *keys], "holds no finished run of segment", capsys)
    command = ["segment", str(shot), "-p", "disc: the disc", "-o", str(tmp_path / "new")]
    check_refused([*command, "--keys", str(key)], "name no layer", capsys)
    check_refused([*command, "--keys", f"star={key}"], "There is no layer 'star' to correct", capsys)
    check_refused([*command, "--keys", f"disc={key}", "--write", "overlay"], "write soft, too", capsys)
    check_refused([*command, "--keys", f"disc={tmp_path / 'none.1003.png'}"], "does not exist", capsys)
    assert not (tmp_path / "new").exists()
    moved = shot.rename(tmp_path / "moved")
    check_refused(["correct", str(out), "--layer", "disc", *keys], "give --shot with its path", capsys)
    assert correct(out, *keys, "--shot", str(moved)) == 0
    capsys.readouterr()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(moved / "plate.1001.png")
    check_refused(["correct", str(out), "--layer", "disc", "--undo", "--shot", str(moved)], "is not what", capsys)
