"""The score counts what its names say, on masks made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rem_engine.segmenter import Result
from trainer.score import score
from trainer.synth.backgrounds import procedural
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
