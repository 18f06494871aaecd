"""JSON files of datasets and benchmarks: whatever stands in the place of what is expected is named, with its file."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import write_shots

from tests.trainer.benchmarks.miniatures import write_burst, write_ref_vps
from tests.trainer.miniatures import write_mevis, write_ref_davis17, write_ref_ytvos, write_refcoco
from trainer.benchmarks.names import open_benchmark
from trainer.commands.cli import main
from trainer.data.check import check_dataset
from trainer.data.coco import decode_mask
from trainer.data.sample import BrokenSample
from trainer.settings import SourceSettings

YTVOS = "meta_expressions/train/meta_expressions.json"
DAVIS = "meta_expressions/valid/meta_expressions.json"
LAYOUTS: dict[str, tuple[Callable[[Path], object], str, dict[str, str]]] = {
    "ref_ytvos": (write_ref_ytvos, YTVOS, {}),
    "ref_davis17": (write_ref_davis17, YTVOS, {}),
    "mevis": (write_mevis, "train/meta_expressions.json", {}),
    "mevis masks": (write_mevis, "train/mask_dict.json", {}),
    "refcoco": (write_refcoco, "refcoco/instances_refcoco_train.json", {"name": "refcoco"}),
}
BENCHMARKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "ref-ytvos": (write_ref_ytvos, YTVOS),
    "ref-davis17": (write_ref_davis17, DAVIS),
    "mevis": (write_mevis, "valid_u/meta_expressions.json"),
    "mevis masks": (write_mevis, "valid_u/mask_dict.json"),
    "burst": (write_burst, "annotations/val/all_classes.json"),
    "ref-vps": (write_ref_vps, "expressions.json"),
}
WRONG = (None, 3, [], {"a": None}, [None], 10**30, True)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value; of a list its first two."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_wrong_values(file: Path) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Put each wrong value in each place of a JSON file, one after the other."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    for path in places(whole):
        for wrong in WRONG:
            content = copy.deepcopy({"": whole})
            at: Any = content
            for key in ("", *path)[:-1]:
                at = at[key]
            at[("", *path)[-1]] = wrong
            file.write_text(json.dumps(content[""]), encoding="utf-8")
            yield path, wrong


def one_sentence(call: Callable[[], object], place: object) -> str:
    """What a call refuses with; "" where it goes through."""
    try:
        call()
    except (BrokenSample, FileNotFoundError) as error:
        assert "\n" not in str(error), place
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_stands_in_an_annotation_is_told_or_of_no_account(tmp_path: Path, layout: str) -> None:
    write, listing, more = LAYOUTS[layout]
    write(tmp_path)
    settings = SourceSettings(kind=layout.split()[0], root=tmp_path, **more)
    for place in with_wrong_values(tmp_path / listing):
        one_sentence(lambda: check_dataset(settings), place)


@pytest.mark.slow
@pytest.mark.parametrize("layout", BENCHMARKS)
def test_whatever_stands_in_a_benchmarks_annotation_is_told_or_of_no_account(tmp_path: Path, layout: str) -> None:
    write, listing = BENCHMARKS[layout]
    write(tmp_path)

    def read() -> None:
        benchmark = open_benchmark(layout.split()[0], tmp_path, "valid_u" if "mevis" in layout else None)
        for name in benchmark.names():
            video = benchmark.video(name)
            if benchmark.submission is None:
                for frame in range(len(video.frames)):
                    benchmark.truth(video, frame)

    for place in with_wrong_values(tmp_path / listing):
        one_sentence(read, place)


def test_an_annotation_that_is_null_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that no sentence names."""
    write_mevis(tmp_path)
    masks = tmp_path / "train/mask_dict.json"
    masks.write_text(json.dumps(json.loads(masks.read_text()) | {"72": None}))
    assert main(["check-data", str(tmp_path), "--kind", "mevis"]) == 2
    said = capsys.readouterr()
    expected = f"{masks}: annotation 72 is null; a list of run lengths, one a frame, is expected."
    assert expected in said.out + said.err
    assert "Traceback" not in said.err
    report = check_dataset(SourceSettings(kind="mevis", root=tmp_path))
    assert [str(broken) for broken in report.broken] == [expected]
    assert (report.sentences, report.unusable) == (3, 0)


