"""What the frames of a shot are called and how they are counted: `AGM_104_PL01_v001.0987`.

Ranges are written and read as fileseq does: `1001-1050`, `1001-1050x2`, `1001,1005-1010`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

FIRST_FRAME = 1001
"""Number of the first frame of what has none of its own: a video, a still, pictures in memory."""
DIGITS = 4
"""Of a number at least, where a shot has none of its own."""

Gaps = Literal["refuse", "hold", "black"]
"""What becomes of frames that a sequence lacks."""

SEPARATORS = "._- "
"""What may stand between a name and a number; or nothing does."""

LAYER_FIELD = "{layer}"
"""Stands for the name of a layer in what the files of all of them are called."""
FRAME_FIELD = re.compile(r"([._ -]?)\{frame(?::0([1-9])d?)?\}")
"""Stands for the number of a frame in a name that is a template: (what stands before it, digits at least)."""
_ALL_LAYERS = "mattes"

_DIGITS = re.compile(r"[0-9]+")
_SPAN = re.compile(r"(-?[0-9]{1,255})(?:-(-?[0-9]{1,255})(?:x([0-9]{1,9}))?)?")
_MOST_FRAMES = 2**48  # more than any shot has
_LONGEST_LIST = 120  # characters of a range in a sentence
_MOST_LISTED = 10_000  # frames whose range is brought to its shortest form


@dataclass(frozen=True)
class FrameNames:
    """Names of a shot's frames, without their suffix.

    Attributes:
        name: what stands before the number, without the separator: `AGM_104_PL01_v001`.
        separator: between the two; "" where there is none.
        digits: of a number at least.
        signed: whether the sign of a number below 0 counts as one of the digits, as with C's printf.
        tail: what stands behind the number: `.left`.
    """

    name: str
    separator: str = "."
    digits: int = DIGITS
    signed: bool = False
    tail: str = ""

    @property
    def title(self) -> str:
        """Name of what holds all frames."""
        return self.name + self.tail

    @property
    def pattern(self) -> str:
        """As people write it: `shot.####`."""
        return self.around("#" * self.digits)

    def of(self, number: int) -> str:
        """The name of the frame with a number."""
        text = f"{number:0{self.digits}d}"
        if number < 0 and not self.signed:
            text = f"-{-number:0{self.digits}d}"
        return self.around(text)

    def around(self, numbers: str) -> str:
        """The name with some text where numbers stand."""
        return f"{self.name}{self.separator}{numbers}{self.tail}"

    def number_in(self, stem: str) -> int | None:
        """The number of a frame with this name, however many digits it is written with; None for another name."""
        found = self._form.fullmatch(stem)
        return int(found[1]) if found else None

    @cached_property
    def _form(self) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(self.name + self.separator)}(-?[0-9]+){re.escape(self.tail)}")

    def of_layer(self, layer: str) -> FrameNames:
        """Names of the files of a layer; of those of all layers for ""."""
        return replace(self, name=named_for(self.name, layer), tail=named_for(self.tail, layer))

    def renamed(self, name: str) -> FrameNames:
        """The same numbers behind another name, or where `{frame}` stands in a template."""
        found = FRAME_FIELD.search(name)
        if found is not None:
            digits = int(found[2]) if found[2] else self.digits
            return replace(
                self, name=name[: found.start()], separator=found[1], digits=digits, tail=name[found.end() :]
            )
        return replace(self, name=name, separator=self.separator or ".", tail="")


def named_for(name: str, layer: str) -> str:
    """A name with the layer's where `LAYER_FIELD` stands, "mattes" for files of all layers."""
    return name.replace(LAYER_FIELD, layer or _ALL_LAYERS)


