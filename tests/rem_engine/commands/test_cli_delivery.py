"""`segment` delivers what compositing takes: named layers, what is left out, mattes in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from delivered import openexr_channels, video_alpha
from PIL import Image
from red_model import FRAMES, HEIGHT, NEUTRAL, WIDTH, RedBackbone, check_refused, deliver, files_of, pictures_of, read

from rem_engine import Segmenter
from rem_engine.commands.cli import main
from rem_engine.matte import MatteSettings, chain
from rem_engine.media import open_shot
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.run.layout import FILES, WRITABLE
from rem_engine.segment.close_up import CloseUp


def soft_of(shot: Path, *texts: str) -> np.ndarray:
    """[N,T,H,W] in 0..1 from the engine itself, without files."""
    with open_shot(shot) as frames:
        return Segmenter(RedBackbone()).segment(frames, texts).soft.numpy().clip(0.0, 1.0)


# ---- what is written


@pytest.mark.usefixtures("fake_model")
def test_every_delivery_holds_the_models_own_mask_where_matte_options_are_neutral(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kinds = "alpha,png16,exr,prores,webm"
    assert deliver(shot, out, "--write", kinds, "--start", "1001", "--padding", "5", *NEUTRAL) == 0
    numbers = [f"{number:05d}" for number in range(1001, 1001 + FRAMES)]
    assert set(files_of(out)) == {
        "run.json",
        "smoke/plate.mov",
        "smoke/plate.webm",
        *(f"smoke/{kind}/plate.{number}.png" for kind in ("alpha", "png16") for number in numbers),
        *(f"exr/plate.{number}.exr" for number in numbers),
    }
    (soft,) = soft_of(shot, "the smoke")
    prores = video_alpha(out / "smoke" / "plate.mov")
    webm = video_alpha(out / "smoke" / "plate.webm")
    assert len(prores) == len(webm) == FRAMES
    for index, number in enumerate(numbers):
        expected = np.rint(soft[index].astype(float) * 65535)
        np.testing.assert_array_equal(read(out / "smoke" / "alpha" / f"plate.{number}.png"), expected)
        rgba = read(out / "smoke" / "png16" / f"plate.{number}.png")
        assert rgba.dtype == np.uint16
        np.testing.assert_array_equal(rgba[..., 3], expected)
        channels = openexr_channels(out / "exr" / f"plate.{number}.exr")
        assert set(channels) == {"R", "G", "B", "smoke.A"}
        np.testing.assert_array_equal(channels["smoke.A"], (expected / 65535).astype(np.float32).astype(np.float16))
        np.testing.assert_allclose(prores[index], soft[index], atol=0.002)
        assert np.abs(webm[index][:HEIGHT, :WIDTH] - soft[index]).mean() <= 0.002


@pytest.mark.usefixtures("fake_model")
def test_matte_options_shape_deliveries_and_leave_masks_alone(shot: Path, tmp_path: Path) -> None:
    options = ("--write", "masks,soft,overlay,alpha")
    assert deliver(shot, tmp_path / "plain", *options, *NEUTRAL) == 0
    shaping = ("--black", "0.2", "--white", "0.7", "--refine", "0", "--invert")
    assert deliver(shot, tmp_path / "shaped", *options, *shaping) == 0
    plain, shaped = files_of(tmp_path / "plain"), files_of(tmp_path / "shaped")
    for name in plain:
        if name == "run.json":
            continue
        assert (plain[name] == shaped[name]) is ("/alpha/" not in name), name
    (soft,) = soft_of(shot, "the smoke")
    expected = 1 - ((np.rint(soft.astype(float) * 65535) / 65535 - 0.2) / 0.5).clip(0, 1)
    for index in range(FRAMES):
        stored = read(tmp_path / "shaped" / "smoke" / "alpha" / f"plate.{1001 + index}.png") / 65535
        np.testing.assert_allclose(stored, expected[index], atol=2e-5)


@pytest.mark.usefixtures("fake_model")
def test_layers_have_their_names_lose_what_is_left_out_and_every_text_is_encoded_once(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = RedBackbone.encode_text
    monkeypatch.setattr(RedBackbone, "encode_text", lambda *given: encoded.append(given[1]) or encode(*given))
    passes = []
    predict = RedBackbone.predict_mask_latents
    monkeypatch.setattr(
        RedBackbone, "predict_mask_latents", lambda *given: passes.append(len(given[2])) or predict(*given)
    )
    out = tmp_path / "out"
    prompts = ("FG-smoke.v1: the smoke | -a kettle", "a kettle", "the fire | -a kettle | -the smoke")
    assert deliver(shot, out, "--write", "npz,exr", *NEUTRAL, prompts=prompts) == 0
    assert encoded == ["the smoke", "a kettle", "the fire"]
    assert set(passes) == {3}  # all go through the denoiser together
    with open_shot(shot) as frames:
        smoke, kettle, fire = Segmenter(RedBackbone()).segment(frames, encoded[:3]).soft.numpy()
    expected = {
        "FG-smoke.v1": smoke * (1 - kettle.clip(0, 1)),
        "a_kettle": kettle,
        "the_fire": fire * (1 - kettle.clip(0, 1)) * (1 - smoke.clip(0, 1)),
    }
    for name, soft in expected.items():
        with np.load(out / name / "soft.npz") as archive:
            np.testing.assert_allclose(archive["soft"], soft, atol=1e-6)
    channels = openexr_channels(out / "exr" / "plate.1014.exr")
    assert set(channels) == {"R", "G", "B", *(f"{name}.A" for name in expected)}
    for name, soft in expected.items():
        np.testing.assert_allclose(channels[f"{name}.A"], soft[-1].clip(0, 1), atol=6e-4)
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert [(entry["name"], entry["folder"], entry["prompt"], entry["without"]) for entry in run["prompts"]] == [
        ("FG-smoke.v1", "FG-smoke.v1", "the smoke", ["a kettle"]),
        ("a_kettle", "a_kettle", "a kettle", []),
        ("the_fire", "the_fire", "the fire", ["a kettle", "the smoke"]),
    ]
    for entry in run["prompts"]:
        assert entry["mean_area"] == pytest.approx((expected[entry["name"]] > 0.5).mean(), abs=1e-3)
    # Another run there leaves the layers of this one, whatever they were called, and both are listed.
    assert deliver(shot, out, "--write", "masks") == 0
    assert {path.name for path in out.iterdir()} == {"run.json", "smoke", "exr", *expected}
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert [entry["name"] for entry in run["prompts"]] == ["smoke", *expected]


@pytest.mark.usefixtures("fake_model")
def test_exclusive_layers_share_no_pixel_and_an_id_map_says_whose_each_is(shot: Path, tmp_path: Path) -> None:
    out, prompts = tmp_path / "out", ("short: red", "long: the very red thing that moves")
    assert deliver(shot, out, "--combine", "exclusive", "--write", "masks,soft", prompts=prompts) == 0
    with open_shot(shot) as frames:
        short, long = Segmenter(RedBackbone()).segment(frames, ["red", prompts[1][6:]]).soft.numpy()
    seen = set()
    for index in range(FRAMES):
        ids = read(out / "ids" / f"plate.{1001 + index}.png")
        assert ids.dtype == np.uint8 and ids.shape == (HEIGHT, WIDTH)
        masks = [read(out / name / "masks" / f"plate.{1001 + index}.png") > 0 for name in ("short", "long")]
        assert not (masks[0] & masks[1]).any()
        np.testing.assert_array_equal(ids, 1 * masks[0] + 2 * masks[1])
        strongest = np.where(long[index] > short[index], 2, 1)
        np.testing.assert_array_equal(ids, np.where(np.maximum(long, short)[index] > 0.5, strongest, 0))
        seen |= set(np.unique(ids))
    assert {0, 2} <= seen  # the longer prompt gives more in this stand-in


@pytest.mark.usefixtures("fake_model")
def test_a_union_is_one_layer(shot: Path, tmp_path: Path) -> None:
    out, prompts = tmp_path / "out", ("red", "the very red thing")
    assert deliver(shot, out, "--combine", "union", "--write", "npz", prompts=prompts) == 0
    with np.load(out / "union" / "soft.npz") as archive, open_shot(shot) as frames:
        expected = Segmenter(RedBackbone()).segment(frames, list(prompts)).soft.amax(dim=0)
        np.testing.assert_array_equal(archive["soft"], expected.numpy())
    assert {path.name for path in out.iterdir()} == {"run.json", "union"}
    assert json.loads((out / "run.json").read_text("utf-8"))["settings"]["prompts"] == list(prompts)


@pytest.mark.usefixtures("fake_model")
def test_a_close_up_is_the_engines_own(tmp_path: Path) -> None:
    plate = tmp_path / "plate"
    plate.mkdir()
    y, x = np.mgrid[:120, :200]
    for number in range(9):
        frame = np.full((120, 200, 3), 40, np.uint8)
        frame[np.hypot(y - 40, x - 60 - 3 * number) < 6, 0] = 230
        Image.fromarray(frame).save(plate / f"plate.{1001 + number}.png")
    assert deliver(plate, tmp_path / "near", "--write", "npz", "--close-up", prompts=("red",)) == 0
    assert deliver(plate, tmp_path / "wide", "--write", "npz", prompts=("red",)) == 0
    with open_shot(plate) as frames:
        close_up = CloseUp(Segmenter(RedBackbone()))
        chunks = close_up.stream(frames, close_up.encode_prompts(["red"]))
        expected = torch.cat([chunk.soft for chunk in chunks], dim=1)[0].numpy()
    with np.load(tmp_path / "near/red/soft.npz") as near, np.load(tmp_path / "wide/red/soft.npz") as wide:
        np.testing.assert_array_equal(near["soft"], expected)
        assert np.abs(near["soft"] - wide["soft"]).max() > 0.1


@pytest.mark.usefixtures("fake_model")
def test_prompts_come_from_a_file_too(shot: Path, tmp_path: Path) -> None:
    file = tmp_path / "layers.txt"
    file.write_text("\ufeffsmoke: the smoke | -the fog\n\nthe red thing\n", "utf-8")
    arguments = ["segment", str(shot), "--prompts", str(file), "-p", "first: the dust", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--write", "masks"]) == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert [entry["name"] for entry in run["prompts"]] == ["first", "smoke", "the_red_thing"]


@pytest.mark.usefixtures("fake_model")
def test_light_above_white_of_an_exr_plate_is_delivered(tmp_path: Path) -> None:
    plate = tmp_path / "plate"
    plate.mkdir()
    rng = np.random.default_rng(0)
    frames = (rng.random((5, HEIGHT, WIDTH, 3)) * 12).astype(np.float16)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    for index, frame in enumerate(frames):
        with OpenEXR.File(header, {"RGB": frame}) as file:
            file.write(str(plate / f"beauty.{100 + index}.exr"))
    assert deliver(plate, tmp_path / "out", "--write", "exr", "--smooth", "1") == 0
    assert frames.max() > 11
    for index, frame in enumerate(frames):
        channels = openexr_channels(tmp_path / "out" / "exr" / f"beauty.{100 + index}.exr")
        np.testing.assert_array_equal(np.stack([channels[name] for name in "RGB"], axis=-1), frame)


@pytest.mark.usefixtures("fake_model")
def test_exr_options_reach_the_file(shot: Path, tmp_path: Path) -> None:
    options = ("--exr-type", "float", "--exr-compression", "piz", "--exr-display", "--premultiplied", "--start", "0")
    assert deliver(shot, tmp_path / "out", "--write", "exr", *options, *NEUTRAL) == 0
    file = OpenEXR.File(str(tmp_path / "out" / "exr" / "plate.0000.exr"), separate_channels=True)
    assert file.header()["compression"] == OpenEXR.PIZ_COMPRESSION
    channels = {name: channel.pixels for name, channel in file.channels().items()}
    assert {pixels.dtype for pixels in channels.values()} == {np.dtype(np.float32)}
    with open_shot(shot) as frames:
        plate = frames.read(0, 1)[0] / 255
    np.testing.assert_allclose(channels["R"], plate[..., 0] * channels["A"], atol=1e-6)


def test_every_option_of_the_matte_stage_is_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    shown = " ".join(capsys.readouterr().out.split("examples:")[0].split())
    for name, value in vars(MatteSettings()).items():
        option = "matte-threshold" if name == "threshold" else name.replace("_", "-")
        assert f"--{option}" in shown
        if value is not None and not isinstance(value, bool | str):
            assert f"({value:g})" in shown.split(f" --{option} ")[-1].split(" --")[0], option
    settings = DeliverySettings()
    assert (settings.start, settings.padding, settings.exr_type) == (None, None, "half")
    for default in ("from it (a sequence's own", "shot.1001 (a sequence's own", "as large (half)", "small (zip)"):
        assert default in shown
    assert WRITABLE[:4] == ("masks", "soft", "npz", "overlay")
    assert set(DeliverySettings(kinds=WRITABLE[4:]).kinds) == {
        "alpha", "png16", "exr", "alpha_exr", "cryptomatte", "prores", "webm", "shapes"
    }  # fmt: skip


@pytest.mark.usefixtures("fake_model")
def test_a_shorter_delivery_leaves_no_frame_of_the_longer_one(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "alpha,exr,prores", *NEUTRAL) == 0
    (out / "exr" / "plate.exr").write_bytes(b"mine")
    (out / "smoke" / "alpha" / "other.1001.png").write_bytes(b"mine")
    for number in range(5, FRAMES):
        (shot / f"plate.{1001 + number}.png").unlink()
    assert deliver(shot, out, "--write", "alpha,exr", *NEUTRAL) == 0
    assert {name for name in files_of(out) if name != "run.json"} == {
        "exr/plate.exr",
        "smoke/alpha/other.1001.png",
        "smoke/plate.mov",  # was not asked for, and so stays
        *(f"smoke/alpha/plate.{number}.png" for number in range(1001, 1006)),
        *(f"exr/plate.{number}.exr" for number in range(1001, 1006)),
    }


@pytest.mark.usefixtures("fake_model")
def test_help_says_where_every_file_lies(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", ",".join(WRITABLE), "--combine", "exclusive", *NEUTRAL) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    listed = re.findall(r"^  (\S+) .*\((?:--write \w+|--combine exclusive)\)$", capsys.readouterr().out, re.MULTILINE)
    examples = {path.replace("<layer>", "smoke").replace("<shot>", "plate") for path in listed}
    assert len(examples) == len(FILES) and examples <= set(files_of(out))
    others = {re.sub(r"\d+\.(png|exr)$", r"#.\1", name) for name in files_of(out)} - {"run.json"}
    assert others == {re.sub(r"\d+\.(png|exr)$", r"#.\1", name) for name in examples}


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("command", ["segment", "matte"])
def test_the_matte_stage_computes_on_the_device_that_was_asked_for(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    out, options = tmp_path / "out", ("--write", "alpha", "--smooth", "1", "--remove-islands", "9", "--device", "cpu:0")
    assert deliver(shot, tmp_path / "expected", "--write", "soft,alpha", "--smooth", "1", "--remove-islands", "9") == 0
    devices = []
    compute = chain._solved
    monkeypatch.setattr(chain, "_solved", lambda *given: devices.append(given[2]) or compute(*given))
    if command == "segment":
        assert deliver(shot, out, *options) == 0
    else:
        masks = tmp_path / "expected" / "smoke" / "soft"
        assert main(["matte", str(shot), "--masks", str(masks), "-o", str(out), "--cuts", "none", *options]) == 0
    assert devices == [torch.device("cpu", 0)] * FRAMES
    expected = files_of(tmp_path / "expected" / "smoke" / "alpha")
    assert files_of(out / "smoke" / "alpha") == expected and len(expected) == FRAMES


@pytest.mark.usefixtures("fake_model")
def test_what_was_written_is_said(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "exr,alpha,prores", "--padding", "6", *NEUTRAL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{out / 'smoke'}  ")
    assert lines[1:] == [
        str(out / "exr" / "plate.001001-001014.exr"),
        str(out / "smoke" / "alpha" / "plate.001001-001014.png"),
        str(out / "smoke" / "plate.mov"),
    ]


@pytest.mark.usefixtures("fake_model")
def test_smoothing_never_crosses_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each take delivered alone is the same as in the edit."""
    rng = np.random.default_rng(3)
    takes = [np.asarray(Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((64, 48))) for _ in range(2)]
    for name, chosen in {"edit": takes, "one": takes[:1], "two": takes[1:]}.items():
        (tmp_path / name).mkdir()
        frames = [np.roll(take, number, axis=1) for take in chosen for number in range(7)]
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / name / f"{name}.{1001 + number}.png")
    for name, cuts in (("edit", "7"), ("one", "none"), ("two", "none")):
        options = ("--write", "alpha", "--smooth", "2", "--cuts", cuts, "--window", "9", "--overlap", "2")
        assert deliver(tmp_path / name, tmp_path / f"{name}_out", *options) == 0
    edit, one, two = (
        [data for _, data in sorted(pictures_of(tmp_path / f"{name}_out").items())] for name in ("edit", "one", "two")
    )
    assert edit == one + two


