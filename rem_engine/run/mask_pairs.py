"""Which mask lies on which frame: by their numbers, never by their place in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..media.masks import Masks
from ..media.numbering import Numbering, told_numbers


@dataclass(frozen=True)
class PairedMasks:
    """Masks of a layer, laid on the frames of a shot.

    Attributes:
        masks: as they are on disk.
        places: of each frame its mask's place among them, rising; None where there is none.
        held: whether a frame without a mask has that of the frame before; otherwise it is empty, as it is before the
            first mask.
        notes: what there is to say of them, a sentence each.
        cells: (height, width) at which a model made them; None where that is not known.
    """

    masks: Masks
    places: tuple[int | None, ...]
    held: bool = False
    notes: tuple[str, ...] = ()
    cells: tuple[int, int] | None = None

    def frames(self) -> Iterator[np.ndarray]:
        """The mask of each frame, float32 [H,W]."""
        read, place = self.masks.frames(), 0
        before = empty = np.zeros((self.masks.height, self.masks.width), np.float32)
        for wanted in self.places:
            if wanted is None:
                yield before if self.held else empty
                continue
            skipped, place = wanted - place, wanted + 1
            if self.held:
                before = next(islice(read, skipped, None))
                yield before
            else:
                yield next(islice(read, skipped, None))  # without a name, which would hold it beside the frame


def pair(masks: Masks, shot: Numbering, delivered: Numbering, *, every: bool = True) -> PairedMasks:
    """Lay masks on the frames of a shot.

    Masks that are numbered go by the numbers of the shot, or by those that it is delivered under where more of them
    agree. Those of a video or of an array go from the first frame on, and have to be as many as there are frames.

    Args:
        masks: of one layer.
        shot: names and numbers of its frames.
        delivered: the same as they are delivered.
        every: whether the shot is read whole, so that a mask of no frame is worth a note.

    Raises:
        ValueError: no mask has a frame, or masks without numbers are more or fewer than the frames.
    """
    if masks.numbers is None or (len(masks.numbers) == len(shot.numbers) == 1 and not shot.own):
        return PairedMasks(masks, _in_turn(masks, shot))
    place_of = {number: place for place, number in enumerate(masks.numbers)}
    numbers = max((shot.numbers, delivered.numbers), key=lambda ones: sum(number in place_of for number in ones))
    places = tuple(place_of.get(number) for number in numbers)
    if all(place is None for place in places):
        raise ValueError(_apart(masks, masks.numbers, shot))
    held, notes = shot.gaps == "hold", []
    lacking = [
        number
        for index, (number, place) in enumerate(zip(numbers, places, strict=True))
        if place is None and not shot.is_missing(index)
    ]
    first = next(number for number, place in zip(numbers, places, strict=True) if place is not None)
    after = [number for number in lacking if held and number > first]
    empty = [number for number in lacking if number not in after]
    for ones, stands in ((empty, "the matte is empty there"), (after, "the mask before stands in its place")):
        if ones:
            notes.append(f"The masks in {masks.path} have none of frames {told_numbers(ones)}: {stands}.")
    beyond = place_of.keys() - {*numbers}
    if beyond and every:
        notes.append(f"The masks {told_numbers(beyond)} in {masks.path} are of no frame: they are left aside.")
    return PairedMasks(masks, places, held, tuple(notes))


def _in_turn(masks: Masks, shot: Numbering) -> tuple[int | None, ...]:
    """Places of masks without numbers, from the first frame on: one for each frame, for each that is there, or for each
    of the whole shot where only some are read."""
    if masks.frame_count == len(shot.numbers):
        return tuple(range(masks.frame_count))
    if masks.frame_count == len(shot.whole):
        place_of = {number: place for place, number in enumerate(shot.whole)}
        return tuple(place_of.get(number) for number in shot.numbers)
    if masks.frame_count == len(shot.present):
        places = iter(range(masks.frame_count))
        return tuple(None if shot.is_missing(index) else next(places) for index in range(len(shot.numbers)))
    count = masks.frame_count
    told, numbered = ("is 1 mask", "has no number") if count == 1 else (f"are {count} masks", "have no numbers")
    raise ValueError(
        f"There {told} in {masks.path}, which {numbered}, and {len(shot.numbers)} frames in {shot.names.title} "
        f"({shot.range}): give one mask a frame, or numbered ones."
    )


def _apart(masks: Masks, numbers: Sequence[int], shot: Numbering) -> str:
    advice = "number them as the frames are"
    if not shot.own:
        advice = f"give --start {numbers[0]}, so that the shot, which has no numbers of its own, counts as they do"
    return (
        f"No mask in {masks.path} ({told_numbers(numbers)}) has the number of a frame of {shot.names.title} "
        f"({told_numbers(shot.numbers)}): masks lie on the frames of their numbers; {advice}."
    )