def test_names_of_frames_that_are_no_texts_are_told(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    listing = tmp_path / YTVOS
    content = json.loads(listing.read_text())
    content["videos"]["aa1"]["frames"][1] = None
    listing.write_text(json.dumps(content))
    broken = check_dataset(SourceSettings(kind="ref_ytvos", root=tmp_path)).broken
    assert f"{listing}: 'frames' of the video aa1 holds null, where texts are expected." in map(str, broken)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ({"size": [100_000, 100_000], "counts": "0P<Pd2"}, r"is \[100000, 100000\] pixels, its picture \[48, 64\]"),
        ({"size": [48, 64], "counts": [3072, 10**12]}, "neither polygons nor run lengths"),
        ({"size": [48, 64], "counts": [4000, -928]}, "neither polygons nor run lengths"),
        ([[0.0, 0.0, 1e12, 0.0, 1e12, 1e12]], "neither polygons nor run lengths"),
        ([[0.0, 0.0, 1e6, 0.0, float("nan"), 5.0]], "neither polygons nor run lengths"),
        (None, "neither polygons nor run lengths"),
    ],
)
def test_masks_that_would_fill_the_memory_are_told(tmp_path: Path, segmentation: Any, words: str) -> None:
    with pytest.raises(BrokenSample, match=words):
        decode_mask(tmp_path / "masks.json", segmentation, (48, 64), "annotation 1")


@pytest.mark.parametrize("archive", ["train/mask_dict.json.gz", "train/mask_dict.zip", "train.tar.gz", "train.zip"])
def test_what_lies_packed_is_said_to_be_unpacked(tmp_path: Path, archive: str) -> None:
    write_mevis(tmp_path)
    (tmp_path / "train/mask_dict.json").unlink()
    (tmp_path / archive).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=rf"mask_dict\.json does not exist; .*{Path(archive).name} is there"):
        check_dataset(SourceSettings(kind="mevis", root=tmp_path))


def test_a_packed_file_under_the_plain_name_is_told(tmp_path: Path) -> None:
    write_mevis(tmp_path)
    masks = tmp_path / "train/mask_dict.json"
    masks.write_bytes(gzip.compress(masks.read_bytes()))
    with pytest.raises(BrokenSample, match=r"mask_dict\.json: is packed, which is not supported; unpack it"):
        check_dataset(SourceSettings(kind="mevis", root=tmp_path))


