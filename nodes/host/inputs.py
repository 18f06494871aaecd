"""What comes into a node: IMAGE and MASK, shots in the host's input folder, and the host's lazy VIDEO."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import folder_paths
import torch
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ...rem_engine.frames import ArrayFrames, FrameSource, ReopenableFrames
from ...rem_engine.matte.checks import check_finite, check_same_size
from ...rem_engine.media import open_shot
from ...rem_engine.media.colour import REC_709, ColourTags
from ...rem_engine.media.plate_settings import AUTO, PlateSettings
from ...rem_engine.media.plate_space import SRGB_TRANSFER
from ...rem_engine.media.reading import shot_files, title_of_pattern
from ...rem_engine.media.shot import ShotInfo
from ...rem_engine.media.timecode import exact_rate
from ...rem_engine.pixels import check_unit_range
from ...rem_engine.segment.cuts import CutFinder

IMAGE_COLOURS = ColourTags(REC_709, SRGB_TRANSFER)
"""What the host's pictures are: display sRGB."""

_KIND = "MASK"  # the host's name, where no socket is told
_UNPAINTED = (64, 64)  # of the mask that the host's Load Image gives of a picture without one
_FEW = 32  # levels of integers; a soft mask has more of them, however dark it is


@dataclass(frozen=True)
class StreamedShot:
    """A shot that can be read again and again without being in memory whole.

    Attributes:
        open: gives it from its first frame on.
        info: size, rate, timecode and colour tags.
        source: its path, if it has one.
    """

    open: Callable[[], ReopenableFrames]
    info: ShotInfo
    source: str = ""


def input_shot_path(name: str) -> Path:
    """Where a shot of the input folder is.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: a path that leads out of the input folder, or that is none.
    """
    if "\0" in name:
        raise ValueError(f"The path {name!r} holds a zero byte, which no name has: choose a shot again.")
    root = os.path.abspath(folder_paths.get_input_directory())
    path = os.path.abspath(os.path.join(root, name))
    if not path.startswith(root + os.sep):
        raise ValueError(f"The path {name!r} leads out of ComfyUI's input folder, {root}: choose a shot in it.")
    known = os.path.exists(path)  # it does not, where a name is longer than the system takes
    if not known and not (os.path.isdir(os.path.dirname(path)) and title_of_pattern(Path(path)) is not None):
        raise FileNotFoundError(f"There is no shot {name!r} in ComfyUI's input folder, {root}: put it there.")
    return Path(path)


def shot_stamp(path: Path) -> list[tuple[str, float, int]]:
    """Name, time and size of each file of a shot: another stamp is another shot."""
    return [(file.name, stat.st_mtime, stat.st_size) for file in shot_files(path) for stat in [file.stat()]]


def file_shot(path: Path, plate: PlateSettings, span: tuple[float, float] | None = None) -> StreamedShot:
    """A video file, or a part of it, or a folder of frames, read as the settings say; see `open_shot`.

    Raises:
        ValueError: a file that cannot be read.
    """
    with open_shot(path, plate, span=span) as shot:
        return StreamedShot(shot.reopen, shot.info, str(path))


def as_frames(image: Tensor, name: str = "IMAGE") -> ArrayFrames:
    """An IMAGE as frames, of which every value has been looked at.

    Args:
        image: [T,H,W,C] or one picture [H,W,C], grey, RGB or RGBA (alpha is left aside), or grey [T,H,W]; of any
            device: floats in 0..1 of any precision (what lies outside by up to `OVERSHOOT` is clipped), or uint8 or
            uint16.
        name: of the socket, for sentences.

    Raises:
        ValueError: another shape or type, no frames, values that are not finite or not meant to lie in 0..1.
    """
    _check_tensor(image, name)
    if image.ndim == 3 and image.shape[-1] in (1, 3, 4):
        image = image[None]
    if 0 in image.shape:
        raise ValueError(f"The {name} has no frames; at least one is needed.")
    frames = ArrayFrames(image)
    for index in range(frames.frame_count):  # one at a time: a shot may take much of the memory
        frames.check(index, index + 1)
    return frames


def cuts_of(frames: ArrayFrames) -> list[int]:
    """Frames at which takes begin."""
    finder = CutFinder()
    for index in range(frames.frame_count):
        finder.add(frames.read(index, index + 1)[0])
    finder.finish()
    return finder.cuts


