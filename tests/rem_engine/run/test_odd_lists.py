"""Lists of shots as programs really write them: which frames each asks for, and what is said where it asks for none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rem_engine.media.plate_settings import PlateSettings
from rem_engine.run.shot_list import frames_of, read_list

HEAD = "TITLE: CUT\nFCM: NON-DROP FRAME\n\n"


@pytest.fixture(autouse=True)
def plates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sh010, frames 24 to 63 (from a second on, as timecode counts), and sh030, frames 0 to 29."""
    for name, numbers in (("sh010", range(24, 64)), ("sh030", range(30))):
        (tmp_path / "plates" / name).mkdir(parents=True)
        for number in numbers:
            cv2.imwrite(f"{tmp_path}/plates/{name}/{name}.{number:04d}.png", np.zeros((16, 16, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "plates"


def asked(file: str, fps: Fraction = Fraction(24)) -> dict[str, str]:
    """The frames that each shot of a list asks for, by its name, or what is the matter with it."""
    found = {}
    for shot in read_list(Path(file), media=Path("plates"), fps=fps):
        try:
            found[shot.name] = shot.trouble or frames_of(shot, 0, PlateSettings())
        except ValueError as error:
            found[shot.name] = str(error)
    return found


def edl(events: str, head: str = HEAD) -> str:
    Path("cut.edl").write_bytes((head + events).encode("latin-1"))
    return "cut.edl"


ONE = "001  sh010 V     C        00:00:01:04 00:00:01:10 00:00:00:00 00:00:00:06\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shot;prompt;frames\nplates/sh010;the smoke, dense;24-30\n", {"sh010": "24-30"}),
        ("shot\tframes\nplates/sh010\t24-30\n", {"sh010": "24-30"}),
        ("\ufeffshot,frames\r\nplates/sh010,24-30\r\n\r\n", {"sh010": "24-30"}),
        ("shot,name\nplates/sh010,batch.csv\n", {"batch.csv_2": ""}),
        ("shot,frames,handles\nplates/sh010,30-40,100\n", {"sh010": "24-63"}),
    ],
    ids=[
        "semicolons",
        "tabs",
        "mark and line ends",
        "a name that the table has",
        "handles beyond",
    ],
)
def test_tables(text: str, expected: dict[str, str]) -> None:
    Path("a.csv").write_text(text, "utf-8", newline="")
    assert asked("a.csv") == expected


def test_a_column_twice_is_told() -> None:
    Path("a.csv").write_text("shot,prompt,prompt\nplates/sh010,a,b\n")
    with pytest.raises(ValueError, match="has the column prompt twice: call further prompts prompt 2"):
        read_list(Path("a.csv"))


@pytest.fixture
def needs_edits() -> None:
    pytest.importorskip("opentimelineio", reason="opentimelineio is not installed")


@pytest.mark.usefixtures("needs_edits")
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (ONE.replace("\n", "\r\n"), {"001": "28-33"}),
        (ONE + "* FROM CLIP NAME: fum\xe9e\n* LOC: 00:00:00:02 RED fix\n", {"fum\xe9e": "28-33"}),
        (
            # A dissolve of four frames: the first shot is seen in it, too.
            f"{ONE}002  sh010 V     C        00:00:01:10 00:00:01:10 00:00:00:06 00:00:00:06\n"
            "002  sh030 V     D    004 00:00:00:04 00:00:00:14 00:00:00:06 00:00:00:16\n"
            "* FROM CLIP NAME: sh010\n* TO CLIP NAME: sh030\n",
            {"001": "28-37", "sh030": "4-13"},
        ),
        (
            # Six frames at twice the speed are twelve of the source.
            "001  sh030 V     C        00:00:00:04 00:00:00:16 00:00:00:00 00:00:00:06\n"
            "M2   sh030       048.0                00:00:00:04\n",
            {"001": "4-15"},
        ),
        (
            "001  sh030 V     C        00:00:00:04 00:00:00:07 00:00:00:00 00:00:00:06\n"
            "M2   sh030       012.0                00:00:00:04\n",
            {"001": "4-6"},
        ),
        (
            "001  sh030 V     C        00:00:00:04 00:00:00:05 00:00:00:00 00:00:00:06\n"
            "M2   sh030       000.0                00:00:00:04\n",
            {"001": "4"},
        ),
        (
            "001  sh010 V     C        00:00:01:04 00:00:01:04 00:00:00:00 00:00:00:00\n",
            {"001": "Event 1 of cut.edl uses no frame of its source: take it out of the list."},
        ),
    ],
    ids=["line ends", "comments of another time", "dissolve", "twice as fast", "half as fast", "frozen", "no frames"],
)
def test_edls(events: str, expected: dict[str, str]) -> None:
    assert asked(edl(events)) == expected