@dataclass(frozen=True)
class Numbering:
    """Names and numbers of the frames of a shot.

    Attributes:
        names: what they are called.
        numbers: of each frame, rising.
        missing: numbers of frames that the shot lacks and that are filled up.
        gaps: with what.
        own: whether the numbers are the shot's own, and not only counted from `FIRST_FRAME` on.
        whole: numbers of the whole shot, where only some of its frames are read.
    """

    names: FrameNames
    numbers: tuple[int, ...]
    missing: frozenset[int] = frozenset()
    gaps: Gaps = "refuse"
    own: bool = True
    whole: tuple[int, ...] = ()

    @property
    def range(self) -> str:
        """The numbers, as fileseq writes them."""
        return frame_range(self.numbers)

    @property
    def told_missing(self) -> str:
        """A sentence on frames that are missing; "" where none is."""
        if not self.missing:
            return ""
        stands = "in its place stands" if len(self.missing) == 1 else "in their place stands"
        filled = "black, with empty mattes" if self.gaps == "black" else "the frame before once more"
        return f"{self.names.pattern} lacks {told_numbers(self.missing)}: {stands} {filled}."

    @cached_property
    def present(self) -> tuple[int, ...]:
        """Places, from 0, of frames that are there."""
        return tuple(index for index, number in enumerate(self.numbers) if number not in self.missing)

    @cached_property
    def takes(self) -> tuple[int, ...]:
        """Places of frames at which a take begins since frames before them are missing, or were left out; never 0.

        Frames that are evenly apart, as every second one, are a shot like any other; distances that come but once are
        no pace. What is filled with black is a take of its own; what is held belongs to the one before.
        """
        steps = Counter(after - before for before, after in zip(self.numbers, self.numbers[1:]))
        step = min((distance for distance, times in steps.items() if times > 1), default=1)
        begin = {
            after
            for before, after in zip(self.present, self.present[1:])
            if self.numbers[after] - self.numbers[before] > step
        }
        if self.gaps == "black":
            edges = zip(self.numbers, self.numbers[1:])
            begin |= {
                index
                for index, (before, after) in enumerate(edges, start=1)
                if (before in self.missing) != (after in self.missing)
            }
        return tuple(sorted(begin))

    def is_missing(self, index: int) -> bool:
        return self.numbers[index] in self.missing

    def is_black(self, index: int) -> bool:
        """Whether a frame that is missing is black."""
        return self.gaps == "black" and self.is_missing(index)

    def last_present(self, index: int) -> int:
        """The nearest frame from `index` backwards that is there; 0 where there is none. Beyond the last one nothing is
        missing."""
        while 0 < index < len(self.numbers) and self.is_missing(index):
            index -= 1
        return index

    def name_of(self, index: int) -> str:
        """The name of a frame, without its suffix."""
        return self.names.of(self.numbers[index])

    def only(self, places: Sequence[int]) -> Numbering:
        """Of some of the frames, by their places, rising."""
        return replace(self, numbers=tuple(self.numbers[place] for place in places), whole=self.whole or self.numbers)

    def delivered(self, *, name: str = "", start: int | None = None, digits: int | None = None) -> Numbering:
        """As files of it are called that are written.

        Args:
            name: in place of its own; "" keeps that.
            start: number of the first frame, the others at their distance from it; None keeps their own.
            digits: of a number at least; None keeps their own.
        """
        names = self.names.renamed(name) if name else self.names
        names = replace(names, digits=names.digits if digits is None else digits)
        step = 0 if start is None or not self.numbers else start - self.numbers[0]
        return replace(
            self,
            names=names,
            numbers=tuple(number + step for number in self.numbers),
            missing=frozenset(number + step for number in self.missing),
        )


def counted(name: str, count: int) -> Numbering:
    """Of frames that have no numbers of their own."""
    return Numbering(FrameNames(name), tuple(range(FIRST_FRAME, FIRST_FRAME + count)), own=False)


class SplitName(NamedTuple):
    """A file's name without its suffix, at the number that may be its frame's: what is before it, and behind."""

    name: str
    separator: str
    number: str
    tail: str

    @property
    def looks_like_a_frame(self) -> bool:
        """Whether the number is one of a frame, as far as a single file tells."""
        is_long = len(self.number.lstrip("-")) >= 3
        if self.tail:
            return is_long and bool(self.separator) and self.tail[0] in SEPARATORS
        return is_long or bool(self.separator) or not self.name


