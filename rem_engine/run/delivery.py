"""Delivery: the mattes of a shot as the files that compositing software takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..matte.frames import Frame, alpha_of, display_values
from ..media.cryptomatte import check_distinct, cryptomatte_channels, cryptomatte_header
from ..media.exr_writing import (
    Channel,
    HeaderForm,
    exr_bytes,
    exr_channels,
    exr_header,
    matte_box,
    matte_channels,
    packed_places,
    shown_info,
    with_attributes,
)
from ..media.made_by import MadeBy
from ..media.matte_video import ProResWriter, WebMWriter
from ..media.numbering import Numbering, frame_range
from ..media.plate_colour import PlateColour
from ..media.shot import ShotInfo, frames_from_first
from ..media.timecode import STILLS_FPS, Timecode, of_exr, parse_timecode, to_exr
from ..media.windows import Box
from ..media.writing import rgba_png, soft_png
from ..names import names_a_file
from ..progress import SILENT, Progress
from ..whole_files import sync_file, sync_folder, temporary_name, written_together
from ..wording import number_of
from .delivery_settings import DeliverySettings
from .layout import KINDS, OF_DERIVED, SEQUENCES, SINGLE_FILES

if TYPE_CHECKING:
    from .shape_files import ShapeFiles

_VIDEO_WRITERS: dict[str, type[ProResWriter] | type[WebMWriter]] = {"prores": ProResWriter, "webm": WebMWriter}
_UNKNOWN = MadeBy()


class Delivery:
    """Writes the mattes of one shot, frame by frame, where `layout.FILES` has them.

    What an EXR has is its form's: see `exr_channels`. All other files hold one layer.

    Image sequences go on where an earlier run stopped; videos, which cannot, begin anew. Image files of a frame are
    written whole or not at all, and videos take their names in `close`. Frame rate, timecode, primaries, transfer and
    matrix tags are the shot's. Memory does not grow with the shot.

    As a context manager it is closed at the end; after any exception whole frames stay, and no half video.
    """

    def __init__(
        self,
        out: Path,
        numbering: Numbering,
        layers: Sequence[str],
        info: ShotInfo,
        settings: DeliverySettings,
        first_index: int = 0,
        made_by: MadeBy = _UNKNOWN,
        timecode_of: Callable[[int], str | None] | None = None,
        derived: Sequence[str] = (),
        cuts: Callable[[], Collection[int]] = tuple,
        progress: Progress = SILENT,
    ) -> None:
        """Nothing is written before the first frame.

        Args:
            out: the folder; made where it does not exist.
            numbering: names and numbers of the frames, as they are delivered.
            layers: names of the layers, safe as folders.
            info: of the shot.
            settings: what is written.
            first_index: the first frame that image sequences lack, where an earlier run has written those before it.
            made_by: what the files say of how they were made.
            timecode_of: gives each frame's timecode; None counts on from that of `info`.
            derived: names of `Frame.derived`, mattes without colours: `<name>.A` in an EXR and files of the kinds
                `layout.OF_DERIVED` have them, and they are no part of a union.
            cuts: gives frames at which takes begin, known for all frames written so far; shapes end there.
            progress: told "shapes" while those are made, once all frames have come.

        Raises:
            ValueError: no layers, one name twice, a name that is no folder's, two that a Cryptomatte does not tell
                apart, or a timecode that the rate does not have.
        """
        for layer in (*layers, *derived):
            if not names_a_file(layer):
                raise ValueError(f"The layer name {layer!r} cannot name a folder: use letters, digits, _, - and dots.")
        if not layers or len({*layers, *derived}) < len(layers) + len(derived):
            raise ValueError(f"A delivery needs layers of different names, not {', '.join(layers) or 'none'}.")
        if "cryptomatte" in settings.kinds:
            check_distinct(layers)
        self._out, self._numbering, self._layers = out, numbering, tuple(layers)
        self._derived = tuple(derived)
        self._info, self._settings = info if settings.sound else replace(info, sound=None), settings
        self._plate_colour = info.plate_colour or PlateColour()
        self._exr_info = info if settings.exr_linear else shown_info(info)
        said = info.space.tags is None or info.space.tags.transfer is not None
        self._png_tags = info.picture_tags if said else None
        self._fps = info.fps or STILLS_FPS
        self._texts = {layer: made_by.texts([layer]) for layer in (*layers, *derived)}
        self._all_texts = made_by.texts(layers)
        self._first_timecode = parse_timecode(info.timecode, self._fps) if info.timecode else None
        self._timecode_of = timecode_of
        self._next = {kind: 0 if kind in SINGLE_FILES else first_index for kind in settings.kinds}
        self._shapes: ShapeFiles | None = None
        if "shapes" in settings.kinds:
            from .shape_files import ShapeFiles

            self._shapes = ShapeFiles(numbering, layers, info, settings.shapes, cuts)
        self._expected: int | None = None
        self._progress = progress
        self._videos: dict[Path, ProResWriter | WebMWriter] = {}
        self._temporary: dict[Path, Path] = {}
        self._finished: list[Path] = []

    @property
    def shapes(self) -> ShapeFiles | None:
        """Those that are written, made once the delivery is closed; None where none are."""
        return self._shapes

    @property
    def frames_in_sequences(self) -> int:
        """Frames that every image sequence has; 0 where there is none."""
        return next((count for kind, count in self._next.items() if kind in SEQUENCES), 0)

    def write(self, frame: Frame) -> None:
        """Write the next frame to all files that lack it: image files whole or not at all.

        Args:
            frame: in turn; the first may be one that all image sequences have, and not beyond what any file lacks.
                Wanted of it are its alpha; scene-linear light by an EXR of such; the plate by everything but "alpha",
                mattes alone in an EXR and an EXR of scene-linear light without a foreground.

        Raises:
            ValueError: a frame out of turn, without what is wanted, or of another size than the shot's.
            OSError: the disk is full, or OUT cannot be written.
        """
        expected = min(self._next.values(), default=0) if self._expected is None else self._expected
        if frame.index > expected or (self._expected is not None and frame.index < expected):
            raise ValueError(f"The delivery expects frame {expected}, not {frame.index}: write frames in order.")
        parts = _Parts.of(frame)
        self._check(parts)
        kinds = [kind for kind, lacking in self._next.items() if frame.index >= lacking]
        images = self._images(frame.index, parts, kinds)
        for path in images:
            path.parent.mkdir(parents=True, exist_ok=True)
        with written_together(images):  # a frame is there in every sequence, or in none
            images.clear()  # it is on disk
            self._write_videos(parts, kinds)
        if self._shapes is not None and "shapes" in kinds:
            if parts.display is None:
                raise ValueError("Shapes follow the motion of the plate: give it.")
            self._shapes.add(frame.index, parts.display, parts.alpha)
        self._expected = frame.index + 1
        self._next |= dict.fromkeys(kinds, frame.index + 1)

    def close(self) -> None:
        """Make the videos whole and give them their names; make the shapes, and write them.

        Raises:
            OSError: the disk is full; no video is left then.
        """
        shapes: list[Path] = []
        try:
            if self._shapes is not None:
                shapes = self._shapes.write(self._path, self._progress)
            for path, video in self._videos.items():
                video.close()
                sync_file(self._temporary[path])
        except BaseException:
            self.abandon()
            raise
        for path in self._videos:
            self._temporary[path].replace(path)
            sync_folder(path.parent)
        self._finished, self._videos = [*self._videos, *shapes], {}

    def abandon(self) -> None:
        """Remove unfinished videos; whole frames of image sequences stay."""
        for path, video in self._videos.items():
            video.abandon()
            self._temporary[path].unlink(missing_ok=True)
        self._videos = {}

    def __enter__(self) -> Delivery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def listing(self) -> list[str]:
        """What stands, frames of earlier runs included, as paths below OUT; a sequence as one entry with its first and
        last number."""
        found, names = list(self._finished), self._numbering.names
        for kind, count in self._next.items():
            if kind in SEQUENCES and count:
                numbers = frame_range(self._numbering.numbers[:count], names.digits)
                own = (*self._layers, *self._derived) if kind in OF_DERIVED else self._layers
                named = own if "{layer}" in KINDS[kind].file else ("",)
                found += [self._path(kind, layer, names.around(numbers)) for layer in named]
        return sorted({path.relative_to(self._out).as_posix() for path in found})

    def _path(self, kind: str, layer: str, frame: str = "") -> Path:
        return KINDS[kind].path(self._out, layer=layer, shot=self._numbering.names.title, frame=frame)

    def _timecode(self, index: int) -> Timecode | None:
        if self._timecode_of is not None:
            timecode = self._timecode_of(index)
            return parse_timecode(timecode, self._fps) if timecode else None
        counted = frames_from_first(self._info, self._numbering, index, self._fps)
        return self._first_timecode and self._first_timecode.after(counted, self._fps)

    def _check(self, parts: _Parts) -> None:
        height, width = self._info.height, self._info.width
        layers, rgb = len(self._layers), (height, width, 3)
        for what, pixels, shape in (
            ("alpha", parts.alpha, (layers, height, width)),
            ("edge matte", parts.derived, (len(self._derived), height, width)),
            ("scene-linear plate", parts.linear, rgb),
            ("plate", parts.display, rgb),
            ("picture", parts.picture, rgb),
            ("foreground", parts.foreground, (layers, *rgb)),
        ):
            if pixels is not None and pixels.shape != shape:
                raise ValueError(
                    f"The {what} of {self._numbering.names.title} must be {list(shape)} for "
                    f"{number_of(layers, 'layer')} of a shot of {width}x{height} pixels, not "
                    f"{list(pixels.shape)}: bring both to one size."
                )

    def _images(self, index: int, parts: _Parts, kinds: Sequence[str]) -> dict[Path, bytes | memoryview]:
        """What a frame's image files hold."""
        images: dict[Path, bytes | memoryview] = {}
        name = self._numbering.name_of(index)
        for place, layer in enumerate(self._layers):
            if "png16" in kinds:
                images[self._path("png16", layer, name)] = rgba_png(
                    self._colour(parts, place), parts.alpha[place], self._png_tags, self._texts[layer]
                )
        for layer, matte in zip((*self._layers, *self._derived), (*parts.alpha, *parts.mattes_of_them), strict=True):
            if "alpha" in kinds:
                images[self._path("alpha", layer, name)] = soft_png(matte, self._texts[layer])
            if "alpha_exr" in kinds:
                images[self._path("alpha_exr", layer, name)] = self._alpha_exr(index, parts, layer, matte)
        if "exr" in kinds:
            images[self._path("exr", "", name)] = self._exr(index, parts)
        if "cryptomatte" in kinds:
            images[self._path("cryptomatte", "", name)] = self._cryptomatte(index, parts)
        return images

    def _exr(self, index: int, parts: _Parts) -> memoryview:
        settings, alpha, derived, box = self._settings, parts.alpha, parts.mattes_of_them, None
        plate = colours = None
        if settings.exr_is_cropped:
            box = matte_box((*alpha, *derived))
            alpha, derived = (mattes[(slice(None), *box.crop)] for mattes in (alpha, derived))
        else:
            plate, colours = self._exr_colours(parts)
        form: HeaderForm = settings.form_of_exr
        if form == "plate" and colours is not None:
            form = "plate_and_colours"
        header = self._header(index, parts, form, box)
        compression = settings.exr_compression
        if settings.form_of_exr == "packed":
            compression = settings.lossless_compression
            packed = zip(packed_places(len(self._layers)), self._layers, strict=True)
            header["rem/packed"] = ", ".join(f"{place}: {layer}" for place, layer in packed)
        channels = exr_channels(plate, alpha, self._layers, colours, settings.form_of_exr)
        channels |= matte_channels(self._derived, derived)
        return exr_bytes(channels, header | self._all_texts, settings.exr_type, compression)

    def _alpha_exr(self, index: int, parts: _Parts, layer: str, matte: np.ndarray) -> memoryview:
        box = matte_box([matte])
        header = self._header(index, parts, "alpha", box) | self._texts[layer]
        channels = {"A": Channel(matte[box.crop])}
        return exr_bytes(channels, header, self._settings.exr_type, self._settings.exr_compression)

    def _cryptomatte(self, index: int, parts: _Parts) -> memoryview:
        channels = cryptomatte_channels(self._layers, parts.alpha)
        header = self._header(index, parts, "cryptomatte") | cryptomatte_header(self._layers) | self._all_texts
        return exr_bytes(channels, header, "float", self._settings.lossless_compression)

    def _header(self, index: int, parts: _Parts, form: HeaderForm, box: Box | None = None) -> dict[str, Any]:
        """Attributes of an EXR, less those that are texts of its layers."""
        header = exr_header(self._exr_info, linear=self._settings.exr_linear, form=form, box=box)
        header = with_attributes(header, parts.attributes)
        if timecode := self._timecode(index):
            own = parts.attributes.get("timeCode")  # with flags and user data, where it says the same
            same = own is not None and of_exr(own, self._fps) == timecode
            header["timeCode"] = own if same else to_exr(timecode, self._fps)
        return header

    def _exr_colours(self, parts: _Parts) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(plate, colours of the layers) of an EXR."""
        foreground, display = parts.foreground, parts.display
        if not self._settings.exr_linear:
            if parts.picture is None or foreground is None:
                return None if parts.picture is None else self._shown(parts.picture), None
            return self._shown(parts.picture), np.stack(
                [self._shown(self._colour(parts, place)) for place in range(len(foreground))]
            )
        if parts.linear is None or foreground is None or parts.plate_is_light:
            return parts.linear, foreground
        if display is None:
            raise ValueError("An EXR with a foreground needs the display-referred plate: give it.")
        # A foreground of display values ends at 1. Its difference to the plate is what matters, and added to the plate
        # it leaves highlights above 1 as they are.
        light = self._plate_colour.light_of_display
        return parts.linear, parts.linear + (light(foreground) - light(display))

    def _shown(self, picture: np.ndarray) -> np.ndarray:
        """A picture as EXR has it; see `shown_info`."""
        if self._exr_info.space.tags == self._info.space.tags:
            return picture
        return replace(self._plate_colour, exposure=0.0).display(picture)

    def _colour(self, parts: _Parts, place: int) -> np.ndarray:
        """Colour [H,W,3] of a layer in PNG and videos."""
        if parts.foreground is not None and parts.plate_is_light:
            return self._plate_colour.picture(parts.foreground[place])
        if parts.picture is None:
            raise ValueError("PNG, ProRes and WebM with colour need the display-referred plate: give it.")
        if parts.foreground is None:
            return parts.picture
        if parts.display is None:
            raise ValueError("A foreground needs the display-referred plate beside it: give it.")
        return self._plate_colour.repainted(parts.picture, parts.display, parts.foreground[place])

    def _write_videos(self, parts: _Parts, kinds: Sequence[str]) -> None:
        for kind, writer in _VIDEO_WRITERS.items():
            for place, layer in enumerate(self._layers if kind in kinds else ()):
                path, alpha = self._path(kind, layer), parts.alpha[place]
                if path not in self._videos:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._temporary[path] = temporary_name(path)
                    self._videos[path] = writer(self._temporary[path], self._info, self._texts[layer])
                colour = self._colour(parts, place)
                if kind == "prores" and self._settings.premultiplied:
                    colour = colour * alpha[..., None]
                self._videos[path].write(colour, alpha)


def shape_entry(delivery: Delivery) -> dict[str, Any]:
    """What run.json says of the shapes of a delivery that is closed."""
    return {} if delivery.shapes is None else {"shapes": delivery.shapes.account()}


def shape_notes(delivery: Delivery) -> list[str]:
    """What is to be said of them, a sentence a layer."""
    return [] if delivery.shapes is None else delivery.shapes.notes()


@dataclass(frozen=True)
class _Parts:
    """The parts of a `Frame` that are written, pixels as arrays."""

    attributes: Mapping[str, Any]
    alpha: np.ndarray
    display: np.ndarray | None
    linear: np.ndarray | None
    foreground: np.ndarray | None
    picture: np.ndarray | None
    derived: np.ndarray | None
    plate_is_light: bool

    @property
    def mattes_of_them(self) -> np.ndarray:
        """Those that are derived, [D,H,W]."""
        return self.alpha[:0] if self.derived is None else self.derived

    @classmethod
    def of(cls, frame: Frame) -> _Parts:
        display = None if frame.plate is None else display_values(frame.plate)
        picture = display if frame.picture is None else display_values(frame.picture)
        return cls(
            frame.attributes or {},
            alpha_of(frame).numpy(),
            _array(display),
            _array(frame.linear),
            _array(frame.foreground),
            _array(picture),
            _array(frame.derived),
            frame.plate_is_light,
        )


def _array(part: Tensor | None) -> np.ndarray | None:
    return None if part is None else part.numpy()
