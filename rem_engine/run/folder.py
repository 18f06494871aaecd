"""The folder a run writes: its masks frame by frame, its account, and going on after an interruption."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..media.made_by import MadeBy, zip_comment
from ..media.numbering import Numbering
from ..media.writing import ids_png, mask_png, soft_png
from ..pixels import as_16_bits
from ..whole_files import written_together, written_whole
from .coverage import are_ranges
from .layout import KINDS, SEQUENCES, SINGLE_FILES, STORED_MASKS, array_file
from .output import Output

if TYPE_CHECKING:
    from ..layers import Layer

_UNKNOWN = MadeBy()


class RunFolder:
    """Writes the masks of one run, where `layout.FILES` has them, and run.json last: where it stands, the run is whole.

    Files take their names only when whole. Until the run is whole, a hidden state file in OUT says how far it came.

    Attributes:
        frames_done: masks of frames 0..frames_done-1 are written.
        delivered: frames 0..delivered-1 of the delivery's sequences are written.
        seconds: time spent on this run before it was interrupted, per stage.
        notes: what else is known of the run so far; kept with its state.
    """

    def __init__(
        self,
        output: Output,
        layers: Sequence[Layer],
        size: tuple[int, int],
        numbering: Numbering,
        write: Sequence[str],
        threshold: float,
        made_by: MadeBy = _UNKNOWN,
    ) -> None:
        """Take over what the same run left in OUT when it was stopped. Nothing is written before `begin`.

        Args:
            output: OUT, claimed for this run.
            layers: L layers; each has a folder of its name.
            size: (H, W) of the shot.
            numbering: names and numbers of its frames, as they are delivered.
            write: what is wanted of masks, soft, npz and ids, of the overlay and of deliveries.
            threshold: a pixel is in a mask where soft > threshold.
            made_by: what the files say of how they were made.
        """
        self.frames_done = self.delivered = 0
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, Any] = {}
        self._output, self._layers, self._numbering = output, tuple(layers), numbering
        self._shape = (len(numbering.numbers), *size)
        self._write, self._threshold = frozenset(write), threshold
        self._texts = {layer.name: made_by.texts([layer.name], matted=False) for layer in layers}
        self._all_texts = made_by.texts([layer.name for layer in layers], matted=False)
        self._pixels = [0] * len(self._layers)
        self._array_header = _npy_header(self._shape)
        self._taken_over = self._take_over()

    @property
    def out(self) -> Path:
        """OUT itself."""
        return self._output.out

    @property
    def work(self) -> Path:
        """Below which files are written: OUT, or a folder in it where they wait to replace others."""
        return self._output.work

    @property
    def replaces(self) -> bool:
        """Whether files of an earlier run are replaced, once this one is whole."""
        return self._output.replaces

    def begin(self) -> None:
        """Note how much is there, and make the folders."""
        self._output.begin(self._state(self.seconds))
        if not self._taken_over:
            self._make()

    @property
    def kept(self) -> bool:
        """Whether a later run may take this one up."""
        return self._output.kept

    @property
    def can_go_on(self) -> bool:
        """Whether written frames serve a later run with the same fingerprint.

        A video is one file, which cannot be gone on with: it is made anew, the overlay from the masks it showed, which
        are on disk, and a delivery from soft ones. Where there are none, the run starts at the first frame.
        """
        if not self.kept:
            return False
        if self.has_single_files:
            return self.has_soft
        stored = STORED_MASKS if "overlay" in self._write else (*STORED_MASKS, *SEQUENCES)
        return not self._write.isdisjoint(stored)

    @property
    def whole_frames(self) -> int:
        """Frames of which all files are there, less those that are in one file with others."""
        sequences = not self._write.isdisjoint(SEQUENCES)
        return min(self.frames_done, self.delivered) if sequences else self.frames_done

    @property
    def has_single_files(self) -> bool:
        """Whether deliveries are wanted that hold all frames in one file."""
        return not self._write.isdisjoint(SINGLE_FILES)

    @property
    def has_soft(self) -> bool:
        """Whether soft masks are on disk, for `read_frame` to give."""
        return not self._write.isdisjoint(("soft", "npz"))

    @property
    def frame_count(self) -> int:
        return self._shape[0]

    def write_frame(self, soft: np.ndarray, ids: np.ndarray | None = None) -> None:
        """Write the next frame for every layer, whole or not at all.

        Args:
            soft: float32 [L,H,W].
            ids: uint8 [H,W], where ids are wanted.

        Raises:
            OSError: the disk is full, or OUT cannot be written.
        """
        index = self.frames_done
        masks = soft > self._threshold
        files: dict[Path, bytes] = {}
        for layer, one_soft, mask in zip(self._names, soft, masks, strict=True):
            if "npz" in self._write:
                self._write_array(layer, index, one_soft)
            if "masks" in self._write:
                files[self._file("masks", index, layer)] = mask_png(mask, self._texts[layer])
            if "soft" in self._write:
                files[self._file("soft", index, layer)] = soft_png(one_soft, self._texts[layer])
        if ids is not None:
            files[self._file("ids", index)] = ids_png(ids, self._all_texts)
        with written_together(files):
            pass
        pixels = [count + int(mask.sum()) for count, mask in zip(self._pixels, masks, strict=True)]
        self._pixels, self.frames_done = pixels, index + 1

    def as_stored(self, soft: np.ndarray) -> np.ndarray:
        """What `read_frame` gives of masks, float32 [L,H,W], once they are written; as they are where none will be."""
        if "npz" in self._write:
            return soft
        if "soft" in self._write:
            return as_16_bits(soft)
        return (soft > self._threshold).astype(np.float32) if "masks" in self._write else soft

    def read_frame(self, index: int) -> np.ndarray:
        """Soft masks of a written frame, float32 [L,H,W], as exact as what was written (binary if only masks were)."""
        return np.stack([self._read_one(layer, index) for layer in self._names])

    def save_state(self, seconds: dict[str, float]) -> None:
        """Note how far the run came, with the seconds spent so far on each stage, so that it can go on from there."""
        self._output.save(self._state(seconds))

    def stop(self, seconds: dict[str, float]) -> None:
        """End a run before it is whole: its frames stay, and a later run goes on from them where it may."""
        self._output.stop(self._state(seconds) if self.kept else None)

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """Close the arrays and write run.json: `run` and the list of prompts. Returns what was written."""
        if "npz" in self._write:
            for layer in self._names:
                whole = KINDS["npz"].path(self.work, layer=layer)
                with written_whole(whole) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    archive.write(array_file(self.work, layer), "soft.npy")
                    archive.comment = zip_comment(self._texts[layer])
            for layer in self._names:  # only now: until all are whole, the run may have to go on from the arrays
                array_file(self.work, layer).unlink()
        frames, height, width = self._shape
        prompts = [
            {
                "prompt": layer.text,
                "name": layer.name,
                "without": list(layer.without),
                "folder": layer.name,
                "mean_area": pixels / (frames * height * width),
                "frames": frames,
            }
            for layer, pixels in zip(self._layers, self._pixels, strict=True)
        ]
        return self._output.finish({**run, "prompts": prompts})

    @property
    def _names(self) -> list[str]:
        return [layer.name for layer in self._layers]

    def _file(self, kind: str, index: int, layer: str = "") -> Path:
        return KINDS[kind].path(self.work, layer=layer, frame=self._numbering.name_of(index))

    def _state(self, seconds: dict[str, float]) -> dict[str, Any]:
        return {
            "frames_done": self.frames_done,
            "delivered": self.delivered,
            "pixels": self._pixels,
            "seconds": seconds,
            "notes": self.notes,
        }

    def _take_over(self) -> bool:
        state = self._output.progress
        if not self.can_go_on or not _is_state(state, len(self._layers)):
            return False
        done, delivered = state["frames_done"], state["delivered"]
        files = (
            self._file(kind, index, layer)
            for kind in self._picture_kinds()
            for layer in self._names
            for index in range(done)
        )
        whole = all(file.is_file() for file in files)
        if "npz" in self._write:
            whole = whole and all(array_file(self.work, layer).is_file() for layer in self._names)
        if delivered:
            whole = whole and self._output.frames_there(SEQUENCES) >= delivered
        if done == 0 or not whole:
            return False
        self.frames_done, self.delivered = done, delivered
        self._pixels, self.seconds, self.notes = state["pixels"], state["seconds"], state["notes"]
        return True

    def _picture_kinds(self) -> list[str]:
        """Kinds of masks that have a PNG for every frame."""
        return [kind for kind in ("masks", "soft", "ids") if kind in self._write]

    def _make(self) -> None:
        for kind in self._picture_kinds():
            for folder in KINDS[kind].places(self.work, self._names):
                folder.mkdir(parents=True, exist_ok=True)
        if "npz" in self._write:
            for layer in self._names:
                array = array_file(self.work, layer)
                array.parent.mkdir(exist_ok=True)
                array.write_bytes(self._array_header)

    def _write_array(self, layer: str, index: int, soft: np.ndarray) -> None:
        # Written, not memory-mapped: pages of a map count as this process's memory, which must not grow with the shot.
        data = memoryview(np.ascontiguousarray(soft, "<f4")).cast("B")
        with open(array_file(self.work, layer), "r+b", buffering=0) as file:
            file.seek(len(self._array_header) + index * len(data))
            while data:
                data = data[file.write(data) :]

    def _read_one(self, layer: str, index: int) -> np.ndarray:
        _, height, width = self._shape
        if "npz" in self._write:
            offset = len(self._array_header) + index * height * width * 4
            pixels = np.fromfile(array_file(self.work, layer), "<f4", height * width, offset=offset)
            return pixels.reshape(height, width)
        kind, white = ("soft", 65535.0) if "soft" in self._write else ("masks", 255.0)
        with Image.open(self._file(kind, index, layer)) as image:
            return np.asarray(image).astype(np.float32) / np.float32(white)


def _is_state(state: dict[str, Any], layers: int) -> bool:
    """Whether a state is what `RunFolder` noted, and not what damage or another hand has made of it."""
    pixels, seconds, notes = (state.get(name) for name in ("pixels", "seconds", "notes"))
    return (
        all(type(state.get(name)) is int and state[name] >= 0 for name in ("frames_done", "delivered"))
        and isinstance(pixels, list)
        and len(pixels) == layers
        and all(type(count) is int for count in pixels)
        and isinstance(seconds, dict)
        and all(isinstance(value, (int, float)) for value in seconds.values())
        and isinstance(notes, dict)
        and (not notes or {"cuts", "prompts_per_pass"} <= notes.keys())
        and all(are_ranges(notes.get(what, []), layers) for what in ("masks", "mattes"))
    )


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()
