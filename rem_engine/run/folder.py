"""The folder a run writes: its masks frame by frame, its account, and going on after an interruption."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..media.writing import ids_png, mask_png, soft_png, write_bytes
from ..names import RUN_FILE
from ..whole_files import temporary_name, written_whole
from .layout import (
    KINDS,
    SEQUENCES,
    STATE_FILE,
    STORED_MASKS,
    VIDEOS,
    array_file,
    count_delivered,
    mask_number,
    read_json,
    remove_runs,
)

if TYPE_CHECKING:
    from ..layers import Layer


class RunFolder:
    """Writes the masks of one run, where `layout.FILES` has them, and run.json last: where it stands, the run is whole.

    Files take their names only when whole. Until the run is whole, a hidden state file in OUT says how far it came.

    Attributes:
        out: the folder.
        frames_done: masks of frames 0..frames_done-1 are written.
        delivered: frames 0..delivered-1 of the delivery's sequences are written.
        seconds: time spent on this run before it was interrupted, per stage.
        notes: what else is known of the run so far; kept with its state.
    """

    def __init__(
        self,
        out: Path,
        layers: Sequence[Layer],
        shape: tuple[int, int, int],
        write: Sequence[str],
        threshold: float,
        fingerprint: str | None,
        delivery: str = "",
    ) -> None:
        """Take over what an interrupted run with the same fingerprint left in OUT; remove any other run's files.

        Args:
            out: the folder; made where it does not exist.
            layers: L layers; each has a folder of its name.
            shape: (T, H, W) of the shot.
            write: what is wanted of masks, soft, npz and ids, of the overlay and of deliveries.
            threshold: a pixel is in a mask where soft > threshold.
            fingerprint: equal for runs that give equal files; None for a run that is never taken up again.
            delivery: with what the names of delivered files begin.
        """
        self.frames_done = self.delivered = 0
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, Any] = {}
        self.out, self._layers, self._shape = out, tuple(layers), shape
        self._write, self._threshold, self._fingerprint = frozenset(write), threshold, fingerprint
        self._delivery = delivery
        self._pixels = [0] * len(self._layers)
        self._array_header = _npy_header(shape)
        if not self._take_over():
            remove_runs(out, self._names)
            self._make()

    @property
    def kept(self) -> bool:
        """Whether a later run may take this one up."""
        return self._fingerprint is not None

    @property
    def can_go_on(self) -> bool:
        """Whether written frames serve a later run with the same fingerprint.

        A video is one file, which cannot be gone on with: it is made anew, the overlay from any masks on disk and a
        delivery from soft ones. Where there are none, the run starts at the first frame.
        """
        if not self.kept:
            return False
        if self.has_videos:
            return self.has_soft
        stored = STORED_MASKS if "overlay" in self._write else (*STORED_MASKS, *SEQUENCES)
        return not self._write.isdisjoint(stored)

    @property
    def whole_frames(self) -> int:
        """Frames of which all files are there, less those that are in one file with others."""
        sequences = not self._write.isdisjoint(SEQUENCES)
        return min(self.frames_done, self.delivered) if sequences else self.frames_done

    @property
    def has_videos(self) -> bool:
        """Whether deliveries are wanted that hold all frames in one file."""
        return not self._write.isdisjoint(VIDEOS)

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
        files: list[tuple[Path, bytes]] = []
        for layer, one_soft, mask in zip(self._names, soft, masks, strict=True):
            if "npz" in self._write:
                self._write_array(layer, index, one_soft)
            if "masks" in self._write:
                files.append((self._file("masks", index, layer), mask_png(mask)))
            if "soft" in self._write:
                files.append((self._file("soft", index, layer), soft_png(one_soft)))
        if ids is not None:
            files.append((self._file("ids", index), ids_png(ids)))
        try:
            for path, data in files:
                temporary_name(path).write_bytes(data)
        except BaseException:  # Ctrl-C too: a frame is there for every layer, or for none
            for path, _ in files:
                temporary_name(path).unlink(missing_ok=True)
            raise
        for path, _ in files:
            temporary_name(path).replace(path)
        pixels = [count + int(mask.sum()) for count, mask in zip(self._pixels, masks, strict=True)]
        self._pixels, self.frames_done = pixels, index + 1

    def read_frame(self, index: int) -> np.ndarray:
        """Soft masks of a written frame, float32 [L,H,W], as exact as what was written (binary if only masks were)."""
        return np.stack([self._read_one(layer, index) for layer in self._names])

    def save_state(self, seconds: dict[str, float]) -> None:
        """Note how far the run came, with the seconds spent so far on each stage, so that it can go on from there."""
        state = {
            "fingerprint": self._fingerprint,
            "prompts": [{"name": layer.name, "folder": layer.name} for layer in self._layers],
            "delivery": {"name": self._delivery},
            "frames_done": self.frames_done,
            "delivered": self.delivered,
            "pixels": self._pixels,
            "seconds": seconds,
            "notes": self.notes,
        }
        write_bytes(self.out / STATE_FILE, _json(state))

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """Close the arrays and write run.json: `run` and the list of prompts. Returns what was written."""
        if "npz" in self._write:
            for layer in self._names:
                whole = KINDS["npz"].path(self.out, layer=layer)
                with written_whole(whole) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    archive.write(array_file(self.out, layer), "soft.npy")
            for layer in self._names:  # only now: until all are whole, the run may have to go on from the arrays
                array_file(self.out, layer).unlink()
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
        run = {**run, "prompts": prompts}
        write_bytes(self.out / RUN_FILE, _json(run))
        (self.out / STATE_FILE).unlink(missing_ok=True)
        return run

    @property
    def _names(self) -> list[str]:
        return [layer.name for layer in self._layers]

    def _file(self, kind: str, index: int, layer: str = "") -> Path:
        return KINDS[kind].path(self.out, layer=layer, frame=mask_number(index))

    def _take_over(self) -> bool:
        state = read_json(self.out / STATE_FILE)
        if not self.can_go_on or state.get("fingerprint") != self._fingerprint:
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
            whole = whole and all(array_file(self.out, layer).is_file() for layer in self._names)
        if delivered:
            whole = whole and count_delivered(self.out, self._names, self._delivery, self._write) >= delivered
        if done == 0 or not whole:
            return False
        self.frames_done, self.delivered = done, delivered
        self._pixels, self.seconds, self.notes = state["pixels"], state["seconds"], state["notes"]
        return True

    def _picture_kinds(self) -> list[str]:
        """Kinds of masks that have a PNG for every frame."""
        return [kind for kind in ("masks", "soft", "ids") if kind in self._write]

    def _make(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        for kind in self._picture_kinds():
            for folder in KINDS[kind].places(self.out, self._names):
                folder.mkdir(parents=True, exist_ok=True)
        if "npz" in self._write:
            for layer in self._names:
                array = array_file(self.out, layer)
                array.parent.mkdir(exist_ok=True)
                array.write_bytes(self._array_header)

    def _write_array(self, layer: str, index: int, soft: np.ndarray) -> None:
        # Written, not memory-mapped: pages of a map count as this process's memory, which must not grow with the shot.
        data = memoryview(np.ascontiguousarray(soft, "<f4")).cast("B")
        with open(array_file(self.out, layer), "r+b", buffering=0) as file:
            file.seek(len(self._array_header) + index * len(data))
            while data:
                data = data[file.write(data) :]

    def _read_one(self, layer: str, index: int) -> np.ndarray:
        _, height, width = self._shape
        if "npz" in self._write:
            offset = len(self._array_header) + index * height * width * 4
            pixels = np.fromfile(array_file(self.out, layer), "<f4", height * width, offset=offset)
            return pixels.reshape(height, width)
        kind, white = ("soft", 65535.0) if "soft" in self._write else ("masks", 255.0)
        with Image.open(self._file(kind, index, layer)) as image:
            return np.asarray(image).astype(np.float32) / np.float32(white)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