def as_masks(mask: Tensor, frames: FrameSource, name: str = _KIND) -> Tensor:
    """A MASK as [N,H,W] on the CPU, of which every value has been looked at; floats keep their type and are not copied.

    Args:
        mask: [N,H,W], [N,H,W,1], [N,1,H,W] or one mask [H,W]; of any device: floats in 0..1 of any precision (what lies
            outside by up to `OVERSHOOT` is to be clipped), bool, integers of 0 and 1, or uint8 and uint16 up to their
            type's highest value.
        frames: of the shot, of which they are.
        name: of the socket, for sentences.

    Raises:
        ValueError: another shape, size or type; values that are not finite or not meant to lie in 0..1.
    """
    _check_tensor(mask, name)
    planes = mask[None] if mask.ndim == 2 else mask
    if planes.ndim == 4 and 1 in (planes.shape[1], planes.shape[3]):
        planes = planes[..., 0] if planes.shape[3] == 1 and planes.shape[1] != 1 else planes[:, 0]
    if planes.ndim != 3:
        raise ValueError(
            f"A {name} of shape {list(mask.shape)} cannot be used; [T,H,W], a mask a frame, or one [H,W] is expected."
        )
    told = "mask" if name in ("mask", _KIND) else f"mask at {name}"
    check_same_size("image", (frames.height, frames.width), told, planes.shape[1:])
    planes = planes.detach().cpu()
    if not planes.is_floating_point():
        return _shades(planes, name)
    if planes.dtype.itemsize == 1:  # of eight bits, with which torch does not compute
        planes = planes.float()
    for index, plane in enumerate(planes):
        check_finite(plane, f"{told} of frame {index % frames.frame_count}")
        check_unit_range(plane.min().item(), plane.max().item(), f"The {name}")
    return planes


def as_painted_masks(mask: Tensor, frames: FrameSource, name: str) -> Tensor:
    """`as_masks` of what people paint, which refuses what the host gives of a picture on which nothing was painted.

    Raises:
        ValueError: such a mask; and as `as_masks`.
    """
    unpainted = isinstance(mask, Tensor) and tuple(mask.shape[-2:]) == _UNPAINTED and not mask.any()
    if unpainted and (frames.height, frames.width) != _UNPAINTED:
        raise ValueError(f"The mask at {name} is of a picture without one: paint it, or disconnect it.")
    return as_masks(mask, frames, name)


def _shades(planes: Tensor, name: str) -> Tensor:
    """Integers [N,H,W] as float32 in 0..1."""
    if planes.dtype == torch.bool or not len(planes):
        return planes.float()
    values = planes.int() if planes.dtype == torch.uint16 else planes  # of which torch can do little else
    low, high = values.min().item(), values.max().item()
    if low >= 0 and high <= 1:
        return values.float()
    white = {torch.uint8: 255, torch.uint16: 65535}.get(planes.dtype)
    if white is None or (high < white // 2 and len(values.unique()) <= _FEW):
        raise ValueError(
            f"The {name} holds integers from {low} to {high}, which are no shades: give floats in 0..1, or the mask of "
            "one thing as 0 and 1."
        )
    return values.float() / white


def _check_tensor(value: object, name: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"The {name} is of type {type(value).__name__}, and a tensor is expected: connect another.")


@contextmanager
def video_shot(video: Input.Video, plate: PlateSettings) -> Iterator[StreamedShot]:
    """The host's VIDEO: the frames that its `get_components` gives.

    A file is read as a stream, the part to which the host trims it alone; frames in memory stay where they are. What a
    class of another pack makes of its frames is not known, so that it is asked for them.

    Raises:
        ValueError: a file that cannot be read, a part without frames, or what is no VIDEO.
    """
    if not hasattr(video, "get_components"):
        raise ValueError(f"The video is of type {type(video).__name__}, which is no VIDEO: connect Load Video.")
    if not _reads_as_hosts_file(video):  # asked for a stream, frames in memory would be compressed
        if plate.plate_space != AUTO or plate.exposure:
            raise ValueError(
                "The video is made of pictures of the graph, which are display sRGB already: leave plate_space at "
                f"{AUTO!r} and exposure at 0, or choose the plate at path."
            )
        parts = video.get_components()
        frames = as_frames(parts.images, "VIDEO")
        rate = parts.frame_rate if isinstance(parts.frame_rate, Fraction) else exact_rate(parts.frame_rate)
        info = ShotInfo(frames.height, frames.width, rate, colour=IMAGE_COLOURS)
        yield StreamedShot(lambda: frames, info)
        return
    # Before the source, in which it reads; ComfyUI 0.8.0 cannot trim.
    window = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    source, span = video.get_stream_source(), window if any(window) else None
    if isinstance(source, (str, os.PathLike)):
        yield file_shot(Path(source), plate, span)
        return
    with TemporaryDirectory(dir=folder_paths.get_temp_directory()) as folder:
        file = Path(folder) / "video"
        with file.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield file_shot(file, plate, span)


def _reads_as_hosts_file(video: Input.Video) -> bool:
    """Whether frames of a VIDEO are those of its file, within the time to which the host trims it."""
    kind, hosts = type(video), InputImpl.VideoFromFile
    readers = ("get_components", "get_components_internal", "get_stream_source", "get_active_trim_window")
    return issubclass(kind, hosts) and all(getattr(kind, name, None) is getattr(hosts, name, None) for name in readers)
