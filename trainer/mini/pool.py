"""A pool of rendered shots on disk, from which every stage of REM-mini's training draws."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rem_engine.input_files import load_json, told_as_damage
from rem_engine.pixels import to_uint8
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import check_space, written_whole

from ..synth.backgrounds import RealClips, procedural
from ..synth.scene import Plates, RenderedShot
from ..synth.worlds import World

MOST_THINGS = 4
ASPECTS = (1.0, 1.0, 4 / 3, 16 / 9)
"""Shapes of training shots, width over height; all are squeezed to a square."""


class Pool:
    """Rendered shots, memory-mapped.

    Args:
        folder: of a complete pool.
        world: what it shows.

    Attributes:
        world: as given.
        frames: uint8 [N,T,H,W,3].
        mattes: uint8 [N,4,T,H,W], 255 is opaque; rows past a shot's things are zero.
        things: of each shot, back to front, of the world's type.
        targets: of each shot, what may be asked for, as indices of its things.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.world = world
        with told_as_damage(f"The shots in {folder} are damaged: remove that folder, and they are rendered anew."):
            self.frames = np.load(folder / "frames.npy", mmap_mode="r", allow_pickle=False)
            self.mattes = np.load(folder / "mattes.npy", mmap_mode="r", allow_pickle=False)
            self.things = [[world.thing(entry) for entry in shot] for shot in load_json(folder / "things.json")]
        self.targets = [world.targets(things) for things in self.things]

    def __len__(self) -> int:
        return len(self.things)

    def matte(self, index: int, target: tuple[int, ...]) -> np.ndarray:
        """uint8 [T,H,W]: what all things of a target show together."""
        if len(target) == 1:
            return self.mattes[index, target[0]]
        return self.mattes[index, list(target)].sum(axis=0, dtype=np.uint16).clip(max=255).astype(np.uint8)


def mixed_plates(real: RealClips | None, share: float) -> Plates:
    """Backgrounds of which `share` (0..1) are real, where there are real clips."""

    def plates(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        use_real = rng.random() < share
        if use_real and real is not None:
            return real.plate(rng, frames, height, width)
        return procedural(rng, frames, height, width)

    return plates


def build_pool(
    folder: Path,
    world: World,
    count: int,
    frames: int,
    size: int,
    seed: int,
    plates: Plates,
    progress: Progress = SILENT,
) -> Pool:
    """Render `count` shots of seen combinations of a world into `folder`, or open them where they stand already.

    A pool is complete once things.json stands; an interrupted one is rendered anew. `progress` is told "shots".
    """
    if (folder / "things.json").exists():
        return Pool(folder, world)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("frames.npy", "mattes.npy"):
        (folder / name).unlink(missing_ok=True)
    # Where a disk fills up under a mapped file, the system ends the process without a word.
    check_space(count * frames * size**2 * (3 + MOST_THINGS), folder, folder)
    all_frames = np.lib.format.open_memmap(
        folder / "frames.npy", mode="w+", dtype=np.uint8, shape=(count, frames, size, size, 3)
    )
    all_mattes = np.lib.format.open_memmap(
        folder / "mattes.npy", mode="w+", dtype=np.uint8, shape=(count, MOST_THINGS, frames, size, size)
    )
    things: list[list[dict]] = [[] for _ in range(count)]

    def render_share(indices: range, done: Connection) -> None:
        for index in indices:
            shot = _render_one(world, index, frames, size, seed, plates)
            all_frames[index] = to_uint8(shot.frames)
            all_mattes[index, : len(shot.things)] = to_uint8(shot.mattes)
            done.send((index, [asdict(thing) for thing in shot.things]))

    progress.update("shots", 0, count)
    for done, (index, shot_things) in enumerate(_by_workers(render_share, count), 1):
        things[index] = shot_things
        progress.update("shots", done, count)
    all_frames.flush()
    all_mattes.flush()
    with written_whole(folder / "things.json") as path:
        path.write_text(json.dumps(things), encoding="utf-8")
    return Pool(folder, world)


def _render_one(world: World, index: int, frames: int, size: int, seed: int, plates: Plates) -> RenderedShot:
    rng = np.random.default_rng((seed, index))
    width = round(size * rng.choice(ASPECTS))
    shot = world.render_shot(rng, plates, frames, size, width)
    return RenderedShot(_squeezed(shot.frames, size), _squeezed(shot.mattes, size), shot.things)


def _squeezed(pictures: np.ndarray, width: int) -> np.ndarray:
    """[A,B,H,W] or [T,H,W,3] at a width in pixels, as REM squeezes every shot to its own size."""
    if pictures.shape[-1] != 3:
        return np.stack([_squeezed(each[..., None].repeat(3, -1), width)[..., 0] for each in pictures])
    size = (width, pictures.shape[1])
    return np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in pictures])


def _by_workers(work: Callable[[range, Connection], None], count: int) -> Iterator[Any]:
    """What the shares of `work` send, as it comes; a share has every n-th of `count` indices."""
    # forked, a worker inherits the real clips and the open arrays, and nothing has to be pickled
    context = multiprocessing.get_context("fork")
    receivers = []
    for number in range(shares := os.cpu_count() or 1):
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=work, args=(range(number, count, shares), sender), daemon=True).start()
        sender.close()  # the worker's copy is then the last, and its end is seen
        receivers.append(receiver)
    received = 0
    while receivers:
        for ready in wait(receivers):
            connection: Any = ready  # one of the receivers: `wait` is typed for sockets as well
            try:
                item = connection.recv()
            except EOFError:
                receivers.remove(connection)
                continue
            received += 1
            yield item
    if received < count:
        raise RuntimeError(f"Rendering stopped after {received} of {count} shots; its message stands above.")
