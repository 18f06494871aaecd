"""The input folder as a list to choose from: bounded, since the host makes it while everyone waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from without_host import host_module


@pytest.fixture(scope="module")
def listing() -> Iterator[ModuleType]:
    """The module alone, in a host that knows folders and kinds of files and nothing else."""
    host = ModuleType("folder_paths")
    host.filter_files_content_types = lambda names, kinds: [name for name in names if name.endswith((".mp4", ".mov"))]
    with host_module("input_listing", folder_paths=host) as module:
        yield module


@pytest.fixture
def listed(listing: ModuleType, tmp_path: Path) -> Callable[[], Any]:
    """The list of a folder, made anew at every call."""
    return lambda: listing.look_through(str(tmp_path))


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_videos_and_folders_of_frames_are_listed(listed: Callable[[], Any], tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mxf", tmp_path / "still.png", tmp_path / "notes.txt", tmp_path / ".c.mp4")
    touch(tmp_path / "sq" / "010" / "f.1.EXR", tmp_path / "sq" / "cut.mov", tmp_path / ".hidden" / "f.png")
    assert listed().names == ("a.mp4", "b.mxf", "sq/010/", "sq/cut.mov")
    assert listed().note == ""


def test_of_several_sequences_in_a_folder_each_is_listed(listed: Callable[[], Any], tmp_path: Path) -> None:
    touch(*(tmp_path / "two" / f"{name}.{number:04}.exr" for name in "ab" for number in (1, 2)))
    touch(tmp_path / "twice" / "a.1.png", tmp_path / "twice" / "a.01.png", tmp_path / "one" / "a_v2.0001.png")
    assert listed().names == ("one/", "twice/", "two/a.####.exr", "two/b.####.exr")


def test_links_are_followed_and_never_round_in_a_circle(listed: Callable[[], Any], tmp_path: Path) -> None:
    shots = tmp_path.with_name(f"{tmp_path.name}_elsewhere")
    touch(shots / "plate" / "f.png", tmp_path / "own" / "deep" / "g.png", tmp_path / "own" / "a.mp4")
    for number in range(8):  # each doubles the paths, where links are walked as if they were folders
        (tmp_path / f"up{number}").symlink_to(tmp_path)
        (tmp_path / "own" / f"up{number}").symlink_to("..")
        (shots / f"back{number}").symlink_to(tmp_path)
    (tmp_path / "elsewhere").symlink_to(shots)
    (tmp_path / "latest").symlink_to(tmp_path / "own" / "deep")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    names = listed().names
    assert names == ("elsewhere/plate/", "latest/", "own/a.mp4", "own/deep/")
    assert listed().note == ""


def test_links_to_themselves_hide_nothing(listed: Callable[[], Any], tmp_path: Path) -> None:
    touch(tmp_path / "sq" / "f.1.png", tmp_path / "a.mp4")
    for number in range(20):
        for name in (f"loop{number}", f"sq/loop{number}.png"):
            (tmp_path / name).symlink_to(tmp_path / name)
    assert listed().names == ("a.mp4", "sq/")


def test_a_folder_too_large_is_cut_in_time_and_says_so(
    listed: Callable[[], Any], listing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_ENTRIES", 3000)
    touch(tmp_path / "z.mp4", *(tmp_path / f"{folder}" / f"f.{n:04d}.png" for folder in "abcde" for n in range(1200)))
    cut = listed()
    assert cut.names == ("a/", "b/", "c/", "z.mp4")
    assert cut.note.startswith("The list was cut after 4 shots") and "path below it is given" in cut.note
    monkeypatch.setattr(listing, "_ENTRIES", 200_000)
    monkeypatch.setattr(listing, "_SECONDS", -1.0)
    assert listed().note != ""
    monkeypatch.setattr(listing, "_SECONDS", 60.0)
    assert listed().names == ("a/", "b/", "c/", "d/", "e/", "z.mp4")


def test_a_list_is_kept_for_some_seconds(listing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(listing, "_WAIT_SECONDS", 30.0)
    shots = listing._Listing(str(tmp_path))
    assert shots.latest().names == ()
    touch(tmp_path / "new.mp4")
    assert shots.latest().names == ()
    now += listing._KEPT_SECONDS
    assert shots.latest().names == ("new.mp4",)


def test_nobody_waits_for_a_folder_that_takes_long_and_its_list_comes_later(
    listing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.mp4")
    go_on, look = threading.Event(), listing.look_through

    def slow(root: str) -> Any:
        go_on.wait(30.0)
        return look(root)

    monkeypatch.setattr(listing, "look_through", slow)
    monkeypatch.setattr(listing, "_WAIT_SECONDS", 0.05)
    shots = listing._Listing(str(tmp_path))
    start = time.perf_counter()
    first = [shots.latest() for _ in range(4)]
    assert time.perf_counter() - start < 5.0 and threading.active_count() < 20
    assert all(one.names == () and "still being looked through" in one.note for one in first)
    go_on.set()
    monkeypatch.setattr(listing, "_WAIT_SECONDS", 30.0)
    assert shots.latest().names == ("a.mp4",) and shots.latest().note == ""


def test_a_list_is_no_longer_than_a_page_takes(
    listed: Callable[[], Any], listing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_SHOTS", 20)
    touch(*(tmp_path / f"{number:02d}.mp4" for number in range(20)))
    assert len(listed().names) == 20 and listed().note == ""
    touch(tmp_path / "20.mp4")
    assert listed().names == tuple(f"{number:02d}.mp4" for number in range(20))
    assert listed().note.startswith("The list was cut after 20 shots")
