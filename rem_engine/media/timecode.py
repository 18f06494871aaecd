"""Timecode (SMPTE ST 12-1): reading, counting on, and as OpenEXR keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from OpenEXR import TimeCode

STILLS_FPS = Fraction(24)
"""Frame rate at which stills are written and counted, which have none of their own."""

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
# ST 12-1 has two bits for the tens of a frame number: above this rate it counts pairs of frames, and the field mark
# tells the two apart.
_FASTEST_COUNT = 30


@dataclass(frozen=True)
class Timecode:
    """HH:MM:SS:FF, or HH:MM:SS;FF where frame numbers are dropped to keep step with the clock."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    def __str__(self) -> str:
        return f"{self.hours:02}:{self.minutes:02}:{self.seconds:02}{';' if self.drop else ':'}{self.frames:02}"

    def count(self, fps: Fraction) -> int:
        """Frames from 00:00:00:00 on."""
        counted = round(fps)
        skipped, minutes = counted // 15 if self.drop else 0, 60 * self.hours + self.minutes
        return counted * (60 * minutes + self.seconds) + self.frames - skipped * (minutes - minutes // 10)

    def after(self, count: int, fps: Fraction) -> Timecode:
        """The timecode `count` frames later, past midnight from 00:00:00:00 on.

        Drop frame skips the first numbers of each minute but every tenth: two at 29.97, four at 59.94 frames a second.
        """
        counted = round(fps)
        skipped = counted // 15 if self.drop else 0
        per_minute, per_ten = 60 * counted - skipped, 600 * counted - 9 * skipped
        number = (self.count(fps) + count) % (144 * per_ten)
        tens, rest = divmod(number, per_ten)
        if skipped and rest >= 60 * counted:  # past the first minute of ten, which has every number
            number += 9 * skipped * tens + skipped * ((rest - 60 * counted) // per_minute + 1)
        else:
            number += 9 * skipped * tens
        seconds, frames = divmod(number, counted)
        return Timecode(seconds // 3600, seconds // 60 % 60, seconds % 60, frames, self.drop)


def parse_timecode(text: str, fps: Fraction) -> Timecode:
    """Read HH:MM:SS:FF, or HH:MM:SS;FF for drop frame.

    Raises:
        ValueError: another form, or a number beyond its range at this rate.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"The timecode {text!r} cannot be read: HH:MM:SS:FF is expected, as in 01:00:00:00.")
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    if hours > 23 or minutes > 59 or seconds > 59 or frames >= round(fps):
        raise ValueError(
            f"The timecode {text} does not exist at {float(fps):g} frames per second: correct one of them."
        )
    drop = match[4] != ":"
    if drop and (fps.denominator != 1001 or round(fps) % 30):
        raise ValueError(
            f"The drop-frame timecode {text} does not exist at {float(fps):g} frames per second, only at 29.97 and "
            "59.94: write it with colons."
        )
    if drop and not seconds and minutes % 10 and frames < round(fps) // 15:
        raise ValueError(f"The timecode {text} is one that drop frame leaves out: correct it.")
    return Timecode(hours, minutes, seconds, frames, drop)


def is_timecode(text: str, fps: Fraction) -> bool:
    """Whether `parse_timecode` takes it."""
    try:
        parse_timecode(text, fps)
    except ValueError:
        return False
    return True


def exact_rate(rate: float | Fraction) -> Fraction:
    """The frame rate meant by a rounded one: 23.976 -> 24000/1001, 29.97 -> 30000/1001, 24.0 -> 24."""
    for candidate in (Fraction(round(rate)), Fraction(round(rate * 1.001) * 1000, 1001)):
        if -candidate / 4000 < rate - candidate < candidate / 4000:
            return candidate
    return Fraction(rate).limit_denominator(1001)


def to_exr(timecode: Timecode, fps: Fraction) -> TimeCode:
    """A timecode as OpenEXR's attribute `timeCode`."""
    from OpenEXR import TimeCode

    frames, mark = divmod(timecode.frames, 2) if fps > _FASTEST_COUNT else (timecode.frames, 0)
    unused = (0,) * 11  # three binary group flags, eight binary groups
    return TimeCode(
        timecode.hours, timecode.minutes, timecode.seconds, frames, int(timecode.drop), 0, mark, *unused
    )  # fmt: skip


def of_exr(stated: TimeCode, fps: Fraction) -> Timecode:
    """What OpenEXR's attribute `timeCode` says: the inverse of `to_exr`."""
    frames = 2 * stated.frame + stated.fieldPhase if fps > _FASTEST_COUNT else stated.frame
    return Timecode(stated.hours, stated.minutes, stated.seconds, frames, bool(stated.dropFrame))


def from_exr(packed: int, fps: Fraction | None) -> Timecode:
    """OpenEXR's attribute `timeCode` as a file stores it; frames are counted as at up to 30 a second where no rate is
    known."""
    hours, minutes, seconds, frames = packed_parts(packed)
    if fps is not None and fps > _FASTEST_COUNT:
        frames = 2 * frames + (packed >> 15 & 1)
    return Timecode(hours, minutes, seconds, frames, bool(packed >> 6 & 1))


def packed_parts(packed: int) -> tuple[int, int, int, int]:
    """Hours, minutes, seconds, frames of binary-coded decimals (ImfTimeCode.h, packed as for 60-field television)."""

    def decimal(lowest: int, bits_of_tens: int) -> int:
        return (packed >> lowest & 15) + 10 * (packed >> lowest + 4 & (1 << bits_of_tens) - 1)

    return decimal(24, 2), decimal(16, 3), decimal(8, 3), decimal(0, 2)