def test_frames_that_lie_packed_are_said_to_be_unpacked(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    frames = tmp_path / "train/JPEGImages"
    frames.rename(tmp_path / "elsewhere")
    (tmp_path / "train/JPEGImages.zip").write_bytes(b"")
    broken = check_dataset(SourceSettings(kind="ref_ytvos", root=tmp_path)).broken
    assert any(f"is missing; {frames}.zip is there, unpack it." in str(each) for each in broken)


@pytest.mark.parametrize("place", ["../aa1", "/aa1", "a\0a", "..", ""])
def test_a_name_that_leads_elsewhere_is_told(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a video, a frame, a sentence (which names a folder of predictions), a picture and a sequence."""
    write_ref_ytvos(tmp_path / "ytvos")
    write_refcoco(tmp_path / "coco")
    write_burst(tmp_path / "burst")
    listing, coco = tmp_path / "ytvos" / YTVOS, tmp_path / "coco/refcoco/instances_refcoco_train.json"
    whole = json.loads(listing.read_text())
    for change in (
        lambda videos: videos.update({place: videos.pop("aa1")}),
        lambda videos: videos["aa1"]["frames"].append(place),
        lambda videos: videos["aa1"]["expressions"].update({place: videos["aa1"]["expressions"]["0"]}),
    ):
        content = copy.deepcopy(whole)
        change(content["videos"])
        listing.write_text(json.dumps(content))
        for name in ("ref-ytvos", "ref_ytvos"):
            arguments = ["--root", str(tmp_path / "ytvos"), "--split", "train", "--out", str(tmp_path / "out")]
            check = ["check-data", str(tmp_path / "ytvos"), "--kind", name]
            assert main(["benchmark", name, *arguments] if name == "ref-ytvos" else check) == 2
            said = capsys.readouterr()
            assert str(listing) in said.out + said.err and said.err.count("error: ") == 1
    content = json.loads(coco.read_text())
    content["images"][0]["file_name"] = place
    coco.write_text(json.dumps(content))
    report = check_dataset(SourceSettings(kind="refcoco", root=tmp_path / "coco", name="refcoco"))
    assert any("for a name, which no file of a dataset can have" in str(broken) for broken in report.broken)
    burst = tmp_path / "burst/annotations/val/all_classes.json"
    content = json.loads(burst.read_text())
    content["sequences"][0]["seq_name"] = place
    burst.write_text(json.dumps(content))
    with pytest.raises(BrokenSample, match="for a name"):
        open_benchmark("burst", tmp_path / "burst", None)


def test_run_lengths_are_read_as_coco_reads_them() -> None:
    """Against pycocotools, on masks of every kind; compressed, and as a list."""
    from pycocotools import mask as coco

    rng = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.5, 0.99, 1.0):
        for height, width in ((1, 1), (3, 200), (150, 97)):
            mask = rng.random((height, width)) < share
            mask[: height // 2] |= share == 0.5  # long runs too
            runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            flat = mask.flatten(order="F")
            ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
            counts = np.diff([0, *ends, flat.size]).tolist()
            for form in (runs["counts"].decode(), [0, *counts] if flat[0] else counts):
                read = decode_mask(Path("m.json"), {"size": [height, width], "counts": form}, (height, width), "a mask")
                assert np.array_equal(read, mask)


@pytest.mark.parametrize(
    "counts", ["", "\xe9", "o", "`" * 20 + "0", "P_`" * 40, "000", [3, -1], [1.5, 4.5], ["6"], None]
)
def test_run_lengths_of_another_picture_are_told_and_not_written_beyond_it(counts: Any) -> None:
    """pycocotools writes as many pixels as compressed counts say."""
    with pytest.raises(BrokenSample, match="neither polygons nor run lengths"):
        decode_mask(Path("m.json"), {"size": [2, 3], "counts": counts}, (2, 3), "a mask")


@pytest.mark.parametrize(
    "polygons",
    [[[]], [[1, 2]], [[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5, "6"]], [[1, 2, 3, 4, 5, None]], [3], [], [[[1, 2]]]],
)
def test_polygons_that_are_none_are_told(polygons: Any) -> None:
    """Some of them end the process in pycocotools."""
    with pytest.raises(BrokenSample, match="neither polygons nor run lengths"):
        decode_mask(Path("m.json"), polygons, (20, 30), "a mask")


def test_rendered_shots_with_a_damaged_synth_json_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rem_engine.load_segmenter", lambda *_, **__: None)
    listing = write_shots(tmp_path / "shots", 1) / "synth.json"
    whole = json.loads(listing.read_text())
    (video,) = whole["videos"]
    for name, value in (
        ("world", "x"),
        ("world", []),
        ("things", 3),
        ("things", [{"kind": "star"}]),
        ("things", [3]),
        ("expressions", [{"text": "x", "target": 99}]),
        ("expressions", [{"text": "x", "kind": 3}]),
        ("expressions", [{"text": "x", "target": []}]),
    ):
        content = copy.deepcopy(whole)
        (content if name == "world" else content["videos"][video])[name] = value
        listing.write_text(json.dumps(content))
        assert main(["score", "--data", str(listing.parent)]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(lines) == 1 and lines[0].startswith(f"error: {listing}: ")
