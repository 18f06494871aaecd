"""Weights that stay in their files give what weights in memory give, bit by bit, and are read once a shot."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from PIL import Image
from progress_log import ProgressLog
from safetensors.torch import load_file, save_file
from transformers import UMT5Config, UMT5EncoderModel

from rem_engine import Segmenter, load_segmenter
from rem_engine.backbones.checkpoint import Weights
from rem_engine.backbones.load import load_backbone
from rem_engine.checkpoints import to_original
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.stored import StoredTensor
from rem_engine.memory import available_bytes
from rem_engine.segment.settings import SegmentSettings

BLOCKS = 5
SIZE = (32, 48)
FRAMES = np.random.default_rng(0).integers(0, 256, (12, 40, 48, 3), dtype=np.uint8)
PROMPTS = ["fire", "the smoke"]


@pytest.fixture(scope="module")
def folder(tiny_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wan of five blocks whose weights are in bfloat16, as published."""
    place = tmp_path_factory.mktemp("deep") / "wan"
    for part in ("text_encoder", "tokenizer"):
        (place / part).parent.mkdir(exist_ok=True)
        (place / part).symlink_to(tiny_wan / part)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformer = WanTransformer3DModel(num_attention_heads=2, num_layers=BLOCKS, ffn_dim=64, text_dim=4096)
        transformer.to(torch.bfloat16).save_pretrained(place / "transformer")
        AutoencoderKLWan(base_dim=4).save_pretrained(place / "vae")
    return place


def segmenter(folder: Path, **options: object) -> Segmenter:
    made = load_segmenter(folder, size=SIZE, window=5, overlap=1, device="cpu", **options)
    made.backbone.prompts_per_pass = lambda latents: 1  # other batches round otherwise
    return made


def checkpoints(folder: Path, place: Path) -> dict[str, Path]:
    """REM weights over the folder in every form."""
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    ours = {name: (tensor.float() * 1.03 + 0.002) for name, tensor in weights.items()}
    names = list(to_original(ours).items())
    forms = {
        form: place / f"{form}.safetensors" for form in ("diffusers", "original", "float8", "scaled", "delta", "lora")
    }
    save_file(ours, forms["diffusers"])
    save_file(dict(names), forms["original"])
    is_matrix = {name: name.endswith(".weight") and tensor.ndim == 2 and "blocks" in name for name, tensor in names}
    save_file({n: t.to(torch.float8_e4m3fn) if is_matrix[n] else t for n, t in names}, forms["float8"])
    scaled = {n: (t / t.abs().max() * 448).to(torch.float8_e4m3fn) if is_matrix[n] else t for n, t in names}
    scales = {n.replace(".weight", ".scale_weight"): t.abs().max() / 448 for n, t in names if is_matrix[n]}
    save_file({**scaled, **scales, "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, forms["scaled"])
    changed = [(n.removesuffix(".weight"), *tensor.shape) for n, tensor in names if is_matrix[n]]
    rng = torch.Generator().manual_seed(2)
    full = {f"diffusion_model.{n}.diff": torch.randn(out, width, generator=rng) * 0.01 for n, out, width in changed}
    save_file(full, forms["delta"])
    ups = {f"diffusion_model.{n}.lora_up.weight": torch.randn(out, 3, generator=rng) for n, out, _ in changed}
    downs = {f"diffusion_model.{n}.lora_down.weight": torch.randn(3, w, generator=rng) * 0.01 for n, _, w in changed}
    save_file(ups | downs, forms["lora"])
    forms["pth"] = place / "rem.pth"
    torch.save({"model_state": {f"backbone.dit.{name}": tensor for name, tensor in ours.items()}}, forms["pth"])
    for form, options in (("gguf", {"form": "gguf"}), ("int8", {"dtype": torch.int8})):
        forms[form] = place / f"{form}.{'gguf' if form == 'gguf' else 'safetensors'}"
        convert(Conversion(forms["original"], forms[form], **options))
    split = [dict(list(ours.items())[start::2]) for start in (0, 1)]
    (place / "shards").mkdir()
    for number, part in enumerate(split):
        save_file(part, place / "shards" / f"{number}.safetensors")
    forms["shards"] = place / "shards" / "rem.safetensors.index.json"
    index = {name: f"{number}.safetensors" for number, part in enumerate(split) for name in part}
    forms["shards"].write_text(json.dumps({"weight_map": index}))
    return forms


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.thorough)])
def test_streamed_masks_are_those_of_weights_in_memory_whatever_file_they_are_in(
    folder: Path, tmp_path: Path, dtype: str
) -> None:
    whole = segmenter(folder, dtype=dtype, memory="whole").segment(FRAMES, PROMPTS).soft
    assert torch.equal(segmenter(folder, dtype=dtype, memory="stream").segment(FRAMES, PROMPTS).soft, whole)
    for form, file in checkpoints(folder, tmp_path).items():
        one, other = (
            segmenter(folder, checkpoint=file, dtype=dtype, memory=memory).segment(FRAMES, PROMPTS).soft
            for memory in ("whole", "stream")
        )
        assert torch.equal(one, other), form
        assert not torch.equal(one, whole), form


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.thorough), "bfloat16"])
def test_streamed_masks_of_the_golden_wan_are_those_of_weights_in_memory(
    golden: Path, tmp_path: Path, dtype: str
) -> None:
    base, rem = golden / "wan" / "base", golden / "wan" / "rem_wan.pth"
    files = sorted((golden / "clip" / "frames").glob("*.png"))[:9]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])

    def masks(checkpoint: Path, memory: str) -> torch.Tensor:
        made = load_segmenter(
            base, checkpoint=checkpoint, size=(64, 64), window=9, device="cpu", dtype=dtype, memory=memory
        )
        made.backbone.prompts_per_pass = lambda latents: 1
        return made.segment(frames, PROMPTS[1:]).soft

    for form, file in {"rem": rem, **checkpoints(base, tmp_path)}.items():
        whole = masks(file, "whole")
        assert torch.equal(masks(file, "stream"), whole), form
        assert whole.std() > 0, form


