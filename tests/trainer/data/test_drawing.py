"""What a step trains on depends on (seed, step, slot) alone, not on where a run began or how many processes it has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from rem_engine.segment.resize import frames_to_model
from tests.trainer.miniatures import write_ref_ytvos, write_refcoco
from trainer.data.join import Joined, Resized, Subset
from trainer.data.kinds import DatasetKind
from trainer.data.loader import Loader
from trainer.data.open import KINDS, open_sources
from trainer.data.order import SampleOrder
from trainer.data.ref_ytvos import RefYtvos
from trainer.data.sample import BrokenSample, Sample
from trainer.settings import TrainSettings


class Numbers:
    """A source of one-pixel clips that hold their own number, and a random one."""

    def __init__(self, name: str, length: int, broken: tuple[int, ...] = ()) -> None:
        self.name, self._length, self._broken = name, length, broken

    def __len__(self) -> int:
        return self._length

    def text(self, index: int) -> str:
        return f"{self.name} {index}"

    def files(self, index: int) -> list[Path]:
        return [Path(f"{self.name}{index}")]

    def is_fixed(self, frames: int) -> bool:
        return False

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        if index in self._broken:
            raise BrokenSample(Path(f"{self.name}{index}"), "is broken.")
        return Sample(
            rng.integers(256, size=(frames, 1, 1, 3)).astype(np.uint8), np.zeros((frames, 1, 1), bool), self.text(index)
        )


def settings(batches: tuple[int, ...] = (2,), accumulate: int = 1, workers: int = 0, on_broken: str = "refuse"):
    streams = [
        {
            "sources": [{"kind": "folder", "root": "x"}],
            "frames": 1,
            "batch": batch,
            "workers": workers,
            "on_broken": on_broken,
        }
        for batch in batches
    ]
    return TrainSettings(
        backbone="wan",
        size=(16, 16),
        streams=streams,
        steps=9,
        optim={"lr": 1, "accumulate": accumulate},
        save_every=1,
        seed=3,
    )


def numbers(*lengths: int, broken: tuple[int, ...] = ()) -> Joined:
    return Joined([Numbers("abc"[i], length, broken) for i, length in enumerate(lengths)], [1.0] * len(lengths))


def drawn(loader: Loader) -> dict[tuple[int, int], tuple[str, bytes]]:
    return {
        (batch.step, slot): (sample.text, sample.frames.tobytes())
        for batch in loader
        for slot, sample in zip(batch.slots, batch.samples, strict=True)
    }


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    order = SampleOrder([5, 3], [1, 1], (1,))
    epochs = [[order[8 * epoch + place] for place in range(8)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [SampleOrder([5, 3], [1, 1], (1,))[place] for place in range(8)] == epochs[0]
    assert [SampleOrder([5, 3], [1, 1], (2,))[place] for place in range(8)] != epochs[0]


def test_any_position_is_found_without_those_before_it() -> None:
    long = SampleOrder([7], [1], (0,))
    for position in (20_000_003, 5, 700):
        assert long[position] == SampleOrder([7], [1], (0,))[position]


def test_weights_say_how_often_a_source_comes_and_all_of_it_comes_equally_often() -> None:
    order = SampleOrder([4, 10], [2, 0.5], (1,))
    assert len(order) == 8 + 5
    epoch = Counter(order[place] for place in range(13))
    assert sum(epoch[i] for i in range(4)) == 8 and sum(epoch[i] for i in range(4, 14)) == 5
    two = Counter(order[place] for place in range(26))
    assert all(two[i] == 4 for i in range(4)) and all(two[i] == 1 for i in range(4, 14))


def test_a_subset_is_random_of_its_size_and_always_the_same() -> None:
    subset = Subset(Numbers("a", 500), 40)
    texts = [subset.text(i) for i in range(len(subset))]
    assert len(set(texts)) == 40 and texts == [Subset(Numbers("a", 500), 40).text(i) for i in range(40)]
    chosen = [int(text.split()[1]) for text in texts]
    assert min(chosen) < 100 and max(chosen) >= 400
    assert len(Subset(Numbers("a", 5), 40)) == 5


def test_a_run_that_starts_at_any_step_gets_what_the_whole_run_gets_there() -> None:
    source = numbers(7, 4)
    whole = drawn(Loader([source], settings(), range(12)))
    assert len(whole) == 24
    later = drawn(Loader([source], settings(), range(5, 12)))
    assert later == {key: value for key, value in whole.items() if key[0] >= 5}


def test_processes_and_accumulation_split_the_same_global_batch() -> None:
    source = numbers(7, 4)
    whole = drawn(Loader([source], settings((4,)), range(6)))
    by_process: dict = {}
    for index in range(2):
        part = drawn(Loader([source], settings((2,)), range(6), rank=index, world_size=2))
        assert len(part) == 12 and not set(part) & set(by_process)
        by_process.update(part)
    assert by_process == whole
    accumulated = list(Loader([source], settings((2,), accumulate=2), range(6)))
    assert [batch.step for batch in accumulated] == [s for step in range(6) for s in (step, step)]
    assert drawn(Loader([source], settings((2,), accumulate=2), range(6))) == whole


def test_streams_take_turns_and_each_goes_through_its_own_samples() -> None:
    images, videos = numbers(6), Joined([Numbers("v", 3)], [1.0])
    batches = list(Loader([images, videos], settings((2, 1)), range(6)))
    names = [[sample.text for sample in batch.samples] for batch in batches]
    assert [len(each) for each in names] == [2, 1, 2, 1, 2, 1]
    assert sorted(sum(names[0::2], [])) == [f"a {i}" for i in range(6)]
    assert sorted(sum(names[1::2], [])) == [f"v {i}" for i in range(3)]


def test_workers_change_nothing() -> None:
    source = numbers(7, 4)
    assert drawn(Loader([source], settings(workers=2), range(4))) == drawn(Loader([source], settings(), range(4)))


def test_a_broken_sample_is_refused_or_the_next_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    source = numbers(4, broken=(1, 2))
    with pytest.raises(BrokenSample, match="is broken"):
        drawn(Loader([source], settings(), range(4)))
    got = drawn(Loader([source], settings(on_broken="skip"), range(4)))
    assert Counter(text for text, _ in got.values()) == {"a 0": 2, "a 3": 6}  # 3 stands in for 1 and 2
    # each file once
    assert sorted(record.getMessage() for record in caplog.records) == [
        "sample left out: a1: is broken.",
        "sample left out: a2: is broken.",
    ]
    assert got == drawn(Loader([source], settings(on_broken="skip", workers=1), range(4)))


def test_a_dataset_that_is_broken_throughout_stops_the_run() -> None:
    source = numbers(3, broken=(0, 1, 2))
    with pytest.raises(ValueError, match="3 samples of a in a row cannot be trained on, the last one: a"):
        drawn(Loader([source], settings(on_broken="skip"), range(2)))


def test_waiting_is_the_share_of_time_spent_on_data(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("trainer.data.loader.time.monotonic", lambda: clock[0])

    class Slow(Numbers):
        def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
            clock[0] += 1.0
            return super().read(index, frames, rng)

    loader = Loader([Joined([Slow("a", 5)], [1.0])], settings((1,)), range(4))
    assert loader.waiting == 0.0
    for _ in loader:
        clock[0] += 3.0  # the step
    assert loader.waiting == pytest.approx(3 * 1 / (4 * 3 + 3 * 1))  # the first batch is start-up


def test_resized_samples_are_what_the_engine_makes_of_the_frames(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    source = RefYtvos(tmp_path)
    full = source.read(1, 6, np.random.default_rng(0))
    small = Resized(source, (16, 32)).read(1, 6, np.random.default_rng(0))
    assert small.frames.shape == (6, 16, 32, 3) and small.frames.dtype == np.uint8
    expected = frames_to_model(full.frames, (16, 32), eight_bit=True)
    assert (frames_to_model(small.frames, (16, 32), eight_bit=True) == expected).all()
    rows, columns = (np.arange(16) + 0.5) * 36 / 16, (np.arange(32) + 0.5) * 48 / 32
    nearest = full.masks[:, rows.astype(int)][:, :, columns.astype(int)]
    np.testing.assert_array_equal(small.masks, nearest)


def test_settings_open_what_they_name(tmp_path: Path) -> None:
    """The authors' video stage: images made into clips, joined to Refer-YouTube-VOS."""
    write_refcoco(tmp_path / "coco")
    write_ref_ytvos(tmp_path / "ytvos")
    images = [
        {"kind": "refcoco", "root": tmp_path / "coco", "name": name, "pseudo_video": True, "max_samples": 1}
        for name in ("refcoco", "refcoco+", "refcocog")
    ]
    data = {"sources": [*images, {"kind": "ref_ytvos", "root": tmp_path / "ytvos", "weight": 2.0}]}
    run = TrainSettings(
        backbone="modelscope",
        size=(64, 64),
        streams=[{**data, "frames": 8, "batch": 1}],
        steps=20,
        optim={"lr": 1e-6},
        save_every=5,
    )
    source = open_sources(run.streams[0], run.size)
    assert len(source) == 3 + 4 and source.weights == (1.0, 1.0, 1.0, 2.0)
    batches = list(Loader([source], run, range(11)))  # an epoch: 3 + 2 x 4
    texts = Counter(batch.samples[0].text for batch in batches)
    assert sum(count for text, count in texts.items() if " of refcoco" in text) == 3
    assert texts["The  Red square"] == 4
    for batch in batches:
        assert batch.samples[0].frames.shape == (8, 64, 64, 3)


def test_every_kind_that_settings_may_name_has_a_reader() -> None:
    assert set(KINDS) == set(get_args(DatasetKind))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "synth", "split": "valid"}, "kind synth has no splits"),
        ({"kind": "mevis", "name": "x"}, "kind mevis has no name"),
        ({"kind": "refcoco"}, "no RefCOCO named ''"),
    ],
)
def test_settings_that_do_not_go_with_a_kind(tmp_path: Path, change: dict, words: str) -> None:
    from trainer.settings import DataSettings

    with pytest.raises(ValueError, match=words):
        open_sources(DataSettings(sources=[{"root": tmp_path, **change}], frames=1, batch=1))
