"""The score counts what its names say, on masks made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rem_engine.segment.segmenter import Result
from trainer.synth.backgrounds import procedural
from trainer.synth.score import score
from trainer.synth.write import read_split, write_split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("score") / "data"
    write_split(root, 6, 21, procedural, frames=3, height=48, width=48, unseen=False)
    return root


class Oracle:
    """Answers every sentence with masks chosen by a rule over the shot's entry and the expression."""

    def __init__(self, folder: Path, rule) -> None:
        self.entries = iter(list(read_split(folder)))
        self.rule = rule

    def segment(self, frames, prompts) -> Result:
        entry = next(self.entries)
        assert [e.text for e in entry.expressions] == prompts
        masks = [self.rule(entry, expression) for expression in entry.expressions]
        return Result(tuple(prompts), torch.from_numpy(np.stack(masks).astype(np.float32)))


def test_the_truth_scores_one(folder: Path) -> None:
    figures = score(Oracle(folder, lambda entry, e: entry.ids == (99 if e.target is None else e.target + 1)), folder)
    assert figures["J"] == figures["referring_accuracy"] == 1.0 and figures["absent_area"] == 0.0
    assert figures["shots"] == 6 and figures["absent"] == 6


def test_the_wrong_thing_scores_nothing(folder: Path) -> None:
    def other(entry, expression) -> np.ndarray:
        count = len(entry.things)
        return entry.ids == (99 if expression.target is None else (expression.target + 1) % count + 1)

    figures = score(Oracle(folder, other), folder)
    assert figures["J"] == 0.0 and figures["referring_accuracy"] == 0.0


def test_masking_all_of_the_frame_overlaps_but_does_not_pass_for_absent(folder: Path) -> None:
    figures = score(Oracle(folder, lambda entry, e: np.ones_like(entry.ids)), folder)
    areas = [
        np.mean((entry.ids == e.target + 1).mean(axis=(1, 2)))
        for entry in read_split(folder)
        for e in entry.expressions
        if e.target is not None
    ]
    assert figures["J"] == pytest.approx(np.mean(areas)) and figures["absent_area"] == 1.0


def test_the_best_threshold_is_one_for_all_sentences(folder: Path) -> None:
    """Masks of half the strength for objects: at 0.5 they vanish, below they are right, but then smoke spills."""

    def unsure(entry, expression) -> np.ndarray:
        if expression.target is None:
            return np.zeros(entry.ids.shape, np.float32)
        own = entry.ids == expression.target + 1
        if entry.things[expression.target].is_process:
            return np.where(own, 0.92, 0.62)
        return np.where(own, 0.42, 0.12)

    figures = score(Oracle(folder, unsure), folder)
    shares = [
        np.mean((entry.ids == e.target + 1).mean(axis=(1, 2)))
        for entry in read_split(folder)
        for e in entry.expressions
        if e.target is not None and entry.things[e.target].is_process
    ]
    objects, count = figures["expressions"] - len(shares), figures["expressions"]
    assert objects > len(shares) > 0
    assert figures["J_objects"] == 0.0 and figures["best_threshold"] == 0.15
    assert figures["J_best"] == pytest.approx((objects + sum(shares)) / count)
    assert figures["J_processes_best"] == pytest.approx(np.mean(shares))


def test_small_and_thin_things_shadows_and_groups_are_scored_apart(tmp_path: Path) -> None:
    """Each class is answered rightly in turn, and nothing else is."""
    root = tmp_path / "rich"
    write_split(root, 24, 5, procedural, frames=2, height=48, width=48, unseen=False, world="rich")
    classes = {
        "J_small": lambda things: len(things) == 1 and things[0].size == "small",
        "J_thin": lambda things: len(things) == 1 and things[0].is_thin,
        "J_attached": lambda things: things[0].kind in ("shadow", "reflection"),
        "J_groups": lambda things: len(things) > 1,
    }
    for name, belongs in classes.items():

        def rule(entry, expression, belongs=belongs) -> np.ndarray:
            named = [entry.things[index] for index in expression.targets]
            ids = [index + 1 for index in expression.targets] if named and belongs(named) else [99]
            return np.isin(entry.ids, ids)

        figures = score(Oracle(root, rule), root)
        assert figures[name] == 1.0 and figures["J"] < 1.0
