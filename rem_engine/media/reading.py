"""`open_shot`: a video file, a folder of frames, a pattern of their names, or one image."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..input_files import check_is_file
from .numbering import (
    FIRST_FRAME,
    SEPARATORS,
    FrameNames,
    Numbering,
    SplitName,
    digits_of,
    gaps_between,
    parse_range,
    splits,
    told_numbers,
    told_range,
)
from .plate_settings import PlateSettings
from .suffixes import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

if TYPE_CHECKING:
    from .animation import AnimationShot
    from .shot import Shot
    from .video import VideoShot

_AS_IS = PlateSettings()
_SAME_SUFFIX = {".jpeg": ".jpg", ".tiff": ".tif"}
_NAMED = 4  # of sequences in a sentence
_LONGEST_FILL = 1_000_000  # frames of a shot whose gaps are filled
# With a sign that stands where `splits` sees one.
_NUMBER = re.compile(rf"(?:(?:^|(?<=[{re.escape(SEPARATORS)}]))-)?[0-9]+")
# Nuke, Houdini, printf; `#` and `@` are digits each, as Nuke has them.
_DIGITS_OF_PATTERN = re.compile(r"#+|@+|%0?[0-9]*d|\$F[0-9]*")


def open_shot(
    path: str | PathLike[str], plate: PlateSettings = _AS_IS, *, span: tuple[float, float] | None = None
) -> Shot:
    """Open a shot for reading.

    Args:
        path: a video file; a folder of EXR, DPX, TIFF, PNG, JPEG, WebP or JPEG XL frames of one sequence, in the order
            of their numbers (other files and sub-folders are left aside); a pattern of a sequence's names
            (shot.####.exr, shot.%04d.exr, shot.@@@@.exr), which takes it out of others; or a single image, a shot of
            one frame.
        plate: what is read of it, and how.
        span: (start, duration) of the part of a video that is the shot, seconds by its own clock; a duration of 0
            reaches to its end. Its frames count from 1001.

    Alpha is dropped. Colours are of the space that the settings name, or else of the one that the file states (see
    `stated_space`): `Shot.read` brings them to display sRGB, clipped to 0..1, and `Shot.read_linear` to light of their
    own gamut. Rotation asked for by a phone's metadata is applied.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: no frames, several sequences, frames that are missing and that the settings do not fill, or that
            they ask for and there are none of; colours of which the file does not say what they are (logarithmic ones),
            or an unknown colour space; frames of different sizes or under 16 pixels, a file that cannot be read
            or that memory does not hold; a pipe, socket or device, which is not opened; a span without frames, or of
            what is no video.
    """
    from .plate_colour import colour_of  # here, so that a list of shots is quick

    path = Path(path).expanduser()
    check_is_file(path)
    moving = _moving(path) if path.is_file() else None
    if span is not None:
        from .animation import AnimationShot

        if moving is None or isinstance(moving, AnimationShot):
            raise ValueError(f"{path.name} is no video, of which a part could be taken: give it whole.")
        moving.trim(*span)
    if moving is not None:
        if plate.frames:
            numbers = _asked_for(plate.frames, range(FIRST_FRAME, FIRST_FRAME + moving.frame_count), path.name)
            moving.choose([number - FIRST_FRAME for number in numbers])
        moving.plate_colour = colour_of(moving.stated_space, plate)
        return moving
    from .images import ImageShot

    sequence = find_sequence(path, "a video file, a folder of frames, a pattern such as shot.####.exr, or an image")
    numbering = sequence.numbering(plate)
    name = _as_called(path).name if path.is_dir() else path.stem if path.exists() else numbering.names.title
    shot = ImageShot(name, sequence.files_of(numbering), plate, numbering)
    shot.plate_colour = colour_of(shot.stated_space, plate)
    return shot


@dataclass(frozen=True)
class PictureSequence:
    """Pictures of one name on disk.

    Attributes:
        names: what they are called.
        files: each by its number, rising.
        suffix: of the files, as one of them has it.
        own: whether the numbers are the files' own; otherwise it is a single picture, counted as such.
    """

    names: FrameNames
    files: dict[int, Path]
    suffix: str
    own: bool = True

    @property
    def file_pattern(self) -> str:
        """Of the files' names, as people write it: `shot.####.exr`; a single picture's name."""
        if len(self.files) == 1:
            return next(iter(self.files.values())).name
        return f"{self.names.pattern}{self.suffix}"

    @property
    def told(self) -> str:
        """For a sentence: `shot.####.exr (1001-1010)`, or a single picture's name."""
        return f"{self.file_pattern} ({told_numbers(self.files)})" if len(self.files) > 1 else self.file_pattern

    @property
    def _names_of_frames(self) -> FrameNames:
        """What has only numbers for names (0001.png) has its folder's."""
        if self.names.name:
            return self.names
        folder = _as_called(next(iter(self.files.values()))).parent.name
        return replace(self.names, name=folder or "shot", separator=".")

    def numbering(self, settings: PlateSettings) -> Numbering:
        """Names and numbers of the frames that the settings take.

        Raises:
            ValueError: frames that are missing, or that there are none of.
        """
        there = list(self.files)
        if settings.frames:
            numbers = _asked_for(settings.frames, there, self.file_pattern)
            lacking = [(number, number) for number in numbers if number not in self.files]
            if len(lacking) == len(numbers):
                raise ValueError(f"None of the frames {settings.frames} of {self.told} is there: ask for others.")
        else:
            numbers, lacking = tuple(there), gaps_between(there)
        if lacking and settings.gaps == "refuse":
            raise ValueError(self._told_gaps(lacking, there))
        if lacking and not settings.frames:
            if there[-1] - there[0] >= _LONGEST_FILL:
                raise ValueError(
                    f"{self.told} lacks {told_range(lacking)}, too many to be filled: say by --frames which are wanted."
                )
            numbers = tuple(range(there[0], there[-1] + 1))
        missing = frozenset(number for number in numbers if number not in self.files)
        return Numbering(
            self._names_of_frames, numbers, missing, settings.gaps, self.own, tuple(there) if settings.frames else ()
        )

    def files_of(self, numbering: Numbering) -> list[Path]:
        """The file of each frame; of a missing one that of the frame before it, or else of the next."""
        there = [number for number in numbering.numbers if number not in numbering.missing]
        return [self.files[there[max(bisect_right(there, number) - 1, 0)]] for number in numbering.numbers]

    def _told_gaps(self, lacking: Sequence[tuple[int, int]], there: Sequence[int]) -> str:
        first, last = there[0], there[-1]
        advice = "render or copy them again, or fill them with --gaps hold (the frame before once more) or --gaps black"
        steps = {after - before for before, after in zip(there, there[1:])}
        if len(steps) == 1 and len(there) > 2:  # every second one was made, say
            advice += f"; if they are not wanted, give --frames {first}-{last}x{steps.pop()}"
        return f"{self.file_pattern} ({first}-{last}) lacks {told_range(lacking)}: {advice}."


def find_sequence(
    path: Path, expected: str = "a folder of pictures, a pattern such as m.####.png, or one"
) -> PictureSequence:
    """The pictures of a folder, of a pattern, or a single one.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: a folder without frames, with several sequences, or with two files for one frame (shot.01.png and
            shot.01.exr, or shot.1.png and shot.01.png); a link to a file that is not there.
    """
    found = _sequence_at(path.expanduser(), expected)
    for file in found.files.values():
        if not file.exists():
            raise ValueError(
                f"{file} is a link to {os.readlink(file)}, which is not there: mount or copy what it leads to, or "
                "remove the link, so that the frame counts as missing."
            )
    return found


def _sequence_at(path: Path, expected: str) -> PictureSequence:
    if path.is_dir():
        files = _pictures(path)
        if not files:
            raise ValueError(
                f"The folder {path} holds no frames: PNG, JPEG, TIFF, DPX or EXR files are expected in it."
            )
        found = sequences_in(files)
        if len(found) > 1:
            raise _several(path, found)
        return found[0]
    if path.exists():
        return _single(_as_called(path))
    patterns = _digits_of(path)
    if patterns and path.parent.is_dir():
        return _of_pattern(path, patterns)
    raise FileNotFoundError(f"{path} does not exist: give {expected}.")


def _as_called(path: Path) -> Path:
    """The whole path by the names that were given: what a link leads to may be called otherwise, or by a hash."""
    return Path(os.path.abspath(path))


def _moving(path: Path) -> VideoShot | AnimationShot | None:
    """A file that holds a whole shot; None for a still."""
    if path.suffix.lower() not in IMAGE_SUFFIXES + FOREIGN_SUFFIXES:
        from .video import VideoShot

        return VideoShot(path)
    from .animation import AnimationShot, is_animation

    return AnimationShot(path) if is_animation(path) else None


def shot_files(path: Path) -> list[Path]:
    """The pictures of a folder, of a pattern, or a single one, in the order of their numbers; see `find_sequence`."""
    return list(find_sequence(path).files.values())


def sequences_in(files: Iterable[Path]) -> list[PictureSequence]:
    """Pictures sorted into sequences by name and suffix.

    The last number before the suffix is a frame's: `shot_v001.0987.exr`. Where words follow it, as in
    `shot_0987_graded.exr`, it is the last number that differs between files of otherwise equal names. A version
    (`_v001`) is no number.

    Raises:
        ValueError: two files for one frame.
    """
    at_the_end: dict[tuple[str, str, str], list[tuple[SplitName, Path]]] = defaultdict(list)
    inside: dict[tuple[str, str], list[tuple[list[SplitName], Path]]] = defaultdict(list)
    stills: list[Path] = []
    for file in files:
        ways = splits(file.stem)
        suffix = _suffix(file)
        if not ways:
            stills.append(file)
        elif not ways[-1].tail:
            at_the_end[ways[-1].name, ways[-1].separator, suffix].append((ways[-1], file))
        else:
            inside[_NUMBER.sub("#", file.stem), suffix].append((ways, file))
    found: list[PictureSequence] = []
    for members in at_the_end.values():
        if len(members) == 1:
            stills.append(members[0][1])
        else:
            found.append(_sequence(members))
    for alike in inside.values():
        differing = [place for place in range(len(alike[0][0])) if len({ways[place].number for ways, _ in alike}) > 1]
        if not differing:
            stills += [file for _, file in alike]
            continue
        groups: dict[SplitName, list[tuple[SplitName, Path]]] = defaultdict(list)
        for ways, file in alike:
            way = ways[differing[-1]]
            groups[SplitName(way.name, way.separator, "", way.tail)].append((way, file))
        found += [_sequence(members) for members in groups.values()]
    found += [_single(file) for file in stills]
    found.sort(key=lambda one: natural_key(next(iter(one.files.values())).name))
    return found


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorting key that takes digits as numbers: frame2 before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name


def _pictures(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    # Links that lead nowhere are frames, too, which nobody would miss at the end of a sequence.
    files = [entry for entry in entries if entry.is_file() or (entry.is_symlink() and not entry.exists())]
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    # Beside a camera's files lie the JPEGs that it made of them.
    return pictures or [file for file in files if file.suffix.lower() in FOREIGN_SUFFIXES]


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    return _SAME_SUFFIX.get(suffix, suffix)


def _single(file: Path) -> PictureSequence:
    """A picture by itself, which keeps its number where it has one."""
    way = next((way for way in reversed(splits(file.stem)) if way.looks_like_a_frame), None)
    if way is not None:
        return _sequence([(way, file)])
    return PictureSequence(FrameNames(file.stem), {FIRST_FRAME: file}, file.suffix, own=False)


def _sequence(members: Sequence[tuple[SplitName, Path]]) -> PictureSequence:
    """Raises ValueError for two files of one frame."""
    numbered: dict[int, Path] = {}
    for way, file in sorted(members, key=lambda member: (int(member[0].number), member[1].name)):
        other = numbered.setdefault(int(way.number), file)
        if other is not file:
            raise _twice(other, file)
    way, file = members[0]
    digits, signed = digits_of(member.number for member, _ in members)
    return PictureSequence(FrameNames(way.name, way.separator, digits, signed, way.tail), numbered, file.suffix)


def _twice(one: Path, other: Path) -> ValueError:
    first, second = sorted((one.name, other.name))
    kept = "format" if one.suffix != other.suffix else "file"
    return ValueError(
        f"The folder {one.parent} holds one frame twice, as {first} and {second}: keep one {kept} of each frame in it."
    )


def _several(folder: Path, found: Sequence[PictureSequence]) -> ValueError:
    for one in found:
        for other in found:
            if one is not other and one.names.title == other.names.title:
                shared = one.files.keys() & other.files.keys()
                for number in sorted(shared):
                    if one.files[number].stem == other.files[number].stem:
                        return _twice(one.files[number], other.files[number])
    named = [one.told for one in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ValueError(
        f"The folder {folder} holds {len(found)} sequences or pictures, {', '.join(named)}{more}: say which, for "
        f"example {folder / found[0].file_pattern}."
    )


def title_of_pattern(path: Path) -> str | None:
    """With what the names of a pattern begin; None where the path is none."""
    found = _digits_of(path)
    return path.name[: found[0].start()].rstrip(SEPARATORS) if found else None


def _digits_of(path: Path) -> list[re.Match[str]]:
    """Where a pattern may have the digits of numbers, the last place first: a name may hold such characters, too."""
    return [*_DIGITS_OF_PATTERN.finditer(path.name)][::-1]


def _of_pattern(path: Path, patterns: Sequence[re.Match[str]]) -> PictureSequence:
    """The sequence whose files have a pattern's names."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"{path} names no pictures: a pattern ends in .exr, .dpx, .png, .tif or .jpg.")
    pictures = _pictures(path.parent)
    for numbers in patterns:
        if matching := _matching(pictures, path, numbers):
            return _sequence(matching)
    raise FileNotFoundError(f"No file in {path.parent} is called {path.name}: check the name.")


def _matching(pictures: Sequence[Path], pattern: Path, numbers: re.Match[str]) -> list[tuple[SplitName, Path]]:
    """Pictures with a pattern's names, each with its number as it is written; `numbers` is where the pattern has it."""
    from fileseq import PAD_STYLE_HASH1, FileSequence

    before, tail = pattern.stem[: numbers.start()], pattern.stem[numbers.end() :]
    form = re.compile(rf"{re.escape(before)}(-?[0-9]+){re.escape(tail)}")
    alike = (file for file in pictures if _suffix(file) == _suffix(pattern))  # .PNG is .png, as in a folder
    matching = [(found[1], file) for file in alike if (found := form.fullmatch(file.stem))]
    if len({int(text) for text, _ in matching}) < len(matching):  # shot.1.exr and shot.0001.exr: the pattern says which
        matching = [(text, file) for text, file in matching if file.suffix == pattern.suffix]
        digits = FileSequence.getPaddingNum(numbers[0], PAD_STYLE_HASH1)
        plain, printf = (FrameNames("", "", digits, signed) for signed in (False, True))
        matching = [(text, file) for text, file in matching if text in (plain.of(int(text)), printf.of(int(text)))]
    separator = before[-1:] if before[-1:] in SEPARATORS else ""
    name = before.removesuffix(separator)
    return [(SplitName(name, separator, text, tail), file) for text, file in matching]


def _asked_for(frames: str, there: Sequence[int], what: str) -> tuple[int, ...]:
    """Numbers that were asked for.

    Raises:
        ValueError: some before the first or after the last that there is.
    """
    numbers = parse_range(frames)
    beyond = [number for number in numbers if not there[0] <= number <= there[-1]]
    if beyond:
        raise ValueError(f"{what} has frames {told_numbers(there)}, not {told_numbers(beyond)}: ask for those it has.")
    return numbers
