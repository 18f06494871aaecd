"""A finished run whose masks are corrected by those of a few of its frames, as the `correct` command does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..correct import ShotMotion, corrected_take, suggest
from ..devices import find_device
from ..layers import check_layer_is_there
from ..media.made_by import zip_comment
from ..media.writing import ids_png, mask_png, soft_png
from ..pixels import to_uint8
from ..progress import SILENT, Progress
from ..whole_files import written_together, written_whole
from .account import FileSet
from .clock import explained_stop
from .corrected_mattes import MadeAnew
from .corrections import ENTRY, GivenKeys, LayerCorrections, corrections_of, layer_files, link, read_keys
from .coverage import Coverage
from .hints import FrameHints
from .layout import CORRECTIONS, KINDS, MOTION, STORED_MASKS
from .output import Claim, Output, claimed
from .stored_masks import StoredMasks, best_masks
from .whole_run import WholeRun, open_run


@dataclass(frozen=True)
class CorrectJob:
    """Which run to correct, and how; see `python -m rem_engine correct --help`.

    Attributes:
        out: the run's folder.
        layer: which of its layers; "" for the only one.
        keys: where the given masks are; "" for none, which goes with `undo`.
        undo: take the last turn back.
        shot: where the run's shot lies now; None for where it lay.
        device: where the network computes.
    """

    out: Path
    layer: str = ""
    keys: str = ""
    undo: bool = False
    shot: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Correction:
    """What a turn did.

    Attributes:
        layer: which one.
        given: numbers of all frames that are given now.
        turns: how many there are now.
        changed: how many frames have another mask.
        files: folders and files that were made anew, as paths below OUT.
    """

    layer: str
    given: tuple[int, ...]
    turns: int
    changed: int
    files: tuple[str, ...]


def correct_files(job: CorrectJob, progress: Progress = SILENT) -> Correction:
    """Correct a layer of a run by masks that are given, and make anew what is made of its masks.

    All that can be checked is checked before anything is written. What is there stays as it is until all is whole:
    see `Output`. Files that no given mask reaches, and those of other layers, keep every bit.

    Args:
        job: which run, and how.
        progress: told "motion", "corrections" and "mattes".

    Raises:
        FileNotFoundError: no run, no shot, or no masks.
        ValueError: a run that cannot be corrected, or masks that are none of its frames.
        RuntimeError: the disk is full, there is no such device, or another run is writing to `job.out`.
        KeyboardInterrupt: with a sentence that says how things stand.
    """
    run = open_run(job.out, job.shot)
    with closing(run.shot):
        layer = run.layer_named(job.layer)
        before = corrections_of(job.out, run.record.run, layer, run.numbering)
        if job.undo and not before.turns:
            raise ValueError(f"{layer} has no corrections in {job.out}: there is no turn to take back.")
        keys = None if job.undo else read_keys(job.keys, run.shot, run.numbering)
        device = find_device(job.device)
        kept = _masks_of(run, layer)
        with claimed(_claim(run)) as output:
            stood = f"The run in {job.out} is as it was; run the same command again."
            with explained_stop(job.out, lambda: output.stop(None), lambda: stood):
                output.begin({})
                before.sweep()
                return _Turn(run, layer, kept, output, before, device, progress).made(keys)


def check_correction(run_layers: Sequence[str], write: Sequence[str], layer: str) -> None:
    """Refuse, before a run begins, masks for a layer that it will not have, or that it will not write.

    Raises:
        ValueError: it is so.
    """
    check_layer_is_there(layer, run_layers, "to correct")
    if not {*STORED_MASKS} & {*write}:
        raise ValueError("Corrections need the masks on disk: write soft, too.")


def suggest_files(
    out: Path, layer: str, count: int, to: Path | None = None, shot: Path | None = None, progress: Progress = SILENT
) -> list[Path]:
    """Write the present masks of the frames that are worth correcting next, to be painted over.

    Args:
        out: a run's folder.
        layer: which of its layers; "" for the only one.
        count: of frames.
        to: where to write; None for `<layer>/fix` below `out`.
        shot: where the run's shot lies now; None for where it lay.
        progress: told "motion".

    Returns:
        8-bit grey PNGs of the plate's names, the frame most worth it first. Files that are there stay as they are.

    Raises:
        as `correct_files`.
    """
    run = open_run(out, shot)
    with closing(run.shot):
        layer = run.layer_named(layer)
        before = corrections_of(out, run.record.run, layer, run.numbering)
        motion = _motion(run, progress)
        with closing(StoredMasks(_masks_of(run, layer), out)) as masks:
            found = suggest((masks.read(place) for place in range(run.shot.frame_count)), motion, before.files, count)
            folder = to or out / layer / "fix"
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / f"{run.numbering.name_of(place)}.png" for place in found]
            for place, path in zip(found, paths, strict=True):
                if not path.exists():
                    with written_whole(path) as temporary:
                        temporary.write_bytes(ids_png(to_uint8(masks.read(place))))
        return paths


class _Turn:
    """A turn under way."""

    def __init__(
        self,
        run: WholeRun,
        layer: str,
        kept: FileSet,
        output: Output,
        before: LayerCorrections,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._run, self._layer, self._kept, self._output = run, layer, kept, output
        self._before, self._device, self._progress = before, device, progress
        self._coverage = Coverage("masks", [layer], run.job.masks.threshold, source="the key masks")
        self._pixels = 0

    def made(self, keys: GivenKeys | None) -> Correction:
        """Keep the masks that were given, or forget the last; correct; make the rest anew; give all its place."""
        run, before = self._run, self._before
        if not before.turns:
            before.keep_base(self._layer_files, run.out)
        now = before.without_last() if keys is None else before.with_turn(keys)
        touched = _touched(before.files, now.files)
        if before.turns and not touched:
            self._output.stop(None)
            before.sweep()
            return Correction(self._layer, self._numbers(before), len(before.turns), 0, ())
        motion = _motion(run, self._progress)
        takes = [take for take in motion.takes() if any(place in take for place in touched)]
        self._write_masks(now, motion, takes)
        self._take_over([one for one in run.record.files if not KINDS[one.kind].is_delivery and one.layer])
        anew = MadeAnew(run, self._layer, takes, self._output, self._device, self._progress).made()
        self._take_over(run.record.files)
        entries = {**run.record.run.get(ENTRY, {}), self._layer: now.to_json()}
        self._output.finish(self._account({name: turns for name, turns in entries.items() if turns}))
        now.sweep()
        files = [one.place(run.out).relative_to(run.out).as_posix() for one in (*self._layer_files, *anew)]
        changed = sum(map(len, takes))
        return Correction(self._layer, self._numbers(now), len(now.turns), changed, tuple(dict.fromkeys(files)))

    def _numbers(self, corrections: LayerCorrections) -> tuple[int, ...]:
        """Of the frames that are given."""
        return tuple(self._run.numbering.numbers[place] for place in sorted(corrections.files))

    @property
    def _layer_files(self) -> list[FileSet]:
        return layer_files(self._run.record.files, self._layer)

    def _write_masks(self, now: LayerCorrections, motion: ShotMotion, takes: Sequence[range]) -> None:
        """The layer's masks of the takes."""
        run, frames, threshold = self._run, self._run.shot.frame_count, self._run.job.masks.threshold
        keys = _OnDisk(now.files)
        corrected_places = {place for take in takes if any(key in take for key in keys) for place in take}
        with (
            closing(StoredMasks(self._kept, now.base)) as base,
            closing(StoredMasks(self._kept, run.out)) as present,
            self._array() as array,
            ThreadPoolExecutor(2) as pool,
        ):
            made = self._made(base, keys, motion, takes)
            waiting: deque[Future[None]] = deque()
            for place in range(frames):
                new = any(place in take for take in takes)
                soft = next(made) if new else present.read(place)
                self._coverage.add(torch.from_numpy(soft)[None])
                self._pixels += int((soft > threshold).sum())
                if array is not None:
                    array(soft)
                if new:
                    write = self._write if place in corrected_places else partial(self._restore, now.base)
                    waiting.append(pool.submit(write, place, soft))
                while len(waiting) > 4 or (waiting and place + 1 == frames):
                    waiting.popleft().result()
                self._progress.update("corrections", place + 1, frames)

    def _made(
        self, base: StoredMasks, keys: Mapping[int, Tensor], motion: ShotMotion, takes: Sequence[range]
    ) -> Iterator[np.ndarray]:
        """Masks of the takes; those of the model where none is given any more."""
        within = self._within()
        for take in takes:
            if any(place in take for place in keys):
                read = partial(_as_tensor, base)
                frames = corrected_take(read, keys, motion, take, within=within, device=self._device)
                yield from (frame.soft.numpy() for frame in frames)
            else:
                yield from map(base.read, take)

    def _within(self) -> Callable[[int], Tensor | None] | None:
        """How far the layer may be at each frame, by the run's regions."""
        job, hints = self._run.job, self._run.hints
        if hints is None:
            return None
        given = FrameHints(hints, job.layers)
        place = self._run.layers.index(self._layer)

        def within(index: int) -> Tensor | None:
            bounds = given.within(index)
            if bounds is None:
                return None
            if job.masks.combine == "union":
                return bounds.amax(dim=0)
            return bounds[place if len(bounds) > 1 else 0]

        return within

    def _write(self, place: int, soft: np.ndarray) -> None:
        """The picture files of a frame's mask."""
        files: dict[Path, bytes] = {}
        for one in self._layer_files:
            if KINDS[one.kind].is_sequence:
                path = one.file_of(self._output.work, self._run.numbering.numbers[place])
                path.parent.mkdir(parents=True, exist_ok=True)
                files[path] = soft_png(soft, self._texts) if one.kind == "soft" else self._mask_png(soft)
        with written_together(files):
            pass

    def _restore(self, base: Path, place: int, soft: np.ndarray) -> None:
        """The same, as the model gave them."""
        for one in self._layer_files:
            if KINDS[one.kind].is_sequence:
                number = self._run.numbering.numbers[place]
                link(one.file_of(base, number), one.file_of(self._output.work, number))

    def _mask_png(self, soft: np.ndarray) -> bytes:
        return mask_png(soft > self._run.job.masks.threshold, self._texts)

    @property
    def _texts(self) -> dict[str, str]:
        made_by = self._run.job.made_by(str(self._run.record.run.get("backbone", "")))
        return made_by.texts([self._layer], matted=False)

    @contextmanager
    def _array(self) -> Iterator[Callable[[np.ndarray], None] | None]:
        """Takes the frames of soft.npz, where the run has one; it is whole at the end of `with`."""
        if not any(one.kind == "npz" for one in self._layer_files):
            yield None
            return
        import zipfile

        path = KINDS["npz"].path(self._output.work, layer=self._layer)
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (self._run.shot.frame_count, self._run.shot.height, self._run.shot.width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        with (
            written_whole(path) as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
            archive.open("soft.npy", "w", force_zip64=True) as stream,
        ):
            np.lib.format.write_array_header_1_0(stream, header)
            yield lambda soft: _write_array(stream, soft)
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = zip_comment(self._texts)

    def _take_over(self, files: Sequence[FileSet]) -> None:
        """Those that were not made anew, as they are."""
        for one in files:
            for path in one.present(self._run.out):
                target = self._output.work / path.relative_to(self._run.out)
                if not target.exists():
                    link(path, target)

    def _account(self, corrections: Mapping[str, Any]) -> dict[str, Any]:
        """What run.json says of the run from now on."""
        run, shot = {**self._run.record.run}, self._run.shot
        area = self._pixels / (shot.frame_count * shot.height * shot.width)
        run["prompts"] = [
            {**prompt, "mean_area": area} if prompt["name"] == self._layer else prompt for prompt in run["prompts"]
        ]
        told = run.get("warnings", [])
        told = [one for one in told if not (isinstance(one, dict) and one.get("layer") == self._layer)]
        run["warnings"] = [*told, *self._coverage.warnings()]
        run.pop(ENTRY, None)
        return run | ({ENTRY: dict(corrections)} if corrections else {})


def _touched(before: Mapping[int, Path], now: Mapping[int, Path]) -> set[int]:
    """Frames of which another mask is given than before."""

    def is_other(place: int) -> bool:
        one, other = before.get(place), now.get(place)
        if one is None or other is None:
            return one is not other
        return one != other and one.read_bytes() != other.read_bytes()

    return {place for place in (*before, *now) if is_other(place)}


def _as_tensor(masks: StoredMasks, place: int) -> Tensor:
    return torch.from_numpy(masks.read(place))


def _write_array(stream: IO[bytes], soft: np.ndarray) -> None:
    stream.write(np.ascontiguousarray(soft, "<f4").data)


class _OnDisk(Mapping[int, Tensor]):
    """Given masks, each read when it is asked for."""

    def __init__(self, files: Mapping[int, Path]) -> None:
        self._files = files

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self._files[place]) as image:
            return torch.from_numpy(np.asarray(image).astype(np.float32) / np.float32(65535.0))

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _motion(run: WholeRun, progress: Progress) -> ShotMotion:
    """Of the run's shot, found at the first turn."""
    key = f"{run.record.run['plate']} {run.shot.plate_colour.space.digest} {run.job.plate}"
    with closing(run.shot.reopen()) as frames:
        return ShotMotion.of(frames, run.cuts, run.out / CORRECTIONS / MOTION, key, progress)


def _masks_of(run: WholeRun, layer: str) -> FileSet:
    """The masks of a layer that corrections begin with."""
    found = best_masks(run.record.files, layer)
    if found is None:
        raise ValueError(
            f"The run in {run.out} has no masks of {layer} any more: segment the shot again, and write soft."
        )
    return found


def _claim(run: WholeRun) -> Claim:
    record = run.record
    return Claim(
        run.out, record.files, tuple(record.prompts), record.fingerprint, str(record.run.get("plate", "")), again=True
    )
