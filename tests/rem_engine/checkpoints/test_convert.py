"""A converted file holds what the source holds, under the names asked for, whole or not at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from progress_log import ProgressLog
from red_model import check_refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stops import disk_full, stop_at

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.backbones.wan import load_wan
from rem_engine.checkpoints import read_changes, read_state_dict, split_components, to_original
from rem_engine.checkpoints.adapter import apply_change
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.low_rank import low_rank
from rem_engine.checkpoints.safetensors_file import Writer
from rem_engine.commands.cli import main
from rem_engine.progress import Unit

ROOT = Path(__file__).parents[3]
LATENT_LIMIT = 2e-4  # of the golden cases


@pytest.fixture(scope="module")
def source(golden: Path) -> Path:
    return golden / "wan" / "rem_wan.pth"


@pytest.fixture(scope="module")
def base(golden: Path) -> Path:
    return golden / "wan" / "base"


@pytest.fixture(scope="module")
def official(source: Path) -> dict[str, torch.Tensor]:
    """The official file's transformer as PyTorch reads it, under the original names."""
    weights = torch.load(source, weights_only=False)["model_state"]
    prefix = "backbone.dit."
    return to_original({name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)})


def golden_error(golden: Path, checkpoint: Path | None, strength: float = 1.0) -> float:
    """How far the mask latents lie from the authors', with a checkpoint over the golden base."""
    tensors = load_file(golden / "wan" / "cases" / "f9_half" / "tensors.safetensors")
    backbone = load_wan(
        golden / "wan" / "base",
        checkpoint=checkpoint,
        strength=strength,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    predicted = backbone.predict_mask_latents(tensors["img_latents"], tensors["prompt_embeds_0"])
    return float((predicted - tensors["pred_latents_0"]).abs().max())


# ---- whole denoisers


@pytest.mark.parametrize("names", ["comfyui", "diffusers"])
def test_a_full_file_is_the_official_one_under_the_names_asked_for(
    golden: Path, source: Path, official: dict[str, torch.Tensor], tmp_path: Path, names: str
) -> None:
    out = tmp_path / "new" / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--names", names]) == 0
    written = load_file(out)
    keymap = json.loads((golden / "wan" / "keymap.json").read_text())["transformer"]
    assert set(written) == set(keymap if names == "diffusers" else keymap.values())
    for name, tensor in to_original(written).items():
        assert tensor.dtype == official[name].dtype
        assert torch.equal(tensor, official[name])
    assert golden_error(golden, out) <= LATENT_LIMIT
    assert [file.name for file in out.parent.iterdir()] == ["rem.safetensors"]


def test_a_file_says_what_it_is(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "rem.safetensors"
    convert(Conversion(source, out, dtype=torch.bfloat16))
    with safe_open(out, "pt") as file:
        said = file.metadata()
    assert said == {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "wan2.1-t2v",
        "modelspec.implementation": "https://github.com/Wan-Video/Wan2.1",
        "modelspec.title": "rem_wan",
        "rem.format": "1",
        "rem.form": "full",
        "rem.names": "comfyui",
        "rem.dtype": "bfloat16",
        "rem.source": "rem_wan.pth",
    }
    again = tmp_path / "again.safetensors"
    convert(Conversion(source, again, dtype=torch.bfloat16))
    assert again.read_bytes() == out.read_bytes()


def test_what_a_source_says_of_its_maker_is_kept(base: Path, tmp_path: Path) -> None:
    weights = read_state_dict(base / "transformer")
    said = {"modelspec.license": "Apache-2.0", "modelspec.title": "Ours", "modelspec.hash_sha256": "0x0", "other": "x"}
    save_file({name: tensor.clone() for name, tensor in weights.items()}, tmp_path / "in.safetensors", said)
    convert(Conversion(tmp_path / "in.safetensors", tmp_path / "out.safetensors"))
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        kept = file.metadata()
    assert (kept["modelspec.license"], kept["modelspec.title"]) == ("Apache-2.0", "Ours")
    assert "modelspec.hash_sha256" not in kept and "other" not in kept


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_weight_is_rounded_once_to_the_type_asked_for(
    source: Path, official: dict[str, torch.Tensor], tmp_path: Path, dtype: str
) -> None:
    out = tmp_path / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--dtype", dtype]) == 0
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, official[name].to(getattr(torch, dtype)))


@pytest.mark.parametrize(("dtype", "steps"), [("float8_e4m3fn", 16), ("float8_e5m2", 8)])
def test_fp8_is_scaled_and_holds_the_blocks_matrices_alone(
    source: Path, official: dict[str, torch.Tensor], tmp_path: Path, dtype: str, steps: int
) -> None:
    out = tmp_path / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--dtype", dtype]) == 0
    written = load_file(out)
    matrices = {n for n in official if re.match(r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.[02])\.weight", n)}
    assert len(matrices) == 20
    scales = {f"{name.removesuffix('.weight')}.scale_weight" for name in matrices}
    assert set(written) == official.keys() | scales | {"scaled_fp8"}
    assert written["scaled_fp8"].numel() == 2 and written["scaled_fp8"].dtype == getattr(torch, dtype)
    for name, tensor in official.items():
        if name not in matrices:
            assert torch.equal(written[name], tensor)
            continue
        assert written[name].dtype == getattr(torch, dtype)
        assert written[name].float().abs().max() == 448  # also in e5m2, which ComfyUI 0.8.0 reads as e4m3
        scale = written[f"{name.removesuffix('.weight')}.scale_weight"]
        assert scale.dtype == torch.float32 and scale.shape == ()
        error = (written[name].float() * scale - tensor.float()).abs()
        assert bool((error <= tensor.float().abs() / steps + scale / 256).all())  # half a step of 3 or 2 bits
    read = to_original(read_state_dict(out))
    assert read.keys() == official.keys()


def test_values_beyond_float16_are_told(base: Path, tmp_path: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in to_original(read_state_dict(base)).items()}
    weights["blocks.1.ffn.0.bias"][3] = 1e6
    save_file(weights, tmp_path / "in.safetensors")
    with pytest.raises(ValueError, match=r"blocks\.1\.ffn\.0\.bias holds values that float16 cannot"):
        convert(Conversion(tmp_path / "in.safetensors", tmp_path / "out.safetensors", dtype=torch.float16))
    assert [file.name for file in tmp_path.iterdir()] == ["in.safetensors"]


def test_modelscope_converts_too(golden: Path, tmp_path: Path) -> None:
    convert(Conversion(golden / "modelscope" / "rem_ms.pth", tmp_path / "ms.safetensors", dtype=torch.float16))
    expected = torch.load(golden / "modelscope" / "rem_ms.pth", weights_only=False)["unet"]
    written = load_file(tmp_path / "ms.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor.half()) for name, tensor in expected.items())


# ---- deltas and LoRAs


def test_base_and_delta_give_rem(
    golden: Path, source: Path, base: Path, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out = tmp_path / "delta.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--as", "delta", "--base", str(base)]) == 0
    weights = {name: tensor.float() for name, tensor in to_original(read_state_dict(base)).items()}
    changes = read_changes(load_file(out))
    assert changes.keys() <= weights.keys()
    for name, tensor in official.items():
        changed = apply_change(weights[name], changes[name]) if name in changes else weights[name]
        torch.testing.assert_close(changed, tensor.float(), rtol=0, atol=1e-6)
    assert golden_error(golden, out) <= LATENT_LIMIT
    assert golden_error(golden, out, strength=0.0) == golden_error(golden, None)
    with safe_open(out, "pt") as file:
        assert file.metadata()["modelspec.architecture"] == "wan2.1-t2v/delta"
        assert file.metadata()["rem.base"] == "base"


@pytest.mark.parametrize("form", ["delta", "lora"])
def test_weights_that_are_the_bases_are_left_out(base: Path, tmp_path: Path, form: str) -> None:
    weights = {name: tensor.clone() for name, tensor in to_original(read_state_dict(base)).items()}
    weights["blocks.0.modulation"] += 1
    weights["blocks.1.self_attn.q.weight"] += 1
    weights["blocks.1.norm3.bias"] += 1
    save_file(weights, tmp_path / "rem.safetensors")
    summary = convert(
        Conversion(tmp_path / "rem.safetensors", tmp_path / "out.safetensors", form=form, base=base, rank=1)
    )
    changes = read_changes(load_file(tmp_path / "out.safetensors"))
    assert set(changes) == {"blocks.0.modulation", "blocks.1.self_attn.q.weight", "blocks.1.norm3.bias"}
    assert len(summary.unchanged) == len(weights) - 3


def test_a_lora_keeps_what_its_report_says(
    source: Path, base: Path, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out, rank = tmp_path / "lora.safetensors", 16
    assert main(["convert", str(source), "-o", str(out), "--as", "lora", "--base", str(base), "--rank", str(rank)]) == 0
    report = json.loads((tmp_path / "lora.report.json").read_text())
    before = to_original(read_state_dict(base))
    delta = {name: tensor.double() - before[name].double() for name, tensor in official.items()}
    changes = read_changes(load_file(out))
    assert changes.keys() == delta.keys()
    kept = 0.0
    for name, exact in delta.items():
        if name in report["layers"]:
            approximate = changes[name].full(exact.shape).double()
            assert changes[name].up.shape == (exact.shape[0], rank)
            share = 1 - float((exact - approximate).square().sum() / exact.square().sum())
            assert report["layers"][name]["energy_kept"] == pytest.approx(share, abs=1e-5)
            best = float(torch.linalg.svdvals(exact)[:rank].square().sum() / exact.square().sum())
            assert share <= best + 1e-6
            kept += share * float(exact.square().sum())
        else:
            assert name in report["full_differences"]
            assert torch.equal(changes[name], (official[name].float() - before[name].float()))
            kept += float(exact.square().sum())
    total = sum(float(exact.square().sum()) for exact in delta.values())
    assert report["energy_kept"] == pytest.approx(kept / total, abs=1e-5)
    small = {name for name in delta if delta[name].ndim != 2}  # norms, biases, modulation, the patch convolution
    assert small and small <= set(report["full_differences"])
    assert report["rank"] == rank and report["base"] == "base"


def test_the_low_rank_part_is_all_but_the_best() -> None:
    """On a matrix whose singular values fall slowly, as those of fine-tuning do; against the whole decomposition."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(200, 160, generator=generator)).Q for _ in range(2))
    singular = torch.arange(1, 161) ** -0.5
    matrix = left * singular @ right.mT
    change, kept = low_rank(matrix, 16)
    best = float(singular[:16].square().sum() / singular.square().sum())
    assert best - 0.005 <= kept <= best + 1e-6
    lost = float((matrix - change.full((200, 200))).square().sum() / matrix.square().sum())
    assert kept == pytest.approx(1 - lost, abs=1e-5)
    assert torch.equal(low_rank(matrix, 16)[0].up, change.up)


@pytest.mark.parametrize("form", ["delta", "lora"])
def test_rem_mini_is_its_base_and_a_change(tmp_path: Path, form: str) -> None:
    base = next((MINI_FOLDER / "t2v").glob("*.safetensors"))
    out, rank = tmp_path / "rem.safetensors", 10**6  # so high that nothing is worth factorising
    convert(Conversion(MINI_FOLDER / "transformer", out, form=form, base=base, rank=rank))
    folder = tmp_path / "model"
    folder.mkdir()
    for part in MINI_FOLDER.iterdir():
        if part.is_dir() and part.name not in ("transformer", "t2v"):
            (folder / part.name).symlink_to(part)
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_bytes((MINI_FOLDER / "transformer" / "config.json").read_bytes())
    (folder / "transformer" / "t2v.safetensors").symlink_to(base)
    predicted = []
    latents, text = torch.randn(1, 16, 2, 4, 4), torch.randn(1, 77, 4096)
    for model, checkpoint in ((MINI_FOLDER, None), (folder, out), (folder, None)):
        backbone = load_wan(model, checkpoint=checkpoint, device=torch.device("cpu"), dtype=torch.float32)
        predicted.append(backbone.predict_mask_latents(latents, text))
    torch.testing.assert_close(predicted[1], predicted[0], rtol=0, atol=1e-4)
    assert (predicted[2] - predicted[0]).abs().max() > 0.1


# ---- bad input, interruptions, memory


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["IN", "-o", "OUT.pth"], "let it end in .safetensors"),
        (["nothing.pth", "-o", "OUT.safetensors"], "There is no checkpoint at"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta"], "A delta needs --base"),
        (["IN", "-o", "OUT.safetensors", "--base", "BASE"], "--base is for --as delta"),
        (["IN", "-o", "OUT.safetensors", "--as", "lora", "--base", "BASE", "--rank", "0"], "no rank; give 1"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "BASE", "--dtype", "float8_e5m2"], "too coarse"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "BASE", "--names", "diffusers"], "ComfyUI's names"),
        (
            ["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "MINI"],
            "The base transformer does not fit: this is",
        ),
        (["VAE", "-o", "OUT.safetensors"], "holds no whole denoiser that REM works on: this is a Wan2.1 VAE"),
        (["IN", "-o", "OUT.safetensors", "--dtype", "int4"], "invalid choice: 'int4'"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    source: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"IN": source, "BASE": base, "VAE": base / "vae", "MINI": MINI_FOLDER / "transformer"}
    check_refused(["convert", *(str(places.get(argument, argument)) for argument in arguments)], sentence, capsys)
    assert not list(tmp_path.iterdir())


def test_a_lora_or_a_model_cut_short_is_no_source(base: Path, tmp_path: Path) -> None:
    save_file({"diffusion_model.blocks.0.norm3.diff": torch.ones(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="this is a LoRA or delta, not a whole model"):
        convert(Conversion(tmp_path / "lora.safetensors", tmp_path / "out.safetensors"))
    weights = {n: t.clone() for n, t in read_state_dict(base).items() if n != "blocks.1.ffn.net.2.bias"}
    save_file(weights, tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match=r"missing: blocks\.1\.ffn\.2\.bias"):
        convert(Conversion(tmp_path / "cut.safetensors", tmp_path / "out.safetensors"))


def test_a_file_is_not_converted_onto_itself(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "rem.safetensors"
    convert(Conversion(source, out))
    before = out.read_bytes()
    with pytest.raises(ValueError, match="is read from: choose another name"):
        convert(Conversion(out, out, dtype=torch.float16))
    assert out.read_bytes() == before


@pytest.mark.parametrize("form", ["full", "lora"])
def test_ctrl_c_leaves_what_was_there(source: Path, base: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "rem.safetensors"
    out.write_bytes(b"older")

    class StopHalfway(ProgressLog):
        def update(self, unit: Unit, done: int, total: int) -> None:
            if done > total / 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="Interrupted: nothing was written to .*rem.safetensors"):
        given = None if form == "full" else base
        convert(Conversion(source, out, form=form, base=given, overwrite=True), StopHalfway())
    assert [file.name for file in tmp_path.iterdir()] == ["rem.safetensors"]
    assert out.read_bytes() == b"older"


@pytest.mark.parametrize("name", ["rem.safetensors", "rem.report.json"])
def test_a_file_that_no_conversion_wrote_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine, out = tmp_path / name, tmp_path / "rem.safetensors"
    mine.write_bytes(b"mine")
    command = ["convert", str(MINI_FOLDER / "transformer"), "-o", str(out)]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"error: {mine} is no conversion's: ")
    assert mine.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    mine.unlink()
    for _ in range(2):  # the second replaces what the first wrote
        assert main(command) == 0


@pytest.mark.slow
def test_of_two_conversions_to_one_file_at_once_one_is_there_whole(tmp_path: Path) -> None:
    source, out = MINI_FOLDER / "transformer", tmp_path / "rem.safetensors"
    convert(Conversion(source, tmp_path / "alone.safetensors", dtype=torch.float32))
    command = [sys.executable, "-m", "rem_engine", "convert", str(source), "-o", str(out), "--dtype", "float32"]
    for _ in range(3):
        both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(120) for process in both] == [0, 0]
        assert out.read_bytes() == (tmp_path / "alone.safetensors").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"alone.safetensors", "rem.safetensors"}


def test_a_full_disk_is_told_and_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with stop_at(1, Writer, "finish", disk_full()):
        assert main(["convert", str(source), "-o", str(tmp_path / "rem.safetensors")]) == 2
    assert "No space is left on the disk for" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_disk_too_small_is_told_before_work_begins(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    log = ProgressLog()
    with pytest.raises(RuntimeError, match=r"needs 9 MB and its disk has 1 MB free: make room"):
        convert(Conversion(source, tmp_path / "rem.safetensors"), log)
    assert not log.counts and not list(tmp_path.iterdir())


def test_progress_counts_every_byte_of_the_source_once(source: Path, base: Path, tmp_path: Path) -> None:
    expected = sum(t.nbytes for t in split_components(read_state_dict(source))["transformer"].values())
    for options in ({}, {"dtype": torch.float8_e4m3fn}, {"form": "delta", "base": base}):
        log = ProgressLog()
        convert(Conversion(source, tmp_path / "rem.safetensors", **options), log)
        told = log.counts["bytes"]
        assert told[-1] == (expected, expected)
        assert told == sorted(told)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("dtype", ["keep", "bfloat16"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, dtype: str) -> None:
    """A file of 220 MB in less than 120 MB beyond what importing torch takes."""
    program = (
        "import sys; from pathlib import Path; import torch; from rem_engine.checkpoints.convert import *\n"
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = peak(); dtype = None if sys.argv[3] == 'keep' else getattr(torch, sys.argv[3])\n"
        "convert(Conversion(Path(sys.argv[1]), Path(sys.argv[2]), dtype=dtype)); print(peak() - before)"
    )
    write_hollow_model(tmp_path / "in.safetensors")
    command = [sys.executable, "-c", program, "in.safetensors", "out.safetensors", dtype]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    assert int(done.stdout) / 1024 < 120


def write_hollow_model(path: Path) -> None:
    from rem_engine.checkpoints.architecture import text_to_video_shapes

    begin = {
        "patch_embedding.weight": torch.empty(1536, 16, 1, 2, 2, device="meta"),
        "blocks.0.ffn.0.weight": torch.empty(4096, 1536, device="meta"),
    }
    header, end = {}, 0
    for name, shape in text_to_video_shapes(begin).items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


# ---- strength on the command line and from Python


def test_strength_is_for_deltas_and_loras(source: Path, base: Path) -> None:
    from rem_engine import load_segmenter

    with pytest.raises(ValueError, match="A strength is for a delta or LoRA; whole weights"):
        load_segmenter(base, checkpoint=source, strength=0.5)
    with pytest.raises(ValueError, match="A strength is for a delta or LoRA"):
        load_segmenter(base, strength=0.5)
    with pytest.raises(ValueError, match="A strength of 2.0 is out of range"):
        load_segmenter(base, checkpoint=source, strength=2.0)


def test_a_delta_of_another_size_is_told(source: Path, base: Path, tmp_path: Path) -> None:
    convert(Conversion(source, tmp_path / "delta.safetensors", form="delta", base=base))
    with pytest.raises(ValueError, match=r"delta\.safetensors (is for another size of model|changes .* does not have)"):
        load_wan(
            MINI_FOLDER, checkpoint=tmp_path / "delta.safetensors", device=torch.device("cpu"), dtype=torch.float32
        )
