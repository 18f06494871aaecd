"""The folder a run writes: its layout, its frames one by one, and going on after an interruption."""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .media.writing import mask_png, soft_png, write_bytes
from .whole_files import temporary_name, written_whole

RUN_FILE = "run.json"
OVERLAY_FILE = "overlay.mp4"
STATE_FILE = ".unfinished.json"

_LONGEST_SLUG = 60
_FRAME_FILE = re.compile(r"\.?\d{5,}\.png(\.tmp)?")
_WINDOWS_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d")


def folder_names(prompts: Sequence[str]) -> tuple[str, ...]:
    """A folder for each prompt: its words joined by `_`, safe on every system, numbered where two would be the same.

    >>> folder_names(["The smoke!", "the smoke", "the fire"])
    ('the_smoke', 'the_smoke_2', 'the_fire')
    """
    names: list[str] = []
    for prompt in prompts:
        words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower())
        slug = "_".join(words)[:_LONGEST_SLUG].strip("_") or "prompt"
        if _WINDOWS_DEVICES.fullmatch(slug):
            slug = f"prompt_{slug}"
        name, number = slug, 2
        while name in names:
            name, number = f"{slug}_{number}", number + 1
        names.append(name)
    return tuple(names)


class RunFolder:
    """Writes the masks of one run.

        OUT/<folder>/masks/00000.png    8-bit, 0 or 255
        OUT/<folder>/soft/00000.png     16-bit, the soft mask in 0..1
        OUT/<folder>/soft.npz           key "soft": float32 [T,H,W], not clipped
        OUT/run.json                    written last: where it stands, the run is whole

    Files take their names only when whole. Until the run is whole, a hidden state file in OUT says how far it came.

    Attributes:
        out: the folder.
        folders: one name for each prompt.
        frames_done: frames 0..frames_done-1 are written.
        seconds: time spent in earlier, interrupted sittings of this run, per stage.
        notes: what else is known of the run so far; kept with its state.
    """

    def __init__(
        self,
        out: Path,
        prompts: Sequence[str],
        shape: tuple[int, int, int],
        write: Sequence[str],
        threshold: float,
        fingerprint: str,
    ) -> None:
        """Take over what an interrupted run with the same fingerprint left in OUT; remove any other run's files.

        Args:
            out: the folder; made where it does not exist.
            prompts: P expressions.
            shape: (T, H, W) of the shot.
            write: what is wanted of masks, soft, npz and overlay.
            threshold: a pixel is in a mask where soft > threshold.
            fingerprint: equal for runs that give equal masks.
        """
        self.folders = folder_names(prompts)
        self.frames_done = 0
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, Any] = {}
        self.out, self._prompts, self._shape = out, tuple(prompts), shape
        self._write, self._threshold, self._fingerprint = frozenset(write), threshold, fingerprint
        self._pixels = [0] * len(self.folders)
        self._array_header = _npy_header(shape)
        if not self._take_over():
            self._clear()
            self._make()

    @property
    def can_go_on(self) -> bool:
        """Whether written frames serve a later run of the same job: an overlay alone cannot be taken up again."""
        return not self._write <= {"overlay"}

    @property
    def frame_count(self) -> int:
        return self._shape[0]

    def write_frame(self, soft: np.ndarray) -> None:
        """Write the next frame for every prompt, whole or not at all.

        Args:
            soft: float32 [P,H,W].

        Raises:
            OSError: the disk is full, or OUT cannot be written.
        """
        index = self.frames_done
        masks = soft > self._threshold
        files: list[tuple[Path, bytes]] = []
        for folder, one_soft, mask in zip(self._paths(), soft, masks, strict=True):
            if "npz" in self._write:
                self._write_array(folder, index, one_soft)
            if "masks" in self._write:
                files.append((folder / "masks" / f"{index:05d}.png", mask_png(mask)))
            if "soft" in self._write:
                files.append((folder / "soft" / f"{index:05d}.png", soft_png(one_soft)))
        try:
            for path, data in files:
                temporary_name(path).write_bytes(data)
        except BaseException:  # Ctrl-C too: a frame is there for every prompt, or for none
            for path, _ in files:
                temporary_name(path).unlink(missing_ok=True)
            raise
        for path, _ in files:
            temporary_name(path).replace(path)
        pixels = [count + int(mask.sum()) for count, mask in zip(self._pixels, masks, strict=True)]
        self._pixels, self.frames_done = pixels, index + 1

    def read_frame(self, index: int) -> np.ndarray:
        """Soft masks of a written frame, float32 [P,H,W], as exact as what was written (binary if only masks were)."""
        return np.stack([self._read_one(folder, index) for folder in self._paths()])

    def save_state(self, seconds: dict[str, float]) -> None:
        """Note how far the run came, with the seconds spent so far on each stage, so that it can go on from there."""
        state = {
            "fingerprint": self._fingerprint,
            "prompts": [{"folder": folder} for folder in self.folders],
            "frames_done": self.frames_done,
            "pixels": self._pixels,
            "seconds": seconds,
            "notes": self.notes,
        }
        write_bytes(self.out / STATE_FILE, _json(state))

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """Close the arrays and write run.json: `run` and the list of prompts. Returns what was written."""
        if "npz" in self._write:
            for folder in self._paths():
                array = _array_file(folder)
                with written_whole(folder / "soft.npz") as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    archive.write(array, "soft.npy")
            for folder in self._paths():  # only now: until all are whole, the run may have to go on from the arrays
                _array_file(folder).unlink()
        frames, height, width = self._shape
        prompts = [
            {"prompt": prompt, "folder": folder, "mean_area": pixels / (frames * height * width), "frames": frames}
            for prompt, folder, pixels in zip(self._prompts, self.folders, self._pixels, strict=True)
        ]
        run = {**run, "prompts": prompts}
        write_bytes(self.out / RUN_FILE, _json(run))
        (self.out / STATE_FILE).unlink(missing_ok=True)
        return run

    def _paths(self) -> list[Path]:
        return [self.out / folder for folder in self.folders]

    def _take_over(self) -> bool:
        state = _read_json(self.out / STATE_FILE)
        if state.get("fingerprint") != self._fingerprint:
            return False
        done, pixels = state["frames_done"], state["pixels"]
        wanted = [folder / kind for folder in self._paths() for kind in ("masks", "soft") if kind in self._write]
        whole = all((folder / f"{index:05d}.png").is_file() for folder in wanted for index in range(done))
        if "npz" in self._write:
            whole = whole and all(_array_file(folder).is_file() for folder in self._paths())
        if done == 0 or not whole or not self.can_go_on:
            return False
        self.frames_done, self._pixels, self.seconds, self.notes = done, pixels, state["seconds"], state["notes"]
        return True

    def _clear(self) -> None:
        """Remove what earlier runs wrote here, and nothing else: OUT may hold other things."""
        names = set(self.folders)
        names.update(_folders_of(_read_json(self.out / RUN_FILE)))
        names.update(_folders_of(_read_json(self.out / STATE_FILE)))
        (self.out / RUN_FILE).unlink(missing_ok=True)  # first: what is left is no whole run any more
        for name in (OVERLAY_FILE, STATE_FILE):
            (self.out / name).unlink(missing_ok=True)
            temporary_name(self.out / name).unlink(missing_ok=True)
        for name in names:
            folder = self.out / name
            for kind in ("masks", "soft"):
                if (folder / kind).is_dir():
                    for file in list((folder / kind).iterdir()):
                        if _FRAME_FILE.fullmatch(file.name):
                            file.unlink()
                    _remove_if_empty(folder / kind)
            for file in (folder / "soft.npz", temporary_name(folder / "soft.npz"), _array_file(folder)):
                file.unlink(missing_ok=True)
            if folder.is_dir():
                _remove_if_empty(folder)

    def _make(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        for folder in self._paths():
            for kind in ("masks", "soft"):
                if kind in self._write:
                    (folder / kind).mkdir(parents=True, exist_ok=True)
            if "npz" in self._write:
                folder.mkdir(exist_ok=True)
                _array_file(folder).write_bytes(self._array_header)

    def _write_array(self, folder: Path, index: int, soft: np.ndarray) -> None:
        # Written, not memory-mapped: pages of a map count as this process's memory, which must not grow with the shot.
        data = memoryview(np.ascontiguousarray(soft, "<f4")).cast("B")
        with open(_array_file(folder), "r+b", buffering=0) as file:
            file.seek(len(self._array_header) + index * len(data))
            while data:
                data = data[file.write(data) :]

    def _read_one(self, folder: Path, index: int) -> np.ndarray:
        _, height, width = self._shape
        if "npz" in self._write:
            offset = len(self._array_header) + index * height * width * 4
            pixels = np.fromfile(_array_file(folder), "<f4", height * width, offset=offset)
            return pixels.reshape(height, width)
        kind, white = ("soft", 65535.0) if "soft" in self._write else ("masks", 255.0)
        with Image.open(folder / kind / f"{index:05d}.png") as image:
            return np.asarray(image).astype(np.float32) / np.float32(white)


def _folders_of(run: dict[str, Any]) -> list[str]:
    """Folders an earlier run made, by its own account; anything `folder_names` never gives is another program's."""
    names = [entry.get("folder") for entry in run.get("prompts", ()) if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and re.fullmatch(r"\w+", name)]


def _array_file(folder: Path) -> Path:
    return temporary_name(folder / "soft.npy")


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _read_json(path: Path) -> dict[str, Any]:
    """What an earlier run noted; nothing where there is no such file, or another program's."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
