"""Promises of the richer world: exact mattes in every setting, sentences that are true and fit what they name alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.synth import Synth
from trainer.synth import vocabulary as plain
from trainer.synth.backgrounds import procedural
from trainer.synth.processes import RENDERERS
from trainer.synth.rich import draw
from trainer.synth.rich.meaning import Match, Query, match, related
from trainer.synth.rich.outlines import GRID_BAR, THIN_CROSS_HALF, THIN_RING_HOLE, cover, rich_outline
from trainer.synth.rich.patterns import fill
from trainer.synth.rich.sampling import sample_scene
from trainer.synth.rich.sentences import caption, describe, describe_absent, targets
from trainer.synth.rich.shots import render_shot, sample_shot
from trainer.synth.rich.thing import RichThing, Setting
from trainer.synth.rich.vocabulary import (
    COLOUR_NAMES,
    COLOURS,
    HELD_OUT_MOTION,
    KIND_NAMES,
    KINDS,
    MOTION_PHRASES,
    PATTERN_NAMES,
    PATTERNS,
    PLACES,
    PROCESS_NAMES,
    PROCESSES,
    SIZE_NAMES,
    held_out,
    plural,
)
from trainer.synth.scene import RenderedShot
from trainer.synth.write import read_split, write_split

SIDE = 64
seeded = np.random.default_rng


def plate(value: float):
    def plates(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        return np.full((frames, height, width, 3), value, np.float32)

    return plates


def shown(things: list[RichThing], setting: Setting | None = None, value: float = 0.0, frames: int = 5) -> RenderedShot:
    return draw.render(things, setting or Setting(), plate(value), seeded(0), frames, SIDE, SIDE)


def thing(kind: str = "square", centre: tuple[float, float] = (0.5, 0.5), radius: float = 0.15, **more) -> RichThing:
    return RichThing(kind, None, centre, radius, 1, **{"colour": "red", "size": "medium", "motion": "still", **more})


def centroid(matte: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: matte.shape[0], : matte.shape[1]] + 0.5
    return np.array([(matte * x).sum(), (matte * y).sum()]) / matte.sum() / SIDE


def fitting(sentence: str, things: list[RichThing], form: Callable[[str], str] = str) -> list[int]:
    """Indices of the things that have every kind, colour, fill, size and motion that a sentence speaks of."""

    def said(names: dict[str, tuple[str, ...]], as_named: Callable[[str], str] = str, end: str = r"\b") -> set[str]:
        return {each for each in names for name in names[each] if re.search(rf"\b{as_named(name)}{end}", sentence)}

    processes = said(PROCESS_NAMES)
    if processes:
        return [index for index, thing in enumerate(things) if thing.kind in processes]
    kinds, colours, patterns = said(KIND_NAMES, form), said(COLOUR_NAMES), said(PATTERN_NAMES)
    sizes, motions = said(SIZE_NAMES), said(MOTION_PHRASES, end="$")
    return [
        index
        for index, thing in enumerate(things)
        if thing.is_object
        and (not kinds or thing.kind in kinds)
        and (not colours or set(thing.colours) == colours)
        and (not patterns or thing.pattern in patterns)
        and (not sizes or thing.size in sizes)
        and (not motions or thing.motion in motions)
    ]


@pytest.mark.parametrize(
    ("kind", "thin", "area"),
    [
        ("ring", True, np.pi * (1 - THIN_RING_HOLE**2)),
        ("cross", True, 4 * 2.2 * THIN_CROSS_HALF - 4 * THIN_CROSS_HALF**2),
        ("arrow", False, 2 * (1.05 * 0.26 + 0.5 * 1.05 * 0.72)),
        ("wire", False, None),
        ("grid", False, None),
        ("moon", False, None),
    ],
)
def test_coverage_is_the_area_of_the_shape_wherever_it_lies(kind: str, thin: bool, area: float | None) -> None:
    outlines = rich_outline(kind, thin, seeded(3))
    if area is None:  # by the shoelace formula, holes turning the other way
        area = abs(sum(0.5 * (o[:, 0] @ np.roll(o[:, 1], -1) - o[:, 1] @ np.roll(o[:, 0], -1)) for o in outlines))
    length = sum(np.hypot(*(outline - np.roll(outline, 1, 0)).T).sum() for outline in outlines)
    # an outline itself is covered to half a sample, of 8 to a pixel
    tolerance = length * 16 / 16 + 0.01 * area * 256
    assert cover(outlines, (32.3, 31.6), 16.0, 0.4, 64, 64).sum() == pytest.approx(area * 256, abs=tolerance)
    assert cover(outlines, (-60.0, 31.6), 16.0, 0.4, 64, 64).sum() == 0


def test_a_grids_bars_are_as_wide_as_stated() -> None:
    matte = cover(rich_outline("grid", False, seeded(0)), (32.0, 32.0), 24.0, 0.0, 64, 64)
    through_cells = matte[32 - 12]
    bars = round(through_cells.sum() / (GRID_BAR * 24))
    assert bars in (3, 4) and through_cells.sum() / bars == pytest.approx(GRID_BAR * 24, abs=2 / 16 + 0.05)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_show_plenty_of_both_colours(pattern: str) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    for seed in range(8):
        share = fill(pattern, seeded(seed), 1 / 24)(x, y)
        assert share.min() >= 0 and share.max() <= 1
        assert 0.15 < share.mean() < 0.85, seed


def test_frames_are_the_composite_of_background_and_mattes_in_every_setting() -> None:
    """Over black and over white, a pixel differs by what no thing covers; water tints the background beneath it."""
    for seed in range(30):
        things, setting = sample_scene(seeded(seed))
        setting = replace(setting, flicker=0.0, grain=0.0)
        if setting.waterline is not None:
            continue
        black, white = shown(things, setting, 0.0), shown(things, setting, 1.0)
        uncovered = 1 - black.mattes.sum(axis=0)
        np.testing.assert_allclose(white.frames - black.frames, uncovered[..., None].repeat(3, -1), atol=2e-5)
        assert uncovered.min() > -1e-5


def test_a_moving_thing_is_blurred_along_its_way_and_keeps_its_area() -> None:
    still = shown([thing()]).mattes[0, 2]
    moving = shown([thing(motion="right", path=(0.5, 0.0))]).mattes[0, 2]
    assert moving.sum() == pytest.approx(still.sum(), rel=0.02)
    assert ((moving[32] > 0.02) & (moving[32] < 0.98)).sum() > ((still[32] > 0.02) & (still[32] < 0.98)).sum()


def test_a_camera_takes_background_and_things_along() -> None:
    setting = Setting(camera=(0.2, 0.0))
    things = [thing(motion=None), RichThing("smoke", "left", (0.3, 0.5), 0.2, 3)]
    mattes = shown(things, setting).mattes
    for index in range(2):
        assert (centroid(mattes[index, -1]) - centroid(mattes[index, 0]))[0] == pytest.approx(0.2, abs=0.05)

    def ramp(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        across = np.linspace(0, 1, width, dtype=np.float32)
        return np.broadcast_to(across[None, None, :, None], (frames, height, width, 3)).copy()

    frames = draw.render([], setting, ramp, seeded(0), 5, SIDE, SIDE).frames
    assert (frames[0, 32, 32] - frames[-1, 32, 32])[0] == pytest.approx(0.2 * SIDE / (SIDE * 1.25), abs=0.01)


def test_shadows_lie_where_light_throws_them_behind_their_objects() -> None:
    things = [RichThing("shadow", None, (0.4, 0.4), 0.15, 2, owner=1), thing(centre=(0.4, 0.4))]
    shot = shown(things, Setting(shadow=(0.3, 0.25)), value=1.0)
    shift = centroid(shot.mattes[0, 0]) - centroid(shot.mattes[1, 0])
    assert shift == pytest.approx([0.3, 0.25], abs=0.03)
    assert shot.mattes[0].max() > 0.6 and shot.things[0].is_clear
    assert shot.frames[0][shot.mattes[0, 0] > 0.6].mean() < 0.45


def test_water_mirrors_things_below_its_line() -> None:
    things = [RichThing("reflection", None, (0.4, 0.4), 0.12, 2, owner=1), thing(centre=(0.4, 0.4), radius=0.12)]
    shot = shown(things, Setting(waterline=0.6), value=0.5)
    assert centroid(shot.mattes[0, 0]) == pytest.approx([0.4, 0.8], abs=0.03)
    assert shot.mattes[0, :, : int(0.6 * SIDE)].max() < 0.01
    red = shot.frames[0][shot.mattes[0, 0] > 0.6]
    assert (red[:, 0] > 2 * red[:, 1]).all()


def test_ripples_bend_what_is_under_them_and_its_matte_alike() -> None:
    things = [thing(radius=0.28, colour="white"), RichThing("ripples", "middle", (0.5, 0.5), 0.3, 5)]
    shot = shown(things)
    still = shown(things[:1])
    through = 1 - shot.mattes[1, 2]
    assert np.abs(shot.mattes[0, 2] / np.maximum(through, 0.1) - still.mattes[0, 2]).max() > 0.2
    assert shot.things[1].over == (0,)


@pytest.mark.parametrize("name", ("steam", "bubbles"))
def test_added_processes_move_softly_and_at_every_size_alike(name: str) -> None:
    small = RENDERERS[name](seeded(5), 48, 48, (0.5, 0.5), 0.3)
    large = RENDERERS[name](seeded(5), 96, 96, (0.5, 0.5), 0.3)
    first, later = small(0)[1], small(6)[1]
    assert np.abs(first - later).mean() > 0.002
    assert 0.03 < (later > 0.5).mean() < 0.5
    assert (large(6)[1] > 0.5).mean() == pytest.approx((later > 0.5).mean(), rel=0.35)


def test_what_covers_a_thing_is_known_and_a_covered_thing_is_not_asked_for() -> None:
    shot = shown([thing(), thing("circle", (0.62, 0.5)), thing("circle", (0.15, 0.2), colour="blue")])
    assert shot.things[1].over == (0,) and shot.things[2].over == ()
    hidden = shown([thing(radius=0.1), thing("circle", radius=0.3)]).things
    assert not hidden[0].is_clear and targets(hidden) == [(1,)]


RELATED = [("left", (-0.3, 0.02)), ("right", (0.3, 0.05)), ("above", (0.04, -0.3)), ("below", (0.0, 0.3))]
RELATED += [("above left", (-0.2, -0.2)), ("below right", (0.2, 0.25))]


@pytest.mark.parametrize(("relation", "offset"), RELATED)
def test_relations_hold_where_they_are_plain_and_only_there(relation: str, offset: tuple[float, float]) -> None:
    anchor = thing("star")
    other = thing("circle", (0.5 + offset[0], 0.5 + offset[1]))
    assert related([anchor, other], 1, relation, 0) is Match.YES
    assert related([anchor, other], 0, relation, 1) is Match.NO
    for name, _ in RELATED:
        assert name == relation or related([anchor, other], 1, name, 0) is not Match.YES


def test_a_description_that_could_mean_another_thing_is_never_used() -> None:
    striped = thing(colour="red", second="white", pattern="striped")
    assert match([striped], Query("square", ("red",)), 0) is Match.MAYBE
    assert match([striped], Query("square", ("white", "red")), 0) is Match.YES
    assert match([thing(size="medium")], Query("square", size="large"), 0) is Match.MAYBE
    assert match([thing(motion="down right")], Query("square", motion="right"), 0) is Match.MAYBE
    assert match([RichThing("smoke", None, (0.5, 0.5), 0.3, 1)], Query(motion="up"), 0) is Match.MAYBE


def test_relations_are_true_in_the_rendered_frames() -> None:
    """Read back from sentences of one anchor, by the centroids of what is visible in the middle of the shot."""
    checked = 0
    for seed in range(160):
        shot = render_shot(seeded(seed), plate(0.3), 3, SIDE, SIDE)
        for target in targets(shot.things):
            sentence = describe(seeded(seed), shot.things, target) or ""
            found = re.search(r" (left of|right of|above|below) the ", sentence)
            if len(target) > 1 or not found or " and " in sentence:
                continue
            anchor = [
                i for i, other in enumerate(shot.things)
                if i != target[0] and other.is_clear and other.owner is None
            ]  # fmt: skip
            if len(anchor) != 1:
                continue
            own, other = (centroid(shot.mattes[i, 1]) for i in (target[0], anchor[0]))
            axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[found[1]]
            assert (own - other)[axis] * sign > 0, (seed, sentence)
            checked += 1
    assert checked >= 5


def test_plurals_name_every_thing_of_a_kind_and_nothing_else() -> None:
    seen = 0
    for seed in range(120):
        things = render_shot(seeded(seed), plate(0.3), 3, 32, 32).things
        for target in (each for each in targets(things) if len(each) > 1):
            seen += 1
            sentence = describe(seeded(seed), things, target)
            assert sentence is not None and fitting(sentence, things, plural) == list(target), sentence
            assert len(target) == 2 or not re.match("both|the two", sentence)
            assert all(things[i].is_clear for i in target)
    assert seen >= 10
    circles = [thing("circle", (0.2, 0.2), colour="green"), thing("circle", (0.8, 0.8), colour="blue"), thing("star")]
    assert (0, 1) in targets(circles)
    assert re.fullmatch(r"(all|the|both|all the|the two) (circles|discs)", describe(seeded(0), circles, (0, 1)) or "")


def test_seen_shots_show_and_say_nothing_that_is_held_out() -> None:
    for seed in range(80):
        shot = sample_shot(seeded(seed), plate(0.3), 2, 24, 24)
        assert not any(each.is_unseen for each in shot.things)
        said = [each.text for each in shot.expressions] + [caption(seeded(seed), shot.things)]
        assert not any(re.search(r"(up|above) and to the left", text) for text in said)


def test_unseen_shots_ask_for_what_is_held_out_alone() -> None:
    by = {"combination": 0, "motion": 0, "relation": 0}
    for seed in range(40):
        shot = sample_shot(seeded(seed), plate(0.3), 2, 24, 24, unseen=True)
        assert any(each.targets for each in shot.expressions)
        for expression in shot.expressions:
            if not expression.targets:
                continue
            named = shot.things[expression.targets[0]]
            if "above and to the left of" in expression.text:
                by["relation"] += 1
            elif named.motion == HELD_OUT_MOTION:
                assert "up and to the left" in expression.text
                by["motion"] += 1
            else:
                assert named.is_unseen
                by["combination"] += 1
    assert all(by.values()), by


def test_absent_sentences_name_nothing_that_is_there() -> None:
    for seed in range(60):
        rng = seeded(seed)
        things = render_shot(rng, plate(0.3), 3, 24, 24).things
        for _ in range(5):
            sentence = describe_absent(rng, things)
            if not re.search(r" (of|above|below|under) ", sentence):
                assert not fitting(sentence, things), sentence


def test_the_richer_world_holds_out_all_that_the_plain_one_does() -> None:
    assert set(plain.KINDS) < set(KINDS) and set(plain.COLOURS) < set(COLOURS) and set(plain.PROCESSES) < set(PROCESSES)
    for kind in plain.KINDS:
        assert all(held_out(kind, colour) == plain.held_out(kind, colour) for colour in plain.COLOURS)
    for process in PROCESSES:
        assert sum(held_out(process, place) for place in PLACES) == 1
        assert process not in plain.PROCESSES or all(
            held_out(process, place) == plain.held_out(process, place) for place in PLACES
        )
    for kind in KINDS:
        assert 1 <= sum(held_out(kind, colour) for colour in COLOURS) <= 2


def test_a_written_split_reads_back_with_its_groups(tmp_path: Path) -> None:
    write_split(tmp_path / "d", 30, 7, procedural, frames=2, height=40, width=48, unseen=False, world="rich")
    entries = list(read_split(tmp_path / "d"))
    assert all(isinstance(each, RichThing) for entry in entries for each in entry.things)
    groups = [(entry, e) for entry in entries for e in entry.expressions if len(e.targets) > 1]
    assert groups
    source = Synth(tmp_path / "d")
    texts = [source.text(index) for index in range(len(source))]
    entry, expression = groups[0]
    sample = source.read(texts.index(expression.text), 2, seeded(0))
    alpha = [
        cv2.imread(
            str(tmp_path / "d" / "train" / "alpha" / entry.video / str(i + 1) / "00000.png"), cv2.IMREAD_UNCHANGED
        )
        for i in expression.targets
    ]
    np.testing.assert_array_equal(sample.masks[0], np.any([a > 32767 for a in alpha], axis=0))


def test_the_same_seed_gives_the_same_shot() -> None:
    first, again = (sample_shot(seeded(11), procedural, 3, 32, 32) for _ in range(2))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.expressions == again.expressions and first.things == again.things


def test_light_flickers_only_where_asked() -> None:
    steady, flickering = (shown([thing()], Setting(flicker=f), 0.5).frames for f in (0.0, 0.1))
    assert all(np.array_equal(a, b) for a, b in pairwise(steady))
    assert np.ptp(flickering[:, 0, 0, 0]) > 0.02