# ---- bad input


@pytest.mark.usefixtures("fake_model")
def test_a_run_never_removes_the_shot_it_reads(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "exr,prores,overlay", *NEUTRAL) == 0
    before = files_of(out)
    capsys.readouterr()
    for again in (out / "exr", out / "exr" / "plate.1001.exr", out / "smoke" / "plate.mov", out / "overlay.mp4"):
        assert deliver(again, out, "--write", "masks", prompts=("other: the smoke",)) == 2
        assert "lies where this run would write: give another folder" in capsys.readouterr().err
    assert files_of(out) == before


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "the red car: its dust"], "Prompt line 1 ('the red car: its dust') has 'the red car' before its colon"),
        (["-p", "a: x", "-p", "a: y"], "Prompt line 2 ('a: y') has the name 'a' of line 1"),
        (["-p", "x", "-p", ""], "The prompt is empty"),
        (["--prompts", "nowhere.txt"], "nowhere.txt: No such file or directory; check the path"),
        (
            ["--prompts", "plate/plate.1001.png"],
            "plate.1001.png is no text of prompts, byte 0 is not UTF-8: save it as plain text",
        ),
        (["-p", "x", "--combine", "most"], "invalid choice: 'most'"),
        (["-p", "x", "--start", "-5"], "A first frame number of -5 is not possible; give 0 to 999999999."),
        (["-p", "x", "--padding", "0"], "A padding of 0 digits is not possible; give 1 to 10 digits."),
        (["-p", "x", "--black", "0.6", "--white", "0.4"], "The white level (0.4) must lie above the black level (0.6)"),
        (["-p", "x", "--matte-threshold", "2"], "A threshold of 2 is not possible"),
        (["-p", "x", "--name", "n" * 201], "a name of 201 bytes is too long: up to 200 are possible"),
        (["-p", "x", "--exposure", "99"], "An exposure of 99 stops is not possible; give -20 to 20 stops."),
        (["-p", "x", "--grow", "much"], "argument --grow: invalid int value: 'much'"),
    ],
)
def test_bad_input_gets_one_sentence(
    shot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(["segment", "plate", "-o", "out", *arguments], sentence, capsys)
    assert not (tmp_path / "out").exists()
