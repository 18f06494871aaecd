"""Rounds of correction as an artist makes them, with the exact masks as the artist: J against rounds.

The protocol is that of interactive video object segmentation (DAVIS Challenge, Caelles et al., 2018) with whole masks
in place of scribbles: in each round one more frame of the shot gets its right mask, chosen by `suggest` or evenly, and
the figures are over the frames that were given none.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from rem_engine import Segmenter
from rem_engine.correct import ShotMotion, corrected, suggest
from rem_engine.correct.carried import carried, sources
from rem_engine.frames import ArrayFrames
from rem_engine.matte.temporal import flicker
from rem_engine.media import open_shot
from rem_engine.metrics import region_similarity

from ..data.sample import BrokenSample
from ..synth.write import Split, read_split
from .interactive_kinds import Choice, KeyKind, Start

_EDGE = 2.0  # pixels by which the edges of hand-made masks are off
_PATCH = 24  # pixels; over which they are off to one side
_HOLES = 3


@dataclass(frozen=True)
class Sentence:
    """A sentence of a rendered shot.

    Attributes:
        video, text: which.
        is_process: whether it names smoke, fire, water, ...
        base: masks that the model gave, float32 [T,H,W].
        alpha: the exact mattes, float32 [T,H,W].
        truth: bool [T,H,W]: what it names where that covers more than half of a pixel and nothing hides it.
    """

    video: str
    text: str
    is_process: bool
    base: np.ndarray
    alpha: np.ndarray
    truth: np.ndarray


def sentences_of(
    segmenter: Segmenter, root: Path, start: Start = "model", without: Collection[str] = ()
) -> Iterator[tuple[np.ndarray, list[Sentence]]]:
    """Frames uint8 [T,H,W,3] and sentences of every shot in a folder that `python -m trainer synth` wrote.

    Args:
        segmenter: the model.
        root: the folder.
        start: what is corrected; a `wrong` thing is another one of the shot, and a sentence without one is left out.
        without: names of shots that are left out.
    """
    split = Split(root)
    for entry in read_split(root):
        if entry.video in without:
            continue
        with open_shot(split.frames(entry.video)) as shot:
            frames = shot.read(0, shot.frame_count)
        of_thing = [_mattes(split.alpha(entry.video, thing + 1)) for thing in range(len(entry.things))]
        asked: dict[tuple[int, ...], str] = {}
        for expression in entry.expressions:
            if expression.targets:
                asked.setdefault(expression.targets, expression.text)
        soft = segmenter.segment(frames, list(asked.values())).soft.numpy() if start == "model" else None
        found = []
        for place, (targets, text) in enumerate(asked.items()):
            if soft is not None:
                base = soft[place]
            elif start == "nothing":
                base = np.zeros(frames.shape[:3], np.float32)
            else:
                others = [thing for thing in range(len(entry.things)) if thing not in targets]
                if not others:
                    continue
                base = of_thing[others[0]]
            alpha = np.max([of_thing[thing] for thing in targets], axis=0)
            truth = np.isin(entry.ids, [thing + 1 for thing in targets])
            if truth.any():
                found.append(Sentence(entry.video, text, entry.things[targets[0]].is_process, base, alpha, truth))
        yield frames, found


def evaluate(
    segmenter: Segmenter,
    root: Path,
    rounds: Sequence[int] = (1, 2, 4),
    choice: Choice = "suggest",
    kind: KeyKind = "exact",
    start: Start = "model",
    say: Callable[[str], None] = print,
    earlier: Sequence[Mapping[str, Any]] = (),
    keep: Callable[[dict[str, Any]], None] = lambda report: None,
) -> dict[str, Any]:
    """Correct every sentence of a folder, round after round.

    Args:
        segmenter: the model.
        root: of `python -m trainer synth`.
        rounds: after how many given frames to measure.
        choice, kind, start: see `interactive_kinds`.
        say: takes a line a shot.
        earlier: `each` of an evaluation that was stopped; its shots are not corrected again.
        keep: takes the report as it stands after each shot.

    Returns:
        `sentences`, `rounds`: of each the means of `figures_of` over all sentences, over `objects` and `processes`; and
        `each`: what these are means of.
    """
    each: list[dict[str, Any]] = [dict(one) for one in earlier]
    for frames, sentences in sentences_of(segmenter, root, start, {one["video"] for one in each}):
        started = time.process_time()
        with ShotMotion.of(ArrayFrames(frames)) as motion:
            found = time.process_time() - started
            for sentence in sentences:
                each += (
                    {"video": sentence.video, "text": sentence.text, "process": sentence.is_process, "motion": found}
                    | figures
                    for figures in corrections(sentence, motion, rounds, choice, kind)
                )
        if each:
            told = means_of(each)["rounds"]
            say(
                f"{len(each) // len(rounds)} sentences: "
                + "  ".join(f"{k} {v['all']['J']:.3f}" for k, v in told.items())
            )
            keep(_report(each, rounds))
    return _report(each, rounds)


def _report(each: Sequence[Mapping[str, Any]], rounds: Sequence[int]) -> dict[str, Any]:
    return {"sentences": len(each) // len(rounds), **means_of(each), "each": [*each]}


def table(report: Mapping[str, Any]) -> str:
    """A report as a table in Markdown: J against rounds, and what else there is to say."""
    names = ("J", "J_base", "J_carried", "error", "error_base", "flicker", "flicker_base", "flicker_exact", "seconds")
    lines = [f"| given | of {report['sentences']} sentences | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for given, groups in report["rounds"].items():
        for group, values in groups.items():
            lines.append(f"| {given} | {group} | {' | '.join(f'{values[name]:.3f}' for name in names)} |")
    return "\n".join(lines)


def means_of(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of figures by their number of given frames: over all sentences, objects, processes."""
    groups: dict[int, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for figures in each:
        for name in ("all", "processes" if figures["process"] else "objects"):
            groups[figures["given"]][name].append(figures)
    names = [name for name, value in each[0].items() if isinstance(value, float)] if each else []
    return {
        "rounds": {
            given: {
                group: {name: float(np.nanmean([one[name] for one in members])) for name in names}
                for group, members in by_group.items()
            }
            for given, by_group in groups.items()
        }
    }


def corrections(
    sentence: Sentence, motion: ShotMotion, rounds: Sequence[int], choice: Choice, kind: KeyKind
) -> Iterator[dict[str, Any]]:
    """Figures of a sentence after so many given frames each."""
    given: list[int] = []
    now = sentence.base
    count = len(now)
    for wanted in sorted(rounds):
        started = time.process_time()
        if choice == "even":
            given = [round((2 * place + 1) * count / (2 * wanted) - 0.5) for place in range(wanted)]
        keys: dict[int, torch.Tensor] = {}
        while True:
            if choice == "suggest":
                given += suggest(now, motion, given, 1)
            keys = {index: torch.from_numpy(_key(sentence, index, kind)) for index in given}
            soft = [
                frame.soft.numpy() for frame in corrected(lambda i: torch.from_numpy(sentence.base[i]), keys, motion)
            ]
            now = np.stack(soft)
            if len(given) >= wanted:
                break
        seconds = time.process_time() - started
        yield {"given": wanted, "frames": sorted(given), "seconds": seconds} | figures_of(sentence, now, keys, motion)


def figures_of(
    sentence: Sentence, now: np.ndarray, keys: Mapping[int, torch.Tensor], motion: ShotMotion
) -> dict[str, float]:
    """What corrected masks are worth, over the frames that were not given.

    Returns:
        J, J_base and J_carried of masks above 0.5: the corrected ones, the model's, and those that are only carried;
        error and error_base: mean absolute difference to the exact matte; flicker and flicker_base: mean change along
        the motion, over all frames.
    """
    rest = [index for index in range(len(now)) if index not in keys]
    masks = {"": now, "_base": sentence.base, "_carried": _only_carried(sentence, keys, motion)}
    found: dict[str, float] = {}
    for name, soft in masks.items():
        found[f"J{name}"] = float(region_similarity(soft[rest] > 0.5, sentence.truth[rest]).mean())
        found[f"error{name}"] = float(np.abs(soft[rest].clip(0.0, 1.0) - sentence.alpha[rest]).mean())
    flows = np.stack([motion.step(index).ahead.flow for index in range(len(now) - 1)])
    seen = np.stack([motion.step(index).ahead.trust > 0.5 for index in range(len(now) - 1)])
    for name in ("", "_base"):
        found[f"flicker{name}"] = flicker(masks[name].clip(0.0, 1.0), flows, seen) if seen.any() else 0.0
    found["flicker_exact"] = flicker(sentence.alpha, flows, seen) if seen.any() else 0.0
    return found


def _only_carried(sentence: Sentence, keys: Mapping[int, torch.Tensor], motion: ShotMotion) -> np.ndarray:
    made = sentence.base.copy()
    for take in motion.takes():
        for index, near in sources(motion, take, sorted(keys)):
            if near:
                masks = [keys[source.key].numpy() for source in near]
                made[index] = carried(near, masks, index)
            else:
                made[index] = keys[index].numpy()
    return made


def _mattes(folder: Path) -> np.ndarray:
    files = sorted(folder.glob("*.png"))
    return np.stack([_matte(file) for file in files])


def _matte(file: Path) -> np.ndarray:
    matte = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if matte is None:
        raise BrokenSample(file, "cannot be read; render the folder anew.")
    return matte.astype(np.float32) / np.float32(65535.0)


def _key(sentence: Sentence, index: int, kind: KeyKind) -> np.ndarray:
    """The mask that is given for a frame: the exact matte, but where another thing hides it."""
    exact = sentence.alpha[index]
    return exact if kind == "exact" else hand_made(exact, index)


def hand_made(mask: np.ndarray, seed: int) -> np.ndarray:
    """A mask as hands make it: hard, its edge off by up to two pixels, here outwards and there inwards, with holes."""
    draw = np.random.default_rng(seed)
    solid = (mask > 0.5).astype(np.uint8)
    if not solid.any():
        return solid.astype(np.float32)
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    coarse = [max(side // _PATCH + 1, 2) for side in mask.shape]
    off = cv2.resize(
        draw.uniform(-_EDGE, _EDGE, coarse).astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    made = (inside + off.clip(-_EDGE, _EDGE) > 0).astype(np.float32)
    rows, columns = np.nonzero(solid)
    radius = max(1, round(0.03 * np.sqrt(solid.sum())))
    for _ in range(_HOLES):
        place = draw.integers(len(rows))
        cv2.circle(made, (int(columns[place]), int(rows[place])), radius, 0.0, -1)
    return made
