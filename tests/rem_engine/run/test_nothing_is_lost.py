"""What stands in OUT outlives runs that are refused, fail, are stopped or killed; what no run wrote is not theirs."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed import changes_of, killed_at
from PIL import Image
from progress_log import Cancel, Cancelled
from red_model import FRAMES, HEIGHT, NEUTRAL, WIDTH, RedBackbone, deliver, files_of
from stops import stop_at

import rem_engine.run.folder
from rem_engine import Segmenter, SegmentJob, segment_to_files
from rem_engine.commands.cli import main
from rem_engine.layers import parse_layers
from rem_engine.media import open_shot
from rem_engine.run.layout import KINDS

STAR = ("the red star",)

pytestmark = pytest.mark.usefixtures("fake_model")


def star(shot: Path, out: Path, *options: str) -> int:
    return deliver(shot, out, *options, prompts=STAR)


def layers_of(out: Path) -> list[str]:
    return [prompt["name"] for prompt in json.loads((out / "run.json").read_text("utf-8"))["prompts"]]


# ---- what is refused or fails


@pytest.mark.parametrize("fault", ["cuts", "first frame", "later frame", "model", "checkpoint", "seed"])
def test_a_run_that_fails_leaves_an_earlier_one_to_the_byte(shot: Path, tmp_path: Path, fault: str) -> None:
    out = tmp_path / "out"
    assert star(shot, out) == 0
    before = files_of(out)
    options = {
        "cuts": ("--cuts", "5000"),
        "model": ("--model", "nowhere"),
        "checkpoint": ("--checkpoint", "nowhere.pth"),
        "seed": ("--seed", "-1"),
    }
    if "frame" in fault:
        broken = shot / ("plate.1001.png" if fault == "first frame" else "plate.1010.png")
        broken.write_bytes(broken.read_bytes()[:-40])
    assert star(shot, out, "--threshold", "0.4", *options.get(fault, ())) == 2
    after = {name: data for name, data in files_of(out).items() if not name.startswith(".unfinished")}
    assert after == before


def test_a_first_mask_in_colour_leaves_earlier_mattes_to_the_byte(shot: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "out", tmp_path / "car"
    masks.mkdir()
    for number in range(FRAMES):
        Image.new("L", (WIDTH, HEIGHT), 255 - 9 * number).save(masks / f"{1001 + number}.png")
    assert main(["matte", str(shot), "--masks", str(masks), "-o", str(out), "--write", "alpha,exr"]) == 0
    before = files_of(out)
    Image.new("RGB", (WIDTH, HEIGHT), (250, 20, 20)).save(masks / "1001.png")
    assert main(["matte", str(shot), "--masks", str(masks), "-o", str(out), "--write", "alpha,exr"]) == 2
    assert files_of(out) == before


def test_a_refused_run_makes_no_folder(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    assert star(shot, out, "--model", "nowhere") == 2
    assert star(shot, out, "--checkpoint", "nowhere.pth") == 2
    assert not (tmp_path / "a").exists()


# ---- what stays beside a run


def test_another_prompt_leaves_the_first_ones_layer_and_run_json_lists_both(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert star(shot, out, "--write", "masks,soft") == 0
    before = {name: data for name, data in files_of(out).items() if name != "run.json"}
    assert deliver(shot, out, "--write", "masks,soft", prompts=("the smoke",)) == 0
    assert before.items() <= files_of(out).items()
    assert layers_of(out) == ["the_smoke", "the_red_star"]
    run = json.loads((out / "run.json").read_text("utf-8"))
    texts = {prompt["name"]: prompt["prompt"] for prompt in run["prompts"]}
    assert texts == {"the_smoke": "the smoke", "the_red_star": "the red star"}
    (earlier,) = run["earlier"]
    assert earlier["settings"]["write"] == ["masks", "soft"]
    assert earlier["files"] == [
        {
            "kind": kind,
            "layer": "the_red_star",
            "shot": "plate",
            "separator": ".",
            "digits": 4,
            "frames": "1001-1014",
        }
        for kind in ("masks", "soft")
    ]
    # Both are layers of the run that `matte` takes.
    assert main(["matte", str(shot), "--masks", str(out), "-o", str(tmp_path / "mattes")]) == 0
    assert layers_of(tmp_path / "mattes") == ["the_smoke", "the_red_star"]


def test_a_replaced_run_is_listed_no_longer(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert star(shot, out, "--write", "masks,exr") == 0
    assert star(shot, out, "--write", "masks,exr", "--threshold", "0.4") == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert run["earlier"] == [] and run["settings"]["threshold"] == 0.4
    assert star(shot, out, "--write", "masks") == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert [[files["kind"] for files in earlier["files"]] for earlier in run["earlier"]] == [["exr"]]


def test_a_mask_painted_by_hand_stays(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    painted = out / "the_red_star" / "masks" / "plate.1001.png"
    painted.parent.mkdir(parents=True)
    Image.new("L", (WIDTH, HEIGHT), 200).save(painted)
    mine = painted.read_bytes()
    assert star(shot, out, "--write", "alpha") == 0
    assert painted.read_bytes() == mine
    before = files_of(out)
    capsys.readouterr()
    assert star(shot, out, "--write", "masks") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {painted} is of no run in {out}") and "--overwrite" in said
    assert files_of(out) == before
    assert star(shot, out, "--write", "masks", "--overwrite") == 0
    assert painted.read_bytes() != mine and len(list(painted.parent.iterdir())) == FRAMES


def test_frames_of_somebody_elses_sequence_are_not_mixed_with_a_runs(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stray = out / "exr" / "plate.0007.exr"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"mine")
    assert star(shot, out, "--write", "exr", *NEUTRAL) == 2
    assert files_of(out) == {"exr/plate.0007.exr": b"mine"}


@pytest.mark.parametrize(
    "content",
    [
        b"mine",
        b"[]",
        b'{"prompts": 3}',
        b"\xff\xfe",
        b'{"prompts": [], "files": [{}]}',
        b'{"prompts": [], "files": [{"kind": []}]}',
        b'{"prompts": [], "layers": 3}',
    ],
)
@pytest.mark.parametrize("name", ["run.json", ".unfinished.json"])
def test_a_file_that_is_no_account_is_not_replaced(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(content)
    assert star(shot, out, "--write", "masks") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"{out / name} is damaged or another program's" in said[0]
    assert files_of(out) == {name: content}
    assert star(shot, out, "--write", "masks", "--overwrite") == 0


def test_a_stopped_run_of_an_older_version_is_told_from_damage(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [{"name": "smoke", "folder": "smoke"}]
    state = {"fingerprint": "c0fe", "prompts": layers, "delivery": {"name": "plate"}, "frames_done": 4, "delivered": 4}
    (tmp_path / ".unfinished.json").write_text(json.dumps(state | {"pixels": [789], "seconds": {}, "notes": {}}))
    assert star(shot, tmp_path, "--write", "masks") == 2
    assert "is of a run that version 0.1 was stopped in" in capsys.readouterr().err
    assert star(shot, tmp_path, "--write", "masks", "--overwrite") == 0


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "masks", "layer": "../../else", "first": 0, "count": 9, "digits": 5},
        {"kind": "masks", "layer": "..", "first": 0, "count": 9, "digits": 5},
        {"kind": "exr", "shot": "../else/plate", "first": 0, "count": 9, "digits": 5},
        {"kind": "masks", "layer": "a", "first": 0, "count": 9, "digits": 10**9},
        {"kind": "masks", "layer": "a", "first": -1, "count": "9", "digits": 5},
        {"kind": "secrets", "layer": "a"},
        3,
    ],
)
def test_no_account_leads_out_of_out(shot: Path, tmp_path: Path, entry: Any) -> None:
    out = tmp_path / "out"
    (tmp_path / "else").mkdir()
    out.mkdir()
    (out / "run.json").write_text(json.dumps({"prompts": [], "files": [entry]}))
    assert star(shot, out) == 2
    staged = {"prompts": [], "files": [], "progress": {"staging": "../else"}}
    (out / "run.json").unlink()
    (out / ".unfinished.json").write_text(json.dumps({"runs": [staged]}))
    assert star(shot, out) == 2
    assert (tmp_path / "else").is_dir()


def as_version_0_1(out: Path) -> None:
    """Make a run's masks and run.json what version 0.1 left: masks counted from 0, and no list of files."""
    run = json.loads((out / "run.json").read_text("utf-8"))
    for name in ("files", "earlier", "layers", "fingerprint", "plate"):
        del run[name]
    run["settings"]["delivery"] |= {"start": 1001, "padding": 4}
    (out / "run.json").write_text(json.dumps(run))
    for folder in out.glob("*/[ms][ao][sf][kt]*"):
        for place, file in enumerate(sorted(folder.iterdir())):
            file.rename(file.with_name(f"{place:05}.png"))


