"""Templates of names: what they give, that a version is never written over, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from red_model import segment

from rem_engine.commands.cli import main
from rem_engine.media.numbering import counted
from rem_engine.run.naming import check_template, filled, versioned

TEMPLATE = "{show}_{seq}_{shot}_{layer}_v{version:03}.{frame}"
GIVEN = ("--field", "show=AGM", "--field", "seq=104")


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "sh010").mkdir()
    for number in range(987, 994):
        cv2.imwrite(str(tmp_path / "sh010" / f"sh010.{number:04d}.png"), rng.integers(0, 255, (33, 47, 3), np.uint8))
    return tmp_path / "sh010"


def files_of(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.suffix != ".json"}


@pytest.mark.usefixtures("fake_model")
def test_files_have_the_templates_names_and_each_new_run_the_next_version(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    write = ("--name", TEMPLATE, *GIVEN, "--write", "alpha,exr,prores", "--exr-form", "matte", "--refine", "0")
    assert segment(shot, out, *write) == 0
    first = files_of(out)
    assert {
        "the_smoke/alpha/AGM_104_sh010_the_smoke_v001.0987.png",
        "the_red_thing/AGM_104_sh010_the_red_thing_v001.mov",
        "exr/AGM_104_sh010_mattes_v001.0993.exr",
    } <= first
    assert len(first) == 7 * 3 + 2
    listed = json.loads((out / "run.json").read_text("utf-8"))["delivery"]["files"]
    assert listed == [
        "exr/AGM_104_sh010_mattes_v001.0987-0993.exr",
        *(
            f"{layer}/{file}"
            for layer in ("the_red_thing", "the_smoke")
            for file in (f"AGM_104_sh010_{layer}_v001.mov", f"alpha/AGM_104_sh010_{layer}_v001.0987-0993.png")
        ),
    ]
    assert segment(shot, out, *write) == 0
    assert "holds this run already" in capsys.readouterr().out and files_of(out) == first
    assert segment(shot, out, *write, "--grow", "1") == 0  # another run
    second = files_of(out) - first
    assert {name.replace("v002", "v001") for name in second} == first and first < files_of(out)
    assert segment(shot, out, *write, "--again") == 0
    assert len(files_of(out)) == 3 * len(first) and any("v003" in name for name in files_of(out))


@pytest.mark.usefixtures("fake_model")
def test_masks_of_a_template_are_read_back_by_the_matte_command(shot: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert segment(shot, out, "--name", "{shot}_{layer}_{frame:06}_left", "--write", "soft") == 0
    assert (out / "the_smoke" / "soft" / "sh010_the_smoke_000987_left.png").is_file()
    arguments = ["matte", str(shot), "--masks", str(out), "-o", str(again), "--name", "{layer}_v{version:02}.{frame}"]
    assert main([*arguments, "--refine", "0"]) == 0
    assert (again / "the_smoke" / "alpha" / "the_smoke_v01.0987.png").is_file()
    assert main([*arguments, "--refine", "0"]) == 0  # there already
    assert main([*arguments, "--refine", "0", "--field", "version=7"]) == 0
    assert (again / "the_smoke" / "alpha" / "the_smoke_v07.0993.png").is_file()
    said = json.loads((again / "run.json").read_text("utf-8"))
    assert said["settings"]["fields"] == {"version": "7"} and "{layer}" in said["delivery"]["name"]


@pytest.mark.usefixtures("fake_model")
def test_a_stopped_run_goes_on_with_its_version(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rem_engine.run.delivery import Delivery

    out, write, count = tmp_path / "out", Delivery.write, 0
    named = ("--name", "{shot}_v{version:03}.{frame}", "--write", "soft,alpha", "--refine", "0")

    def stopped(self: Delivery, frame: object) -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise KeyboardInterrupt
        write(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Delivery, "write", stopped)
    assert segment(shot, out, *named) == 130
    monkeypatch.setattr(Delivery, "write", write)
    assert segment(shot, out, *named) == 0
    assert {name.partition("_v")[2][:3] for name in files_of(out)} == {"001"}
    assert len(files_of(out)) == 2 * 2 * 7


def test_the_next_version_is_after_the_highest_of_the_same_name_alone(tmp_path: Path) -> None:
    for file in ("a/AGM_smoke_v004.1001.exr", "b/AGM_fire_v0011.mov", "AGM_v020.1001.exr", "XYZ_smoke_v099.1001.exr"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    name = "AGM_{layer}_v{version:03}.{frame}"
    assert versioned(name, tmp_path, None) == "AGM_{layer}_v012.{frame}"
    assert versioned("plain", tmp_path, None) == "plain"
    names = counted("shot", 3).delivered(name="AGM_{layer}_v012.{frame:05}").names
    assert (names.of_layer("smoke").of(1001), names.of_layer("").title) == ("AGM_smoke_v012.01001", "AGM_mattes_v012")


def test_where_few_fields_are_known_others_are_not_advised() -> None:
    with pytest.raises(ValueError, match=r"no \{frame\}") as caught:
        check_template("{shot}", ("shot", "layer", "version", "frame"))
    assert str(caught.value).endswith("write it once, for example {shot}_{layer}_v{version:03}.{frame}.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{shot}_v{version:03}", "has no {frame}, by which frames are told apart: write it once, for example {show}_"),
        ("{frame}.{frame}", "has {frame} more than once"),
        ("{shot}_{pass}.{frame}", "has the field {pass}, and there are show, seq, shot, layer, version, frame"),
        ("{shot:03}.{frame}", "has the field {shot:03}: digits are asked for as in {version:03}"),
        ("{shot.{frame}", "has a brace that nothing closes or opens"),
        ("{0}.{frame}", "has the field {0}"),
    ],
)
def test_a_template_that_cannot_name_frames_is_refused(
    text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        check_template(text)
    assert sentence in str(caught.value)
    with pytest.raises(SystemExit):
        main(["segment", "a.mov", "-p", "x", "-o", "out", "--name", text])
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        (TEMPLATE, {"show": "AGM"}, "Nothing says what {seq} of the name"),
        ("{shot}.{frame}", {"show": "AGM"}, "has no {show} to be given"),
        ("plain", {"show": "AGM"}, "has no {show} to be given"),
        ("{shot}.{frame}", {"shot": "../up"}, "cannot be in the name of a file"),
        ("{shot}_v{version}.{frame}", {"version": "three"}, "The version 'three' is no number"),
    ],
)
def test_a_field_that_cannot_be_filled_gets_a_sentence(name: str, fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        filled(name, fields, "sh010")
    assert sentence in str(caught.value)
