"""Intervals of differences, and the page that is drawn from the committed results."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.ablation import DATA, describe
from trainer.ablation.cell import Mark, Record
from trainer.ablation.evidence import MEASURES, Estimate, bootstrap, difference, estimate, last_common_mark
from trainer.ablation.questions import Question
from trainer.ablation.report import Figure
from trainer.ablation.results import Protocol, Results, read_results

ROOT = Path(__file__).parents[3]


def made_up(values: dict[str, list[list[float]]], kinds: str = "ooop", mark: float = 10.0) -> Results:
    """Results of one mark: by variant, J of every seed and sentence; shots a, a, b, c."""
    asked = [
        Question(shot, "it", "process" if kind == "p" else "object") for shot, kind in zip("aabc", kinds, strict=True)
    ]
    records = []
    for variant, seeds in values.items():
        for seed, each in enumerate(seeds, 1):
            scores = {"seen": [round(1000 * j) for j in each], "unseen": []}
            records.append(Record(variant, seed, 0.002, [Mark(mark, 5, mark, mark, 0.5, 0.1, scores, scores)]))
    protocol = Protocol(
        "mini", (64, 64), 5, 16, {"train": 9, "tuning": 2, "seen": 3, "unseen": 1}, 5, 10.0, 160.0, [0.002], 20.0
    )
    return Results(protocol, {"seen": asked, "unseen": []}, [], records)


def test_the_interval_is_that_of_all_resamples_of_few_shots() -> None:
    """Three shots of 2, 1 and 1 sentences: of their 27 equally likely draws the means are known."""
    values, shots = np.array([[0.1, 0.3, 0.8, 0.2]]), list("aabc")
    by_shot = {"a": (0.4, 2), "b": (0.8, 1), "c": (0.2, 1)}
    means = [
        sum(by_shot[shot][0] for shot in drawn) / sum(by_shot[shot][1] for shot in drawn)
        for drawn in itertools.product("abc", repeat=3)
    ]
    found = bootstrap(values, shots, resamples=40_000)
    assert found.mean == pytest.approx(0.35) and (found.seeds, found.shots) == (1, 3)
    # each of 27 weighs more than the 2.5 % of a tail, so that both ends are the outermost means
    assert (found.low, found.high) == pytest.approx((min(means), max(means)))


def test_with_a_sentence_a_shot_and_one_seed_it_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.3, 0.2, 200)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    ours = bootstrap(values[None], [str(i) for i in range(200)])
    assert ours.low == pytest.approx(theirs.low, abs=2e-3) and ours.high == pytest.approx(theirs.high, abs=2e-3)


def test_seeds_that_differ_widen_the_interval() -> None:
    shots = [str(i) for i in range(100)]
    rows = np.random.default_rng(0).normal(0.5, 0.05, 100)
    apart = np.stack([rows - 0.2, rows, rows + 0.2])
    alone, all_of_them = bootstrap(rows[None], shots), bootstrap(apart, shots)
    assert all_of_them.mean == pytest.approx(alone.mean)
    # a mean of three draws out of three seeds that are 0.2 apart has this deviation; shots add next to none
    width = 2 * 1.96 * 0.2 * np.sqrt(2 / 3) / np.sqrt(3)
    assert all_of_them.high - all_of_them.low == pytest.approx(width, rel=0.1) and alone.high - alone.low < 0.03


def test_differences_are_paired_by_sentence_and_seed() -> None:
    rem, mlp = [[0.9, 0.1, 0.5, 0.4], [0.2, 0.2, 0.2, 0.2]], [[0.8, 0.0, 0.4, 0.3]]
    found = difference(made_up({"rem": rem, "mlp": mlp}), "rem", "mlp", 10.0, MEASURES[0])
    assert found is not None and found.seeds == 1  # seed 2 has no other half
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_processes_are_those_sentences_alone() -> None:
    found = estimate(made_up({"rem": [[0.1, 0.1, 0.1, 0.7]]}), "rem", 10.0, MEASURES[2])
    assert found is not None and (found.mean, found.shots) == (0.7, 1)


def test_what_was_not_run_has_no_estimate() -> None:
    results = made_up({"rem": [[0.1] * 4]})
    assert estimate(results, "mlp", 10.0, MEASURES[0]) is None
    assert difference(results, "rem", "mlp", 10.0, MEASURES[0]) is None
    assert last_common_mark(results, "rem", "mlp") is None


def test_variants_are_compared_at_the_last_mark_that_most_seeds_share() -> None:
    early, late = made_up({"rem": [[0.1] * 4] * 2, "mlp": [[0.1] * 4] * 2}), made_up({"rem": [[0.1] * 4]}, mark=20.0)
    records = [
        Record(each.variant, each.seed, each.rate, [*each.marks, *later.marks]) if later else each
        for each, later in zip(early.records, [late.records[0], None, None, None])
    ]
    results = Results(early.protocol, early.questions, [], records)
    assert last_common_mark(results, "rem", "mlp") == 10.0


@pytest.mark.parametrize(
    ("low", "high", "sign", "verdict"),
    [
        (0.01, 0.2, 1.0, "supported"),
        (-0.2, -0.01, 1.0, "contradicted"),
        (-0.1, 0.1, 1.0, "undecided"),
        (-0.2, -0.01, -1.0, "supported"),
        (0.01, 0.2, -1.0, "contradicted"),
    ],
)
def test_a_claim_is_judged_by_the_whole_interval(low: float, high: float, sign: float, verdict: str) -> None:
    assert Estimate((low + high) / 2, low, high, 5, 200).verdict(sign) == verdict


def test_the_spread_is_the_sample_deviation_over_seeds() -> None:
    assert str(Figure.of([0.1, 0.2, 0.6])) == "0.300 ± 0.265"
    assert str(Figure.of([0.5])) == "0.500"


def test_the_page_is_what_the_committed_results_say() -> None:
    assert (ROOT / "docs" / "ablation.md").read_text("utf-8") == describe(read_results(DATA))


def test_what_was_not_run_says_so_on_the_page() -> None:
    text = describe(made_up({"rem": [[0.1, 0.2, 0.3, 0.4]]}))
    assert "| `rem` | 1 | 0 of 1 |" in text and "| `mlp` | not run | not run |" in text
    assert "| `rem` less `mlp` | and more than an MLP head | +4.2, +6.9 | not run | not run |" in text
    assert "0.250 [0.150, 0.400]" in text  # all three sentences' shots; c alone, and a alone