def test_every_weight_is_read_once_a_shot_and_of_a_table_what_a_prompt_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streaming = segmenter(folder, memory="stream")
    reads: list[tuple[str, int]] = []
    read = StoredTensor.read
    monkeypatch.setattr(
        StoredTensor, "read", lambda entry: reads.append((entry.file.parent.name, entry.offset)) or read(entry)
    )
    streaming.segment(FRAMES, PROMPTS)
    of_transformer = [offset for part, offset in reads if part == "transformer"]
    stored = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert len(of_transformer) == len(set(of_transformer)) == len(stored)
    table = streaming.backbone.text_encoder.shared
    assert sum(parameter.numel() for parameter in table.parameters()) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_text_encoder_is_read_once_for_all_new_prompts(
    folder: Path, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("transformer", "vae", "tokenizer"):
        (tmp_path / part).symlink_to(folder / part)
    config = UMT5Config.from_pretrained(folder / "text_encoder", num_layers=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoder = UMT5EncoderModel(config)
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        encoder.save_pretrained(tmp_path / "text_encoder")
    prompts = ["fire", "the smoke", "a much longer sentence about the waves", "fire"]
    whole, alone, together = (
        segmenter(tmp_path, dtype=dtype, memory=memory) for memory in ("whole", "stream", "stream")
    )
    expected = torch.stack([whole.backbone.encode_text(prompt) for prompt in prompts])
    assert torch.equal(torch.stack([alone.backbone.encode_text(prompt) for prompt in prompts]), expected)
    assert not torch.equal(expected[0], expected[1])
    reads: list[str] = []
    read = Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, name, *rest: reads.append(name) or read(self, name, *rest))
    assert torch.equal(together.encode_prompts(prompts), expected)
    blocks = sorted(name for name, _ in encoder.named_parameters() if ".block." in name)
    assert sorted(reads) == blocks
    assert torch.equal(together.encode_prompts([*prompts, "ice"])[:-1], expected)  # of which one is new
    assert sorted(reads) == sorted(2 * blocks)
    together.encode_prompts(prompts[::-1])
    assert len(reads) == 2 * len(blocks)


def test_a_stage_has_the_weights_of_no_other_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = segmenter(folder, memory="stream").backbone
    held: dict[str, list[bool]] = {}

    def watch(stage: str, part: torch.nn.Module, method: str) -> None:
        call = getattr(part, method)

        def watched(*arguments: object, **named: object) -> object:
            of_rest = [p for name, p in backbone.transformer.named_parameters() if not name.startswith("blocks.")]
            held[stage] = [any(not p.is_meta for p in each) for each in (backbone.vae.parameters(), of_rest)]
            return call(*arguments, **named)

        monkeypatch.setattr(part, method, watched)

    watch("text", backbone.text_encoder.encoder.final_layer_norm, "forward")
    watch("predict", backbone.transformer.norm_out, "forward")
    watch("encode", backbone.vae.encoder.mid_block, "forward")
    watch("decode", backbone.vae.decoder.mid_block, "forward")
    backbone._one_pass = None
    one = Segmenter(backbone, SegmentSettings(size=SIZE, window=5, overlap=1))
    for prompt in PROMPTS:  # the second time what the first shot left has to go
        one.segment(FRAMES, [prompt])
        assert held == {
            "text": [False, False],
            "encode": [True, False],
            "predict": [False, True],
            "decode": [True, False],
        }


def test_no_more_than_two_blocks_are_in_memory(folder: Path) -> None:
    streaming = segmenter(folder, memory="stream")
    transformer = streaming.backbone.transformer
    held = []
    for block in transformer.blocks:
        block.register_forward_hook(
            lambda *_: held.append([any(not p.is_meta for p in other.parameters()) for other in transformer.blocks])
        )
    streaming.segment(FRAMES, PROMPTS)
    assert len(held) == BLOCKS * 3 * len(PROMPTS)  # three windows
    assert all(sum(blocks) == 1 for blocks in held)  # the other is not the module's yet
    assert all(parameter.is_meta for parameter in transformer.blocks.parameters())


def test_auto_keeps_what_memory_allows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks_in_memory(free: int) -> int:
        monkeypatch.setattr("rem_engine.backbones.stream.available_bytes", lambda device: free)
        made = load_backbone(folder, device="cpu", memory="auto")
        return sum(all(not p.is_meta for p in block.parameters()) for block in made.transformer.blocks)

    assert available_bytes(torch.device("cpu")) > 10**9
    assert blocks_in_memory(10**12) == BLOCKS
    block = sum(p.numel() * 4 for p in load_backbone(folder, device="cpu").transformer.blocks[0].parameters())
    counts = [blocks_in_memory(n * block) for n in (1, 30, 40)]
    assert counts[0] == 0 and 0 < counts[1] <= counts[2] <= BLOCKS


def test_a_run_of_resident_and_streamed_blocks_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rem_engine.backbones.wan.resident_blocks", lambda *_: 2)
    mixed = segmenter(folder, memory="auto")
    held = [all(not p.is_meta for p in block.parameters()) for block in mixed.backbone.transformer.blocks]
    assert held == [True, True, False, False, False]
    whole = segmenter(folder, memory="whole")
    for _ in range(2):
        assert torch.equal(mixed.segment(FRAMES, PROMPTS).soft, whole.segment(FRAMES, PROMPTS).soft)


def test_progress_goes_on_within_the_denoiser_and_ends_whole(folder: Path) -> None:
    log = ProgressLog()
    streaming = segmenter(folder, memory="stream")
    streaming.segment(FRAMES, PROMPTS, log)
    windows = len(streaming.windows(len(FRAMES)))
    assert log.counts["steps"][-1] == (windows * (1 + len(PROMPTS)) + BLOCKS,) * 2


def test_a_stopped_pass_is_begun_anew(folder: Path) -> None:
    streaming = segmenter(folder, memory="stream")
    expected = streaming.segment(FRAMES, PROMPTS).soft

    class Stop(ProgressLog):
        def update(self, unit: str, done: int, total: int) -> None:
            if done > total // 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streaming.segment(FRAMES, PROMPTS, Stop())
    assert torch.equal(streaming.segment(FRAMES, PROMPTS).soft, expected)


def test_threads_that_share_a_streamed_model_get_each_its_own_masks(folder: Path) -> None:
    streaming = segmenter(folder, memory="stream")
    shots = [np.roll(FRAMES, step, axis=2) for step in range(4)]
    expected = [streaming.segment(frames, PROMPTS).soft for frames in shots]
    with ThreadPoolExecutor(len(shots)) as threads:
        found = list(threads.map(lambda frames: streaming.segment(frames, PROMPTS).soft, shots))
    for soft, right in zip(found, expected, strict=True):
        assert torch.equal(soft, right)


def test_a_damaged_weight_is_named_when_its_block_comes(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    weights["blocks.3.ffn.net.2.weight"][0, 0] = float("nan")
    save_file(weights, tmp_path / "rem.safetensors")
    streaming = segmenter(folder, checkpoint=tmp_path / "rem.safetensors", memory="stream")
    with pytest.raises(
        ValueError, match=r"blocks\.3\.ffn\.net\.2\.weight of rem\.safetensors holds values that are not"
    ):
        streaming.segment(FRAMES, PROMPTS)


def test_what_cannot_be_streamed_is_told(folder: Path, modelscope_copy: Path) -> None:
    with pytest.raises(ValueError, match="The weights of ModelScope are not streamed: they fit whole"):
        load_backbone(modelscope_copy, memory="stream")
    with pytest.raises(ValueError, match="There is no memory 'some' here; use 'auto', 'whole' or 'stream'"):
        load_backbone(folder, memory="some")
