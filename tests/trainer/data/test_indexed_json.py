"""A large JSON file is read once, in parts, and never held as a whole."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from trainer.data import indexed_json
from trainer.data.indexed_json import IndexedJson
from trainer.data.mevis import Mevis
from trainer.data.sample import BrokenSample

ODD = {
    "1": [],
    "zwei": [1, None, {"size": [2, 3], "counts": 'a"b\\c]}{[,:'}],
    "größe 日本": ["ü\u2028", "\\u00e9"],
    "": {"a": {"b": [[[]]]}},
    "number": 123456,
    "true": True,
    "text": "]" * 40,
    "fraction": -1.5e-7,
}


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("form", [{}, {"indent": 3}, {"ensure_ascii": False, "separators": (" ,\n", "\t: ")}])
def test_values_are_those_that_json_reads_wherever_parts_end(
    chunk: int, form: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_json, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text("\n " + json.dumps(ODD, **form) + " \n", encoding="utf-8")
    indexed = IndexedJson(path)
    assert list(indexed) == list(ODD)
    for name, value in ODD.items():
        assert name in indexed and indexed[name] == value
        assert indexed.count(name) == (len(value) if isinstance(value, list) else None)
    assert "another" not in indexed


def test_an_empty_object_and_a_name_that_comes_twice_are_as_json_has_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{ }")
    assert list(IndexedJson(path)) == []
    path.write_text('{"a": [1], "a": [2, 3]}')
    assert IndexedJson(path)["a"] == json.loads(path.read_text())["a"] == [2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("[1, 2]", "holds no annotations by id"),
        ("null", "holds no annotations by id"),
        ('{"a": [1, 2]', "is not JSON"),
        ('{"a": [1,, 2]}', "is not JSON"),
        ('{"a": 1} {"b": 2}', "is not JSON"),
        ('{"a": 1,}', "is not JSON"),
        ('{"a" 1}', "is not JSON"),
        ("{1: 2}", "is not JSON"),
        ('{"a": ' + "[" * 100_000, "lists within lists"),
    ],
)
def test_what_is_no_object_is_told_as_any_other_file_s_fault(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(BrokenSample, match=words):
        IndexedJson(path)


def test_a_file_that_changes_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2], "b": [3]}')
    indexed = pickle.loads(pickle.dumps(IndexedJson(path)))
    assert indexed["b"] == [3]
    path.write_text('{"a": [')
    with pytest.raises(BrokenSample, match="has changed since it was opened"):
        indexed["b"]


def test_opening_mevis_takes_less_memory_than_its_files(tmp_path: Path) -> None:
    """Of the shape of the published split: four annotations of 60 frames and 14 sentences a video."""
    folder = tmp_path / "train"
    folder.mkdir()
    rng = np.random.default_rng(0)
    videos, masks = {}, {}
    for video in range(60):
        mine = [str(4 * video + number) for number in range(4)]
        for number in mine:
            counts = "".join(map(chr, rng.integers(48, 91, 230)))
            masks[number] = [{"size": [720, 1280], "counts": counts}] * 60
        expressions = {str(n): {"exp": f"the thing {n} moving left", "anno_id": [int(mine[n % 4])]} for n in range(14)}
        videos[f"video{video}"] = {"frames": [f"{t:05d}" for t in range(60)], "expressions": expressions}
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    (folder / "mask_dict.json").write_text(json.dumps(masks))
    size = sum(path.stat().st_size for path in folder.iterdir())
    del videos, masks
    tracemalloc.start()
    try:
        source = Mevis(tmp_path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(source) == 60 * 14
    assert kept < 0.5 * size and peak < 1.5 * size + (8 << 20)  # with parts of a few MB
    assert len(pickle.dumps(source)) < 0.2 * size  # what a loader's worker gets
