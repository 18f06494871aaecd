"""Writing and reading synthetic shots in the layout of Refer-YouTube-VOS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rem_engine.memory import check_fits
from rem_engine.pixels import to_uint8
from rem_engine.whole_files import scratch_folder

from ..data.files import check_place, field, read_ids, read_json
from ..data.sample import BrokenSample
from .scene import Expression, Plates, RenderedShot, Thing
from .worlds import PLAIN, WORLDS, World

JPEG_QUALITY = 97

# No shot of 1 to 30 frames that was measured took more: what is drawn at a time takes as much as a few frames.
_BYTES, _FRAMES_MORE = 112, 4


@dataclass(frozen=True)
class Split:
    """A folder of synthetic shots, frame files named 00000, 00001, ...

    As published: `train/JPEGImages/<video>/*.jpg`; `train/Annotations/<video>/*.png`, 8-bit, pixels hold the obj_id of
    the thing that covers more than half of it; `train/meta.json` (videos -> objects -> category, frames);
    `meta_expressions/train/meta_expressions.json` (videos -> expressions -> exp, obj_id; frames), where the obj_id of a
    sentence that names several things is a list.
    Beside them: `train/alpha/<video>/<obj_id>/*.png`, 16-bit, the exact mattes; `synth.json`, what was rendered, and
    sentences that name nothing in their shot.
    """

    root: Path

    @property
    def details(self) -> Path:
        return self.root / "synth.json"

    def read_details(self) -> Any:
        """What synth.json holds.

        Raises:
            FileNotFoundError: the folder holds no synthetic shots.
            BrokenSample: not JSON.
        """
        if not self.details.is_file():
            raise FileNotFoundError(
                f"{self.root} holds no synth.json; make it with 'python -m trainer synth --out {self.root}'."
            )
        return read_json(self.details)

    def frames(self, video: str) -> Path:
        return self.root / "train" / "JPEGImages" / video

    def annotations(self, video: str) -> Path:
        return self.root / "train" / "Annotations" / video

    def alpha(self, video: str, obj_id: int) -> Path:
        return self.root / "train" / "alpha" / video / str(obj_id)


@dataclass(frozen=True)
class Entry:
    """A shot as `read_split` finds it: what it shows, what can be asked, and its annotated ids uint8 [T,H,W]."""

    video: str
    things: list[Thing]
    expressions: list[Expression]
    ids: np.ndarray


def object_ids(shot: RenderedShot) -> np.ndarray:
    """uint8 [T,H,W]: one more than the index of the thing that covers more than half of a pixel, else 0."""
    covered = shot.mattes > 0.5
    return np.where(covered.any(axis=0), covered.argmax(axis=0) + 1, 0).astype(np.uint8)


def write_split(
    root: Path,
    count: int,
    seed: int,
    plates: Plates,
    *,
    frames: int,
    height: int,
    width: int,
    unseen: bool,
    world: str = PLAIN,
) -> None:
    """Render `count` shots of one of `WORLDS` into `root`; a sentence of each names nothing in it.

    The folder appears whole or not at all: shots are written beside it, under a name of their own, until all are there.

    Raises:
        FileExistsError: `root` exists already.
        ValueError: a shot does not fit into memory.
    """
    needed = _BYTES * (frames + _FRAMES_MORE) * height * width
    check_fits(needed, f"The {frames} frames of {width}x{height} pixels of a shot")
    if root.exists():
        raise FileExistsError(f"{root} exists already; name a new folder.")
    with scratch_folder(root) as folder:
        partial = Split(folder)
        videos: dict[str, dict] = {}
        for index in _progress(count):
            rng = np.random.default_rng((seed, index))
            shot = WORLDS[world].sample_shot(rng, plates, frames, height, width, unseen)
            shot.expressions.append(Expression(WORLDS[world].describe_absent(rng, shot.things), None))
            video = f"{seed:05d}_{index:05d}"
            _write_shot(partial, video, shot)
            videos[video] = {
                "things": [asdict(thing) for thing in shot.things],
                "expressions": [asdict(expression) for expression in shot.expressions],
            }
        _write_meta(partial, videos, frames, {"split": "unseen" if unseen else "seen", "world": world})
        folder.rename(root)


def _progress(count: int) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(range(count), desc="rendering shots"))


def _write_shot(split: Split, video: str, shot: RenderedShot) -> None:
    folders = [split.alpha(video, i + 1) for i in range(len(shot.things))]
    for folder in (split.frames(video), split.annotations(video), *folders):
        folder.mkdir(parents=True)
    ids = object_ids(shot)
    for t, frame in enumerate(shot.frames):
        picture = np.ascontiguousarray(to_uint8(frame)[..., ::-1])
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        _save(split.frames(video) / f"{t:05d}.jpg", picture, options)
        _save(split.annotations(video) / f"{t:05d}.png", ids[t], [])
        for folder, matte in zip(folders, shot.mattes[:, t]):
            _save(folder / f"{t:05d}.png", np.round(matte * 65535).astype(np.uint16), [])


def _save(path: Path, picture: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), picture, options):
        raise OSError(f"{path} could not be written; is the disk full?")


def _write_meta(split: Split, videos: dict[str, dict], frames: int, made: dict[str, str]) -> None:
    numbers = [f"{t:05d}" for t in range(frames)]
    meta, expressions = {}, {}
    for video, entry in videos.items():
        categories = [thing["kind"] for thing in entry["things"]]
        meta[video] = {"objects": {str(i + 1): {"category": c, "frames": numbers} for i, c in enumerate(categories)}}
        named = [e for e in entry["expressions"] if e["target"] is not None]
        texts = {str(i): {"exp": e["text"], "obj_id": _object_id(e["target"])} for i, e in enumerate(named)}
        expressions[video] = {"expressions": texts, "frames": numbers}
    _write_json(split.root / "train" / "meta.json", {"videos": meta})
    _write_json(split.root / "meta_expressions" / "train" / "meta_expressions.json", {"videos": expressions})
    _write_json(split.details, {**made, "videos": videos})


def _object_id(target: int | tuple[int, ...]) -> str | list[str]:
    """As published for one object, and a list, as in MeViS, for several."""
    return [str(each + 1) for each in target] if isinstance(target, tuple) else str(target + 1)


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_split(root: Path) -> Iterator[Entry]:
    """The shots of a folder that `write_split` wrote.

    Raises:
        FileNotFoundError: the folder holds no synthetic shots, or a shot's annotations are missing.
        BrokenSample: its synth.json, or an annotation, cannot be read.
    """
    split = Split(root)
    details = split.read_details()
    videos = field(split.details, details, "videos", dict, "the file")
    name = details.get("world", PLAIN)
    if not isinstance(name, str) or name not in WORLDS:
        raise BrokenSample(split.details, f"is of the world {name!r:.60}; {' or '.join(WORLDS)} is expected.")
    for video, entry in videos.items():
        expressions = read_expressions(split.details, video, entry)
        things = _things(split.details, video, entry, WORLDS[name])
        paths = sorted(split.annotations(video).glob("*.png"))
        if not paths:
            raise FileNotFoundError(f"{split.annotations(video)} holds no annotation; render the folder anew.")
        ids = [read_ids(path) for path in paths]
        if len({id_map.shape for id_map in ids}) > 1:
            raise BrokenSample(split.annotations(video), "holds annotations of several sizes; render the folder anew.")
        yield Entry(video, things, expressions, np.stack(ids))


def read_expressions(listing: Path, video: str, entry: Any) -> list[Expression]:
    """The sentences that synth.json has of a shot.

    Raises:
        BrokenSample: one that cannot be read.
    """
    check_place(listing, video, "a video")
    where = f"an expression of the video {video}"
    count = len(field(listing, entry, "things", list, f"the video {video}"))
    expressions = []
    for spoken in field(listing, entry, "expressions", list, f"the video {video}"):
        text = field(listing, spoken, "text", str, where)
        target = field(listing, spoken, "target", (int, list, type(None)), where)
        named = [target] if isinstance(target, int) else target
        if named is not None and not (named and all(type(each) is int and 0 <= each < count for each in named)):
            raise BrokenSample(listing, f"'target' of {text!r} of the video {video} lists no things of it.")
        expressions.append(Expression(text, tuple(target) if isinstance(target, list) else target))
    return expressions


def _things(listing: Path, video: str, entry: Any, world: World) -> list[Thing]:
    try:
        return [world.thing(thing) for thing in field(listing, entry, "things", list, f"the video {video}")]
    except ValueError as error:
        raise BrokenSample(listing, f"has things of the video {video} that none of its world is like.") from error