def splits(stem: str) -> list[SplitName]:
    """The ways to see a number in a name, from the first digits to the last. Those of a version (`_v001`) are none."""
    found = []
    for digits in _DIGITS.finditer(stem):
        before, number, tail = stem[: digits.start()], digits[0], stem[digits.end() :]
        if before[-1:] in ("v", "V") and not before[-2:-1].isalnum():
            continue
        # A sign stands behind a separator, or at the beginning; elsewhere it is a separator itself.
        if before.endswith("-") and (len(before) == 1 or before[-2] in SEPARATORS):
            before, number = before[:-1], f"-{number}"
        separator = before[-1:] if before[-1:] in SEPARATORS else ""
        found.append(SplitName(before.removesuffix(separator), separator, number, tail))
    return found


def digits_of(numbers: Iterable[str]) -> tuple[int, bool]:
    """(digits at least, whether a sign counts as one) of numbers as they are written."""
    numbers = list(numbers)
    positive = [text for text in numbers if not text.startswith("-")]
    negative = [text for text in numbers if text.startswith("-")]
    digits = _width(positive or [text[1:] for text in negative])
    signed = bool(positive and negative) and digits > 1 and _width([text[1:] for text in negative]) == digits - 1
    return digits, signed


def _width(numbers: Collection[str]) -> int:
    """Of numbers without a sign: those that begin with zeros say it, else the shortest."""
    padded = [len(text) for text in numbers if text.startswith("0") and len(text) > 1]
    return max(padded) if padded else min(map(len, numbers))


def frame_range(numbers: Sequence[int], digits: int = 0) -> str:
    """Rising numbers as fileseq writes them, of so many digits at least: `987-990,992`."""
    if len(numbers) > 1 and numbers[0] >= 0 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]:0{digits}d}-{numbers[-1]:0{digits}d}"
    from fileseq import FrameSet

    return FrameSet.framesToFrameRange(numbers, zfill=digits) if numbers else ""


def frame_span(first: int, last: int) -> str:
    """All numbers from one to another, as fileseq writes them: `987-990`, or `987`."""
    return f"{first}-{last}" if last > first else str(first)


def spans_of(text: str) -> tuple[range, ...]:
    """Numbers that `frame_range` has written, however many, without memory for each.

    Raises:
        ValueError: another text.
    """
    found = [_SPAN.fullmatch(part) for part in text.split(",")] if text else []
    spans = []
    for part in found:
        if part is None:
            raise _no_range(text)
        first, last, step = int(part[1]), int(part[2] or part[1]), int(part[3] or 1)
        if step < 1 or last - first > _MOST_FRAMES:
            raise _no_range(text)
        spans.append(range(first, last + 1, step))
    return tuple(spans)


def parse_range(text: str) -> tuple[int, ...]:
    """Numbers of frames, rising, of a range as fileseq takes it.

    Raises:
        ValueError: none, too many, or numbers of parts of frames.
    """
    from fileseq import FrameSet

    try:
        chosen = FrameSet(text)
        numbers = {number for number in chosen if isinstance(number, int)}
    except (ValueError, ArithmeticError) as error:  # the second of numbers with more digits than decimals are given
        raise _no_range(text) from error
    if not numbers or len(numbers) < len(chosen):
        raise _no_range(text)
    return tuple(sorted(numbers))


def _no_range(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is no range of frames: give numbers such as 1001-1050, every second of them as 1001-1050x2, or "
        "several joined by commas."
    )


def gaps_between(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last) of the numbers that are not among rising ones, between the first and the last of them."""
    return [(before + 1, after - 1) for before, after in zip(numbers, numbers[1:]) if after - before > 1]


def told_range(spans: Sequence[tuple[int, int]]) -> str:
    """Spans of numbers for a sentence, in few words however many there are."""
    count = sum(last - first + 1 for first, last in spans)
    if count <= _MOST_LISTED:
        text = frame_range([number for first, last in spans for number in range(first, last + 1)])
    else:
        text = ",".join(frame_span(first, last) for first, last in spans[:_MOST_LISTED])
    if len(text) > _LONGEST_LIST:
        text = f"{text[:_LONGEST_LIST].rpartition(',')[0] or text[:_LONGEST_LIST]},... ({count:,} frames)"
    return text


def told_numbers(numbers: Iterable[int]) -> str:
    """Numbers for a sentence, in few words however many there are."""
    return told_range([(number, number) for number in sorted(numbers)])