@pytest.mark.usefixtures("needs_edits")
def test_drop_frames_are_counted_at_their_rate_and_refused_at_another() -> None:
    file = edl(
        "001  sh030 V     C        00:00:00;04 00:00:00;10 00:00:00;00 00:00:00;06\n", "TITLE: CUT\nFCM: DROP FRAME\n\n"
    )
    assert asked(file, Fraction(30000, 1001)) == {"001": "4-9"}
    with pytest.raises(ValueError, match=r"give its rate by --fps \(now 24\)"):
        asked(file)


def otio(*items: Any) -> str:
    import opentimelineio

    timeline = opentimelineio.schema.Timeline("cut")
    timeline.tracks.append(opentimelineio.schema.Track("V1", items))
    opentimelineio.adapters.write_to_file(timeline, "cut.otio")
    return "cut.otio"


def clip(
    start: float, count: float, rate: float = 24, effect: Any = None, available: int | None = 0, **more: Any
) -> Any:
    from opentimelineio.opentime import RationalTime, TimeRange
    from opentimelineio.schema import Clip, ExternalReference

    whole = None if available is None else TimeRange(RationalTime(available, 24), RationalTime(30, 24))
    used = TimeRange(RationalTime(start, rate), RationalTime(count, rate)) if count else None
    found = Clip("sh030", ExternalReference("plates/sh030", whole), used, **more)
    if effect is not None:
        found.effects.append(effect)
    return found


@pytest.mark.usefixtures("needs_edits")
def test_otios() -> None:
    from opentimelineio.opentime import RationalTime, TimeRange
    from opentimelineio.schema import Clip, Gap, ImageSequenceReference, LinearTimeWarp, Transition

    assert asked(otio(Gap(duration=RationalTime(10, 24)), clip(5, 6))) == {"sh030": "5-10"}
    assert asked(otio(clip(105, 6, available=100))) == {"sh030": "5-10"}
    # Ten frames of 30 a second, from the tenth on, are eight of 24.
    assert asked(otio(clip(10, 10, rate=30))) == {"sh030": "8-15"}
    assert asked(otio(clip(5.5, 6.25))) == {"sh030": "5-11"}
    assert asked(otio(clip(5, 6, effect=LinearTimeWarp(time_scalar=-2.0)))) == {"sh030": "5-16"}
    assert asked(otio(clip(0, 0, available=None))) == {"sh030": ""}
    assert asked(otio(clip(0, 0))) == {"sh030": "0-29"}
    fade = Transition(in_offset=RationalTime(3, 24), out_offset=RationalTime(2, 24))
    assert asked(otio(clip(5, 6), fade, clip(20, 6))) == {"sh030": "5-12", "sh030_2": "17-25"}
    off = clip(1, 2)
    off.enabled = False
    assert asked(otio(clip(5, 6, metadata={"rem": "no table"}), off)) == {"sh030": "5-10"}
    late = asked(otio(clip(-4, 6), clip(40, 6)))
    assert "asks for 6 frames of plates/sh030, from 4 before its beginning on" in late["sh030"]
    assert "from 10 behind its end on" in late["sh030_2"]
    pictures = ImageSequenceReference("plates/sh010/", "sh010.", ".png", 24, 1, 24, 4)
    pictures.available_range = TimeRange(RationalTime(24, 24), RationalTime(40, 24))
    assert asked(otio(Clip("a", pictures, TimeRange(RationalTime(30, 24), RationalTime(6, 24))))) == {"a": "30-35"}


@pytest.mark.usefixtures("needs_edits")
@pytest.mark.parametrize(
    ("name", "content"), [("a.otio", "[" * 100_000), ("a.otio", '{"a": 1}'), ("a.otioz", "PK\3\4"), ("a.edl", "\0\1\2")]
)
def test_what_is_no_edit_gets_a_sentence(name: str, content: str) -> None:
    """Of lists within lists without end OpenTimelineIO's reader of OTIO ends the process."""
    Path(name).write_text(content)
    with pytest.raises(ValueError, match="cannot be read as an edit"):
        read_list(Path(name))
