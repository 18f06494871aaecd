"""Masks of single frames that a node is given to correct a shot from, and where they are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ...rem_engine.frames import FrameSource
from ...rem_engine.media.numbering import FIRST_FRAME, told_numbers
from ...rem_engine.media.writing import soft_png, write_bytes
from ...rem_engine.run.corrections import numbered_keys
from ...rem_engine.wording import number_of, there_are
from .inputs import as_painted_masks
from .outputs import new_output_folder, output_folders, write_graph
from .schema import growing_input

_NUMBER = "refereverything_frame"
_MOST_GROWN = 100


def with_frame_number(mask: Tensor, number: int) -> Tensor:
    """A mask that knows the number of its frame, from 1 on; every node of another kind makes a new mask of it, which
    does not."""
    setattr(mask, _NUMBER, number)
    return mask


def growing_keys() -> io.Input:
    """Sockets for masks of single frames, of which there is always one more than are connected."""
    return growing_input(
        "keys",
        io.Mask.Input("key", tooltip="The right mask of one frame; a second one for a frame is refused."),
        range(1, _MOST_GROWN + 1),
        tooltip="Right masks of single frames, as many as there are: of Paint Key Mask, which know their frames, or "
        "any others, whose frames 'frames' says.",
    )


def frame_numbers(text: str | None) -> tuple[int, ...]:
    """Numbers of frames out of a text such as "12, 40".

    Raises:
        ValueError: something else is in it.
    """
    parts = [part for part in re.split(r"[\s,;]+", text or "") if part]
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise ValueError(f"{wrong[0]!r} in frames is no number of a frame: write numbers from 1 on, such as 12, 40.")
    return tuple(int(part) for part in parts)


def connected_keys(keys: Mapping[str, Tensor | None], text: str, frames: FrameSource) -> dict[int, Tensor]:
    """Masks at the sockets by the places of their frames, float32 [H,W] in 0..1.

    Args:
        keys: by socket; one of no mask, [0,H,W], as Paint Key Mask gives it before anything is painted, gives none.
        text: the numbers of their frames; empty where all know theirs.
        frames: of the shot.

    Raises:
        ValueError: more or fewer numbers than masks, one outside of the shot or twice; a mask of another size, several
            at one socket, or one that was not painted.
    """
    given = {socket: mask for socket, mask in keys.items() if mask is not None}
    painted = {socket: mask for socket, mask in given.items() if len(mask)}
    numbers = _numbers_of(painted, frame_numbers(text))
    found: dict[int, Tensor] = {}
    for (socket, mask), number in zip(painted.items(), numbers, strict=True):
        if not 1 <= number <= frames.frame_count:
            raise ValueError(
                f"The mask at {socket} is of frame {number}, and the shot has frames 1 to {frames.frame_count}: "
                "give one of these."
            )
        if number - 1 in found:
            raise ValueError(f"Two masks are given for frame {number}: disconnect one of them.")
        found[number - 1] = _one_mask(socket, mask, frames)
    return found


def _numbers_of(keys: Mapping[str, Tensor], asked: tuple[int, ...]) -> tuple[int, ...]:
    known = tuple(getattr(mask, _NUMBER, None) for mask in keys.values())
    if not asked and None not in known:
        return tuple(number for number in known if number is not None)
    open_ones = known.count(None)
    if len(asked) == len(keys):
        return asked
    if len(asked) == open_ones:
        rest = iter(asked)
        return tuple(next(rest) if number is None else number for number in known)
    raise ValueError(
        f"{there_are(open_ones, 'key mask')} of which the frame is not known, and frames has "
        f"{number_of(len(asked), 'number')}: write one for each of them, in the order of the sockets."
    )


def _one_mask(socket: str, mask: Tensor, frames: FrameSource) -> Tensor:
    masks = as_painted_masks(mask, frames, socket)
    if len(masks) != 1:
        raise ValueError(
            f"There are {len(masks)} masks at {socket}, and one is expected: of one frame and one layer. Another layer "
            "gets a Correct Mask of its own."
        )
    return masks[0].float().clamp(0.0, 1.0)


def key_folder(name: str) -> Path:
    """Where a folder of key masks is, below the host's input folder, or its output folder.

    Raises:
        FileNotFoundError: it is in neither.
        ValueError: a path that leads out of both, or that is none.
    """
    if "\0" in name:
        raise ValueError(f"The path {name!r} holds a zero byte, which no name has: write another.")
    roots = [Path(root()).absolute() for root in (folder_paths.get_input_directory, folder_paths.get_output_directory)]
    asked = ((root, Path(os.path.normpath(root / name.strip()))) for root in roots)
    inside = [path for root, path in asked if path != root and path.is_relative_to(root)]
    if not inside:
        raise ValueError(
            f"The folder {name!r} leads out of ComfyUI's input and output folders: give one below them, for example "
            "ReferEverything/keys_00001."
        )
    found = next((path for path in inside if path.exists()), None)
    if found is None:
        raise FileNotFoundError(f"There is no folder {name!r} in ComfyUI's input or output folder: put it there.")
    return found


def folder_keys(name: str, frames: FrameSource) -> dict[int, Tensor]:
    """Masks in a folder by the places of their frames, float32 [H,W] in 0..1; {} for no name.

    Files are numbered from 1, or from 1001 as those that the pack writes.

    Raises:
        FileNotFoundError, ValueError: as `key_folder` and `numbered_keys`.
    """
    if not name.strip():
        return {}
    count = frames.frame_count
    numberings = (range(FIRST_FRAME, FIRST_FRAME + count), range(1, count + 1))
    keys = numbered_keys(str(key_folder(name)), "the shot", (frames.height, frames.width), numberings, "key.1001")
    return {place: torch.from_numpy(mask.copy()) for place, mask in zip(keys.places, keys.masks(), strict=True)}


def keep_keys(keys: Mapping[int, Tensor], prefix: str, graph: Mapping[str, str]) -> Path:
    """Keep masks as 16-bit grey PNGs in a folder of the host's output folder, with the graph beside them.

    A folder of that prefix that holds the same masks, and was written last, is taken as it is.

    Args:
        keys: by place, at least one.
        prefix: as Save Image takes it.
        graph: of the run; see `graph_of`.

    Raises:
        ValueError: a prefix that leads out of the output folder.
        RuntimeError: the disk is full.
    """
    files = {f"key.{FIRST_FRAME + place}.png": soft_png(keys[place].numpy()) for place in sorted(keys)}
    earlier = next(iter(output_folders(prefix)), None)
    if earlier is not None and {file.name: file.read_bytes() for file in earlier.glob("key.*.png")} == files:
        return earlier
    height, width = next(iter(keys.values())).shape
    folder, _ = new_output_folder(prefix, height, width)
    for file, content in files.items():
        write_bytes(folder / file, content)
    write_graph(folder, graph)
    return folder


def told_frames(places: Collection[int]) -> str:
    """Frames by their numbers from 1 on, as a sentence has them."""
    return told_numbers(place + 1 for place in places)
