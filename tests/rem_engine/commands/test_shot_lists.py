"""Lists of shots: each line done with its own prompts and settings, one model for all, whatever the others do."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rem_engine.commands.cli import main
from rem_engine.run.batch import share_of
from rem_engine.run.shot_list import read_list

EDITS = importlib.util.find_spec("opentimelineio") is not None
needs_edits = pytest.mark.skipif(not EDITS, reason="opentimelineio is not installed")
EDL = """TITLE: CUT
FCM: NON-DROP FRAME

001  A001C001 V     C        00:00:01:04 00:00:01:10 00:00:00:00 00:00:00:06
* FROM CLIP NAME: sh010
002  BL       V     C        00:00:00:00 00:00:01:00 00:00:00:06 00:00:01:06
003  AX       V     C        00:00:00:00 00:00:02:00 00:00:01:06 00:00:03:06
004  A002C003 V     C        00:00:00:02 00:00:00:05 00:00:03:06 00:00:03:09
* FROM CLIP NAME: sh020
"""


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    """Two sequences: sh010, 20 frames from 24 on (a second, as timecode counts), and sh020, 8 from 1001 on."""
    rng = np.random.default_rng(0)
    for name, numbers in (("sh010", range(24, 44)), ("sh020", range(1001, 1009))):
        (tmp_path / "plates" / name).mkdir(parents=True)
        for number in numbers:
            picture = rng.integers(0, 255, (33, 47, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "plates" / name / f"{name}.{number:04d}.png"), picture)
    return tmp_path / "plates"


def write_list(file: Path, *rows: dict[str, str]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
        table.writeheader()
        table.writerows(rows)
    return file


def table_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "batch.csv").open(encoding="utf-8") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def frames_in(out: Path, kind: str = "*/soft") -> list[str]:
    return sorted({path.stem.split(".")[-1] for path in out.glob(f"{kind}/*.png")})


def test_each_line_has_its_own_prompts_frames_and_settings_and_one_failure_stops_nothing(
    plates: Path, tmp_path: Path, fake_model: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        {"shot": "plates/sh010", "prompt": "smoke: x", "prompt 2": "car: the car", "frames": "30-35", "handles": "2"},
        {"shot": "plates/nowhere", "prompt": "", "frames": ""},
        {"shot": "plates/sh020", "name": "take two", "threshold": "0.3", "keep aspect": "on", "overlap": "1"},
        {"shot": "plates/sh020", "name": "bad", "smooth": "plenty"},
    )  # fmt: skip
    file, out = write_list(tmp_path / "shots.csv", *rows), tmp_path / "out"
    assert main(["batch", str(file), "-o", str(out), "-p", "the red thing", "--write", "soft"]) == 2
    assert len(fake_model) == 1  # loaded once, though settings differ
    table = table_of(out)
    assert [*table] == ["sh010", "nowhere", "take_two", "bad"]
    assert [row["state"] for row in table.values()] == ["done", "failed", "done", "failed"]
    assert "does not exist" in table["nowhere"]["said"]
    assert "In the line of bad: argument --smooth: invalid int value: 'plenty'" in table["bad"]["said"]
    assert {path.name for path in (out / "sh010").iterdir() if path.is_dir()} == {"smoke", "car"}
    assert frames_in(out / "sh010") == [f"{number:04d}" for number in range(28, 38)]
    assert frames_in(out / "take_two", "the_red_thing/soft") == [str(number) for number in range(1001, 1009)]
    said = json.loads((out / "take_two" / "run.json").read_text("utf-8"))["settings"]
    assert (said["threshold"], said["keep_aspect"], said["overlap"]) == (0.3, True, 1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    capsys.readouterr()
    assert main(["batch", str(file), "-o", str(out), "-p", "the red thing", "--write", "soft"]) == 2
    assert [row["state"] for row in table_of(out).values()] == ["there", "failed", "there", "failed"]
    assert [row["frames"] for row in table_of(out).values()] == ["10", "0", "8", "0"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before


@pytest.mark.usefixtures("fake_model")
def test_a_list_that_was_stopped_goes_on_within_the_shot(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rem_engine.run.folder import RunFolder

    file = write_list(tmp_path / "shots.csv", {"shot": "plates/sh020"}, {"shot": "plates/sh010"})
    arguments = ["batch", str(file), "-o", str(tmp_path / "out"), "-p", "the smoke", "--write", "soft"]
    write, written = RunFolder.write_frame, list[int]()

    def stopping(self: RunFolder, *given: Any) -> None:
        if len(written) == 15:
            raise KeyboardInterrupt
        written.append(self.frames_done)
        write(self, *given)

    monkeypatch.setattr(RunFolder, "write_frame", stopping)
    assert main(arguments) == 130
    written.clear()
    monkeypatch.setattr(
        RunFolder, "write_frame", lambda self, *given: (written.append(self.frames_done), write(self, *given))
    )
    assert main(arguments) == 0
    assert written == list(range(7, 20))
    assert [row["state"] for row in table_of(tmp_path / "out").values()] == ["there", "done"]


@needs_edits
@pytest.mark.usefixtures("fake_model")
def test_an_edl_gives_the_frames_it_uses_with_handles_and_says_which_event_has_no_source(
    plates: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.edl").write_text(EDL)
    arguments = ["batch", str(tmp_path / "cut.edl"), "-o", str(tmp_path / "out"), "-p", "the smoke", "--write", "soft"]
    assert main([*arguments, "--media", str(plates), "--handles", "3"]) == 2
    table = table_of(tmp_path / "out")
    assert [*table] == ["sh010", "003", "sh020"]  # and the black between is no shot
    assert table["003"]["said"] == f"Event 3 of cut.edl has no source: nothing in {plates} is called 003."
    # 00:00:01:04 is frame 28 of the numbers; six frames, and three more at either end.
    assert frames_in(tmp_path / "out" / "sh010") == [f"{number:04d}" for number in range(25, 37)]
    # No timecode and other numbers: counted from the first frame, the third to the fifth; handles as far as there are.
    assert frames_in(tmp_path / "out" / "sh020") == [str(number) for number in range(1001, 1009)]


@needs_edits
@pytest.mark.usefixtures("fake_model")
def test_an_otio_says_where_sources_are_and_what_is_wanted_of_them(plates: Path, tmp_path: Path) -> None:
    import opentimelineio as otio

    rate = otio.opentime.RationalTime

    def times(start: int, count: int) -> Any:
        return otio.opentime.TimeRange(rate(start, 24), rate(count, 24))

    source = otio.schema.ExternalReference("plates/sh010", times(86400, 20))
    clip = otio.schema.Clip(
        "sh010_comp", source, times(86405, 4), metadata={"rem": {"prompt": ["a: x", "b: y"], "handles": "1"}}
    )
    track = otio.schema.Track("V1", [clip, otio.schema.Clip("late", source.clone(), times(86415, 9))])
    timeline = otio.schema.Timeline("cut", tracks=[track])
    otio.adapters.write_to_file(timeline, str(tmp_path / "cut.otio"))
    assert main(["batch", str(tmp_path / "cut.otio"), "-o", str(tmp_path / "out"), "-p", "z", "--write", "soft"]) == 2
    assert frames_in(tmp_path / "out" / "sh010_comp") == [f"{number:04d}" for number in range(28, 34)]
    assert {path.name for path in (tmp_path / "out" / "sh010_comp").iterdir() if path.is_dir()} == {"a", "b"}
    assert "asks for 9 frames" in table_of(tmp_path / "out")["late"]["said"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "path,prompt\nx,y\n", "has no column shot: write a first line of columns"),
        ("a.csv", "shot\n", "lists no shots"),
        ("a.csv", b"\xff\xfe\x00shot", "is no list of shots"),
        ("a.csv", 'shot\n"x', "is no CSV: unexpected end of data"),
        pytest.param("a.edl", "nothing of an edit\n", "cannot be read as an edit", marks=needs_edits),
        pytest.param("a.otio", "{", "cannot be read as an edit", marks=needs_edits),
    ],
)
def test_a_list_that_is_none_gets_a_sentence(
    tmp_path: Path, name: str, content: str | bytes, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["batch", str(tmp_path / name), "-o", str(tmp_path / "out"), "-p", "x"]) == 2
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_names_of_folders_are_safe_and_each_its_own(tmp_path: Path) -> None:
    rows = [{"shot": "a/sh.mov"}, {"shot": "b/SH.mov"}, {"shot": "c", "name": "../up"}, {"shot": "", "name": "empty"}]
    shots = read_list(write_list(tmp_path / "l.csv", *rows))
    assert [shot.name for shot in shots] == ["sh", "SH_2", "up", "empty"]
    assert "names no shot" in shots[3].trouble and not any(shot.trouble for shot in shots[:3])


def test_processes_that_were_launched_together_share_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for rank in range(3):
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setenv("RANK", str(rank))
        parts.append(share_of(range(8)))
    assert sorted(place for part in parts for place in part) == [*range(8)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.thorough
def test_processes_that_accelerate_launches_share_a_list_and_a_failure_stops_none(
    plates: Path, tiny_wan: Path, tmp_path: Path
) -> None:
    """The second process has failed long before the first is done; launchers then end the others."""
    names = ("sh010", "nowhere", "sh020")
    file = write_list(tmp_path / "shots.csv", *({"shot": str(plates / name)} for name in names))
    model = ("--model", str(tiny_wan), "--device", "cpu", "--size", "32x32", "--window", "5", "--write", "soft")
    command = [
        *("accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2", "-m", "rem_engine"),
        *("batch", str(file), "-o", str(tmp_path / "out"), "-p", "the smoke", *model),
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.stderr.count("(1 of 2)") == 1 and done.stderr.count("(1 of 1)") == 1, done.stderr
    assert done.returncode != 0
    table = table_of(tmp_path / "out")
    assert {name: row["state"] for name, row in table.items()} == dict(zip(names, ("done", "failed", "done")))
    assert [*table] == [*names] and "does not exist" in table["nowhere"]["said"]
    assert len(frames_in(tmp_path / "out", "*/*/soft")) == 20 + 8


@pytest.mark.usefixtures("fake_model")
def test_one_shot_of_a_list_is_done_alone(plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As tasks of a farm do it, which write one table."""
    file = write_list(tmp_path / "shots.csv", *({"shot": str(plates / name)} for name in ("sh010", "sh020")))
    command = ["batch", str(file), "-o", str(tmp_path / "out"), "-p", "the smoke", "--write", "soft"]
    assert main([*command, "--only", "sh020"]) == 0
    assert [*table_of(tmp_path / "out")] == ["sh020"] and len(frames_in(tmp_path / "out", "*/*/soft")) == 8
    assert main([*command, "--only", "sh010"]) == 0
    assert [*table_of(tmp_path / "out")] == ["sh010", "sh020"]
    assert main([*command, "--only", "sh030"]) == 2
    assert "has no shot 'sh030': give one of sh010, sh020." in capsys.readouterr().err