def test_a_run_of_version_0_1_is_replaced_by_its_settings(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert star(shot, out, "--write", "masks,exr", *NEUTRAL) == 0
    as_version_0_1(out)
    assert star(shot, out, "--write", "masks,exr", "--threshold", "0.4", *NEUTRAL) == 0
    names = [f"plate.{number}.png" for number in range(1001, 1001 + FRAMES)]
    assert sorted(file.name for file in (out / "the_red_star" / "masks").iterdir()) == names


def test_masks_of_version_0_1_lie_on_the_frames_they_were_made_of(shot: Path, tmp_path: Path) -> None:
    out, later = tmp_path / "out", {}
    assert star(shot, out, "--write", "masks,soft") == 0
    for name in ("now", "then"):
        assert main(["matte", str(shot), "--masks", str(out), "-o", str(tmp_path / name)]) == 0
        later[name] = files_of(tmp_path / name / "the_red_star" / "alpha")
        if name == "now":
            as_version_0_1(out)
    assert (out / "the_red_star" / "soft" / "00000.png").exists()
    assert later["then"] == later["now"] and len(later["now"]) == FRAMES


def test_masks_of_another_shot_replace_a_layers_masks_and_none_of_its_mattes(shot: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(shot, other)
    for file in other.iterdir():
        file.rename(file.with_name(file.name.replace("plate.", "sh020_")))
    assert star(shot, out, "--write", "masks,alpha") == 0
    assert star(other, out, "--write", "masks,alpha") == 0
    layer = out / "the_red_star"
    assert {file.name[:6] for file in (layer / "masks").iterdir()} == {"sh020_"}
    assert {file.name[:6] for file in (layer / "alpha").iterdir()} == {"sh020_", "plate."}


# ---- the same again


def test_a_run_that_is_there_says_so_and_does_nothing(
    shot: Path, tmp_path: Path, fake_model: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert star(shot, out) == 0
    assert deliver(shot, out, "--write", "soft", prompts=("the smoke",)) == 0  # does not matter to the first
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert star(shot, out) == 0
    captured = capsys.readouterr()
    assert (
        captured.out
        == f"{out} holds this run already, whole and of the same shot: nothing was done. --again does it anew.\n"
    )
    assert len(fake_model) == 2 and {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    assert star(shot, out, "--again") == 0
    assert len(fake_model) == 3
    (out / "the_red_star" / "masks" / "plate.1004.png").unlink()
    assert star(shot, out) == 0
    assert len(fake_model) == 4 and (out / "the_red_star" / "masks" / "plate.1004.png").exists()


def test_mattes_that_are_there_are_not_made_twice(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masked, out = tmp_path / "masked", tmp_path / "out"
    assert star(shot, masked, "--write", "soft") == 0
    command = ["matte", str(shot), "--masks", str(masked), "-o", str(out)]
    assert main(command) == 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert main(command) == 0
    assert "nothing was done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    assert main([*command, "--again"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} != times
    # A changed mask is another run.
    changed = masked / "the_red_star" / "soft" / "plate.1005.png"
    Image.new("I;16", (WIDTH, HEIGHT)).save(changed)
    capsys.readouterr()
    assert main(command) == 0
    assert "nothing was done" not in capsys.readouterr().out


# ---- going on


@pytest.mark.parametrize("frame", [0, 7, FRAMES - 1])
def test_a_plate_of_the_same_size_and_time_but_other_content_is_refused_not_mixed(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frame: int
) -> None:
    out, file = tmp_path / "out", shot / f"plate.{1001 + frame}.png"
    with stop_at(9, rem_engine.run.folder, "mask_png"):
        assert star(shot, out) == 130
    stopped = files_of(out)
    stat = file.stat()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(file)
    with open(file, "ab") as end:  # decoders stop at the last chunk
        end.write(b"\0" * (stat.st_size - file.stat().st_size))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    capsys.readouterr()
    assert star(shot, out) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "The shot is not what it was when the run in" in said[0] and "--again" in said[0]
    assert files_of(out) == stopped
    assert star(shot, out, "--again") == 0
    assert star(shot, tmp_path / "fresh") == 0
    for name, fresh in files_of(tmp_path / "fresh").items():
        assert name == "run.json" or files_of(out)[name] == fresh, name


def test_a_stopped_run_over_an_earlier_one_leaves_it_and_goes_on(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "out", ("--threshold", "0.4", "--write", "masks,soft,overlay,exr")
    assert star(shot, out, "--write", "masks,soft,overlay,exr") == 0
    before = files_of(out)
    with stop_at(9, rem_engine.run.folder, "mask_png"):
        assert star(shot, out, *options) == 130
    assert "The files that were there before are as they were." in capsys.readouterr().err
    assert before.items() <= files_of(out).items()
    assert star(shot, out, *options) == 0
    assert "Going on at frame" in capsys.readouterr().err
    assert star(shot, tmp_path / "fresh", *options) == 0
    same_but_for_the_account(out, tmp_path / "fresh")


def same_but_for_the_account(out: Path, fresh: Path) -> None:
    found, expected = files_of(out), files_of(fresh)
    assert set(found) == set(expected)
    assert [name for name in found if name != "run.json" and found[name] != expected[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_run_killed_at_a_random_moment_over_an_earlier_one_loses_nothing(
    shot: Path, tmp_path: Path, seed: int
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    write = ("--write", "masks,soft,npz,overlay,exr,prores", *NEUTRAL)
    assert deliver(shot, out, *write, prompts=("the smoke",)) == 0  # of which masks and soft stay
    assert star(shot, out, *write) == 0
    for number in range(9, FRAMES):
        (shot / f"plate.{1001 + number}.png").unlink()  # so that frames are removed, too
    before = files_of(out)
    assert star(shot, fresh, *write) == 0
    copied = tmp_path / "copied"
    subprocess.run(["cp", "-r", str(out), str(copied)], check=True)
    # The last third of all changes are those in which files take their places.
    changes = changes_of(copied, lambda: star(shot, copied, *write))
    moment = random.Random(seed).randint(1, changes) if seed % 2 else random.Random(seed).randint(changes // 2, changes)
    assert killed_at(moment, out, lambda: star(shot, out, *write))
    left = files_of(out)
    if "run.json" in left and left["run.json"] == before["run.json"]:
        assert before.items() <= left.items()
    elif "run.json" in left:
        whole = {name: data for name, data in files_of(fresh).items() if name != "run.json"}
        assert whole.items() <= left.items()
    else:
        assert ".unfinished.json" in left
    assert star(shot, out, *write) == 0
    done, expected = files_of(out), files_of(fresh)
    kept = {name: data for name, data in before.items() if name.startswith("the_smoke/")}
    assert set(done) == {*expected, *kept}
    assert [name for name in kept if done[name] != kept[name]] == []
    different = [name for name in expected if done[name] != expected[name]]
    assert set(different) <= {"run.json", "the_red_star/plate.mov", "the_red_star/soft.npz"}  # these note the time
    assert layers_of(out) == ["the_red_star", "the_smoke"]


def test_a_host_run_that_is_cancelled_leaves_nothing_hidden(shot: Path, tmp_path: Path) -> None:
    for write in (("soft", "exr"), ("npz", "prores")):
        out = tmp_path / write[0]
        with open_shot(shot) as frames, pytest.raises(Cancelled):
            job = SegmentJob(out, parse_layers(["the smoke"]), write=write)
            segment_to_files(Segmenter(RedBackbone()), frames, job, progress=Cancel("frames", 6))
        assert not list(out.rglob(".*"))
    assert (tmp_path / "soft" / "the_smoke" / "soft" / "plate.1004.png").exists()


# ---- the overlay


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        "masks,soft,overlay",
        pytest.param("masks,overlay", marks=pytest.mark.thorough),
        pytest.param("npz,overlay", marks=pytest.mark.thorough),
    ],
)
def test_overlays_of_two_runs_and_of_one_that_was_stopped_are_equal_to_the_byte(tmp_path: Path, write: str) -> None:
    plate = tmp_path / "plate"
    plate.mkdir()
    rng = np.random.default_rng(5)
    ground = np.asarray(Image.fromarray(rng.integers(0, 200, (45, 80, 3), np.uint8)).resize((640, 360), 3)).copy()
    y, x = np.mgrid[:360, :640]
    for number in range(40):
        frame = np.roll(ground, 3 * number, axis=1)
        frame[np.hypot(y - 180, x - 80 - 10 * number) < 60] = (230, 30, 20)
        Image.fromarray(frame).save(plate / f"plate.{1001 + number}.png")
    for name in ("one", "two"):
        assert star(plate, tmp_path / name, "--write", write) == 0
    with stop_at(23, rem_engine.run.folder.RunFolder, "write_frame"):
        assert star(plate, tmp_path / "stopped", "--write", write) == 130
    assert star(plate, tmp_path / "stopped", "--write", write) == 0
    one, two, stopped = (KINDS["overlay"].path(tmp_path / name).read_bytes() for name in ("one", "two", "stopped"))
    assert one == two
    assert one == stopped
