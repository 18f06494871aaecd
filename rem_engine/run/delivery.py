"""Delivery: the mattes of a shot as the files that compositing software takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..media.colour import srgb_to_linear
from ..media.exr_writing import exr_bytes, exr_channels, exr_header
from ..media.matte_video import ProResWriter, WebMWriter
from ..media.shot import ShotInfo
from ..media.timecode import STILLS_FPS, parse_timecode, to_exr
from ..media.writing import rgba_png, soft_png
from ..names import EXR_FOLDER
from ..whole_files import temporary_name
from .delivery_settings import DeliverySettings
from .layout import VIDEOS

_VIDEO_WRITERS: dict[str, tuple[type[ProResWriter] | type[WebMWriter], str]] = {
    "prores": (ProResWriter, ".mov"),
    "webm": (WebMWriter, ".webm"),
}


class Delivery:
    """Writes the mattes of one shot, frame by frame.

        OUT/<layer>/alpha/<name>.1001.png    "alpha"
        OUT/<layer>/png16/<name>.1001.png    "png16"
        OUT/exr/<name>.1001.exr              "exr"
        OUT/<layer>/<name>.mov               "prores"
        OUT/<layer>/<name>.webm              "webm"

    An EXR has R, G, B and A, the union (the largest) of the layers' alphas, and `<layer>.A` for each layer. Where
    colours are premultiplied, or decontaminated ones are given, a layer has its own `<layer>.R`, `.G` and `.B` too, and
    R, G, B take a decontaminated colour from the layer that is strongest at the pixel. All other files hold one layer.

    Image files of a frame are written whole or not at all, and videos take their names in `close`. Frame rate,
    timecode, primaries, transfer and matrix tags are the shot's. Memory does not grow with the shot.

    Attributes:
        next_index: the frame that `write` expects.
    """

    def __init__(
        self,
        out: Path,
        name: str,
        layers: Sequence[str],
        info: ShotInfo,
        settings: DeliverySettings,
        first_index: int = 0,
    ) -> None:
        """Nothing is written before the first frame.

        Args:
            out: the folder; made where it does not exist.
            name: with what the files' names begin.
            layers: names of the layers, safe as folders.
            info: of the shot.
            settings: what is written.
            first_index: the first frame to be written, where an earlier sitting has written those before it; 0 with
                videos, which cannot be gone on with.

        Raises:
            ValueError: no layers, one name twice, a name that is no folder's, a timecode that the rate does not have,
                or a `first_index` above 0 with videos.
        """
        for layer in layers:
            if layer in ("", ".", "..") or Path(layer).name != layer:
                raise ValueError(f"The layer name {layer!r} cannot name a folder: use letters, digits, _, - and dots.")
        if not layers or len(set(layers)) < len(layers):
            raise ValueError(f"A delivery needs layers of different names, not {', '.join(layers) or 'none'}.")
        videos = [kind for kind in VIDEOS if kind in settings.kinds]
        if first_index > 0 and videos:
            raise ValueError(f"{' and '.join(videos)} must be written from frame 0 on, not from {first_index}.")
        self.next_index = first_index
        self._out, self._name, self._layers = out, name, tuple(layers)
        self._info, self._settings = info, settings
        self._fps = info.fps or STILLS_FPS
        self._timecode = parse_timecode(info.timecode, self._fps) if info.timecode else None
        self._videos: dict[Path, ProResWriter | WebMWriter] = {}
        self._finished: list[Path] = []

    def write(
        self,
        index: int,
        plate_linear: np.ndarray | None,
        plate_display: np.ndarray | None,
        alpha: np.ndarray,
        foreground: np.ndarray | None = None,
    ) -> None:
        """Write the next frame: its image files whole or not at all.

        Args:
            index: of the frame in the shot, from 0.
            plate_linear: float32 [H,W,3], scene-linear, not clipped; wanted by a linear "exr".
            plate_display: float32 [H,W,3], display sRGB in 0..1; wanted by everything but "alpha" and a linear "exr"
                without `foreground`.
            alpha: float32 [L,H,W] in 0..1.
            foreground: float32 [L,H,W,3], decontaminated straight colours, display sRGB in 0..1. None: the plate's.

        Raises:
            ValueError: a frame out of turn, or sizes that differ from the shot's.
            OSError: the disk is full, or OUT cannot be written.
        """
        if index != self.next_index:
            raise ValueError(f"The delivery expects frame {self.next_index}, not {index}: write frames in order.")
        layers, rgb = len(self._layers), (*self._size, 3)
        self._check("alpha", alpha, (layers, *self._size))
        self._check("scene-linear plate", plate_linear, rgb)
        self._check("plate", plate_display, rgb)
        self._check("foreground", foreground, (layers, *rgb))
        images = self._images(index, plate_linear, plate_display, alpha, foreground)
        try:
            for path, data in images.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary_name(path).write_bytes(data)
            self._write_videos(plate_display, alpha, foreground)
        except BaseException:  # Ctrl-C too: a frame is there in every sequence, or in none
            for path in images:
                temporary_name(path).unlink(missing_ok=True)
            raise
        for path in images:
            temporary_name(path).replace(path)
        self.next_index = index + 1

    def close(self) -> None:
        """Make the videos whole and give them their names.

        Raises:
            OSError: the disk is full; no video is left then.
        """
        try:
            for video in self._videos.values():
                video.close()
        except BaseException:
            self.abandon()
            raise
        for path in self._videos:
            temporary_name(path).replace(path)
        self._finished, self._videos = [*self._videos], {}

    def abandon(self) -> None:
        """Remove unfinished videos; whole frames of image sequences stay."""
        for path, video in self._videos.items():
            video.abandon()
            temporary_name(path).unlink(missing_ok=True)
        self._videos = {}

    def files(self) -> list[Path]:
        """Every file that stands, those of frames before `first_index` included."""
        frames = [path for index in range(self.next_index) for path in self._frame_files(index).values()]
        return [*frames, *self._finished]

    @property
    def _size(self) -> tuple[int, int]:
        return self._info.height, self._info.width

    def _check(self, what: str, pixels: np.ndarray | None, shape: tuple[int, ...]) -> None:
        if pixels is None or pixels.shape == shape:
            return
        height, width = self._size
        raise ValueError(
            f"The {what} of {self._name} must be {list(shape)} for {len(self._layers)} layers of a shot of "
            f"{width}x{height} pixels, not {list(pixels.shape)}: bring both to one size."
        )

    def _frame_files(self, index: int) -> dict[tuple[str, str], Path]:
        """Image files of a frame, by kind and layer; "" is the layer of what holds all of them."""
        number = f"{self._name}.{self._settings.start + index:0{self._settings.padding}d}"
        kinds = self._settings.kinds
        files = {
            (kind, layer): self._out / layer / kind / f"{number}.png"
            for kind in ("alpha", "png16")
            if kind in kinds
            for layer in self._layers
        }
        if "exr" in kinds:
            files["exr", ""] = self._out / EXR_FOLDER / f"{number}.exr"
        return files

    def _images(
        self,
        index: int,
        plate_linear: np.ndarray | None,
        plate_display: np.ndarray | None,
        alpha: np.ndarray,
        foreground: np.ndarray | None,
    ) -> dict[Path, bytes]:
        """What a frame's image files hold."""
        images = {}
        for (kind, layer), path in self._frame_files(index).items():
            if kind == "exr":
                images[path] = self._exr(index, plate_linear, plate_display, alpha, foreground)
            elif kind == "alpha":
                images[path] = soft_png(alpha[self._layers.index(layer)])
            else:
                number = self._layers.index(layer)
                images[path] = rgba_png(self._colour(number, plate_display, foreground), alpha[number])
        return images

    def _exr(
        self,
        index: int,
        plate_linear: np.ndarray | None,
        plate_display: np.ndarray | None,
        alpha: np.ndarray,
        foreground: np.ndarray | None,
    ) -> bytes:
        settings = self._settings
        plate, colours = plate_linear if settings.exr_linear else plate_display, foreground
        if plate is None or (foreground is not None and plate_display is None):
            raise ValueError("An EXR needs the plate: give it scene-linear, and display-referred with a foreground.")
        if foreground is not None and settings.exr_linear:
            # A foreground is display-referred, so it ends at 1. Its difference to the plate is what matters, and added
            # to the plate it leaves highlights above 1 as they are.
            colours = plate + (srgb_to_linear(foreground) - srgb_to_linear(plate_display))
        header = exr_header(self._info, linear=settings.exr_linear, premultiplied=settings.premultiplied)
        if self._timecode:
            header["timeCode"] = to_exr(self._timecode.after(index, self._fps), self._fps)
        channels = exr_channels(plate, alpha, self._layers, colours, settings.premultiplied)
        return exr_bytes(channels, header, settings.exr_type, settings.exr_compression)

    def _write_videos(self, plate_display: np.ndarray | None, alpha: np.ndarray, foreground: np.ndarray | None) -> None:
        for kind, (writer, suffix) in _VIDEO_WRITERS.items():
            for number, layer in enumerate(self._layers if kind in self._settings.kinds else ()):
                path = self._out / layer / f"{self._name}{suffix}"
                if path not in self._videos:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._videos[path] = writer(temporary_name(path), self._info)
                colour = self._colour(number, plate_display, foreground)
                if kind == "prores" and self._settings.premultiplied:
                    colour = colour * alpha[number, ..., None]
                self._videos[path].write(colour, alpha[number])

    def _colour(self, number: int, plate_display: np.ndarray | None, foreground: np.ndarray | None) -> np.ndarray:
        """Display-referred colour of a layer."""
        if foreground is not None:
            return foreground[number]
        if plate_display is None:
            raise ValueError("PNG, ProRes and WebM with colour need the display-referred plate: give it.")
        return plate_display
