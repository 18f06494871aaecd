"""Deltas and LoRAs are read whoever named them, and change exactly the weights they name."""

from __future__ import annotations

import pytest
import torch

from rem_engine.checkpoints import LowRank, is_adapter, read_changes, to_diffusers
from rem_engine.checkpoints.adapter import stored_change
from rem_engine.checkpoints.architecture import text_to_video_shapes
from rem_engine.checkpoints.change import (
    Hadamard,
    Kronecker,
    apply_change,
    change_row,
    check_changes,
    check_strength,
)

# Every weight of Wan2.1 1.3B, under the original names.
WAN = list(
    text_to_video_shapes(
        {
            "patch_embedding.weight": torch.empty(1536, 16, 1, 2, 2, device="meta"),
            "blocks.0.ffn.0.weight": torch.empty(8960, 1536, device="meta"),
        }
    )
)
QUERY = "blocks.0.self_attn.q.weight"


def factors(rows: int = 6, columns: int = 4, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, rank, generator=generator), torch.randn(rank, columns, generator=generator)


@pytest.mark.parametrize("parts", ["lora_up lora_down", "lora_B lora_A", "lora_B.default lora_A.default"])
@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        ("blocks.0.self_attn.q", QUERY),
        ("diffusion_model.blocks.0.self_attn.q", QUERY),
        ("transformer.blocks.0.attn1.to_q", QUERY),
        ("base_model.model.blocks.0.attn1.to_q", QUERY),
        ("transformer.condition_embedder.text_embedder.linear_1", "text_embedding.0.weight"),
        ("model.diffusion_model.blocks.0.self_attn.q", QUERY),
        ("pipe.dit.blocks.0.self_attn.q", QUERY),
        ("module.blocks.0.self_attn.q", QUERY),
        ("base_model.model.transformer.blocks.0.attn1.to_q", QUERY),
        ("lora_unet_blocks_0_self_attn_q", QUERY),
        ("lora_unet__blocks_0_self_attn_q", QUERY),
        ("lora_unet__blocks_0_attn1_to_out_0", "blocks.0.self_attn.o.weight"),
        ("lycoris_blocks_0_self_attn_q", QUERY),
        ("lycoris_blocks_29_attn2_to_k", "blocks.29.cross_attn.k.weight"),
        ("lora_transformer_blocks_0_ffn_net_0_proj", "blocks.0.ffn.0.weight"),
        ("lora_unet_patch_embedding", "patch_embedding.weight"),
        ("lora_unet_condition_embedder_time_proj", "time_projection.1.weight"),
        ("lora_unet_blocks_12_ffn_2", "blocks.12.ffn.2.weight"),
        ("lora_unet_blocks_3_cross_attn_norm_q", "blocks.3.cross_attn.norm_q.weight"),
        ("lora_unet_time_embedding_0", "time_embedding.0.weight"),
        ("lora_unet_head_head", "head.head.weight"),
    ],
)
@pytest.mark.parametrize("known", [WAN, list(to_diffusers(dict.fromkeys(WAN)))], ids=["original", "diffusers"])
def test_loras_of_every_naming_are_read(layer: str, parts: str, weight: str, known: list[str]) -> None:
    up, down = factors()
    names = {f"{layer}.{part}.weight": half for part, half in zip(parts.split(), (up, down))}
    assert is_adapter(names)
    changes = read_changes(names, known)
    assert list(changes) == [weight]
    torch.testing.assert_close(changes[weight].full((6, 4)), up @ down)


def test_alpha_scales_by_the_rank() -> None:
    up, down = factors()
    layer = "diffusion_model.blocks.0.self_attn.q"
    change = read_changes(
        {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down, f"{layer}.alpha": torch.tensor(3.0)}, WAN
    )[QUERY]
    assert change.scale == 1.5
    torch.testing.assert_close(change.full((6, 4)), 1.5 * (up @ down))


def test_full_differences_are_read_to_weights_biases_and_bare_parameters() -> None:
    changes = read_changes(
        {
            "diffusion_model.blocks.0.norm3.diff": torch.ones(4),
            "diffusion_model.blocks.0.norm3.diff_b": torch.ones(4),
            "diffusion_model.blocks.0.modulation.diff": torch.ones(1, 6, 4),
            "diffusion_model.head.modulation.diff": torch.ones(1, 2, 4),
        },
        WAN,
    )
    assert set(changes) == {"blocks.0.norm3.weight", "blocks.0.norm3.bias", "blocks.0.modulation", "head.modulation"}


def test_what_is_stored_is_read_back() -> None:
    up, down = factors()
    given = {
        QUERY: LowRank(up, down, 0.25),
        "blocks.0.self_attn.q.bias": torch.ones(6),
        "blocks.1.modulation": torch.ones(1, 6, 4),
        "patch_embedding.weight": torch.ones(4, 16, 1, 2, 2),
    }
    stored = {name: t for weight, change in given.items() for name, t in stored_change(weight, change).items()}
    read = read_changes(stored, WAN)
    assert read.keys() == given.keys()
    torch.testing.assert_close(read[QUERY].full((6, 4)), 0.25 * up @ down)
    for name in given.keys() - {QUERY}:
        assert torch.equal(read[name], given[name])


def test_changes_are_laid_over_weights_in_proportion_to_strength() -> None:
    up, down = factors()
    weights = {QUERY: torch.full((6, 4), 2.0, dtype=torch.bfloat16), "head.modulation": torch.zeros(1, 2, 4)}
    changes = {QUERY: LowRank(up, down, 2.0), "head.modulation": torch.ones(1, 2, 4)}
    kept = {name: weight.clone() for name, weight in weights.items()}
    half = {name: apply_change(weights[name], change, 0.5) for name, change in changes.items()}
    assert half[QUERY].dtype == torch.bfloat16
    torch.testing.assert_close(half[QUERY], (2.0 + up @ down).bfloat16(), rtol=0, atol=0)
    torch.testing.assert_close(half["head.modulation"], torch.full((1, 2, 4), 0.5))
    none = {name: apply_change(weights[name], change, 0.0) for name, change in changes.items()}
    assert all(torch.equal(none[name], kept[name]) for name in kept)
    assert all(torch.equal(weights[name], kept[name]) for name in kept)  # left as they were


def test_a_convolutions_lora_takes_its_shape() -> None:
    up, down = torch.ones(4, 1, 1, 1, 1), torch.ones(1, 16, 1, 2, 2)
    names = {
        "diffusion_model.patch_embedding.lora_up.weight": up,
        "diffusion_model.patch_embedding.lora_down.weight": down,
    }
    weight, change = torch.zeros(4, 16, 1, 2, 2), read_changes(names, WAN)["patch_embedding.weight"]
    check_changes({"patch_embedding.weight": weight}, {"patch_embedding.weight": change})
    assert torch.equal(apply_change(weight, change), torch.ones(4, 16, 1, 2, 2))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_told(strength: float) -> None:
    with pytest.raises(ValueError, match="out of range; 0"):
        check_strength(strength)


def test_changes_that_do_not_fit_are_told() -> None:
    up, down = factors()
    weights = {QUERY: torch.zeros(6, 4)}
    with pytest.raises(ValueError, match=r"changes blocks\.9\.ffn\.0\.weight, which the model does not have"):
        check_changes(weights, {"blocks.9.ffn.0.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"another size of model: .* is \[6, 5\], and the model has \[6, 4\]"):
        check_changes(weights, {QUERY: LowRank(up, torch.zeros(2, 5), 1.0)})
    with pytest.raises(ValueError, match=r"another size of model: .* is \[4, 6\], and the model has \[6, 4\]"):
        check_changes(weights, {QUERY: torch.zeros(4, 6)})


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["lora_up.weight"], "has half a LoRA"),
        (["lora_up.weight", "lora_down.weight", "diff"], "both a low-rank and a full"),
        (["lora_up.weight", "lora_down.weight", "dora_scale"], r"dora_scale is of a kind .* not read \(DoRA\)"),
        (["oft_blocks"], r"oft_blocks is of a kind .* not read \(OFT\)"),
        (["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1"], r"not read \(LoHa with a Tucker"),
        (["hada_w1_a", "hada_w1_b", "hada_w2_a"], "part of a LoHa: hada_w2_b is missing"),
        (["lokr_w1", "lokr_w2_a"], "part of a LoKr: lokr_w2, or both lokr_w2_a and lokr_w2_b, is missing"),
        (["lokr_w1", "lokr_w2", "lora_up.weight", "lora_down.weight"], r"several kinds \(lokr, lora\)"),
    ],
)
def test_other_kinds_of_change_are_told(parts: list[str], sentence: str) -> None:
    stored = {f"blocks.0.ffn.0.{part}": torch.zeros(2, 2) for part in parts}
    assert is_adapter(stored)
    with pytest.raises(ValueError, match=sentence):
        read_changes(stored, WAN)


def test_loha_is_the_product_of_two_loras() -> None:
    (up, down), (other_up, other_down) = factors(), factors(rank=3)
    layer = "lycoris_blocks_0_self_attn_q"
    stored = {
        f"{layer}.hada_w1_a": up,
        f"{layer}.hada_w1_b": down,
        f"{layer}.hada_w2_a": other_up,
        f"{layer}.hada_w2_b": other_down,
        f"{layer}.alpha": torch.tensor(1.0),
    }
    change = read_changes(stored, WAN)[QUERY]
    assert isinstance(change, Hadamard)
    expected = torch.einsum("ir,rj,ik,kj->ij", up, down, other_up, other_down) / 2  # alpha / rank
    torch.testing.assert_close(change.full((6, 4)), expected)
    torch.testing.assert_close(change_row(change, 5), expected[5])
    torch.testing.assert_close(apply_change(torch.ones(6, 4), change, 0.5), 1 + expected / 2)
    check_changes({QUERY: torch.zeros(6, 4)}, {QUERY: change})


@pytest.mark.parametrize("factored", [True, False])
def test_lokr_is_a_kronecker_product(factored: bool) -> None:
    up, down = factors(rows=3, columns=2)
    one, layer = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), "lycoris_blocks_0_self_attn_q"
    other = {"lokr_w2_a": up, "lokr_w2_b": down} if factored else {"lokr_w2": up @ down}
    stored = {"lokr_w1": one, "alpha": torch.tensor(1.0), **other}
    change = read_changes({f"{layer}.{name}": tensor for name, tensor in stored.items()}, WAN)[QUERY]
    assert isinstance(change, Kronecker)
    # Element (a * 3 + c, b * 2 + d) is one[a, b] * other[c, d]; alpha counts where there is a rank, here 2.
    expected = torch.einsum("ab,cd->acbd", one, up @ down).reshape(6, 4) * (0.5 if factored else 1.0)
    torch.testing.assert_close(change.full((6, 4)), expected)
    torch.testing.assert_close(change_row(change, 4), expected[4])
    check_changes({QUERY: torch.zeros(6, 4)}, {QUERY: change})


def test_a_convolutions_lokr_takes_its_shape() -> None:
    one, other = torch.tensor([[2.0]]), torch.arange(256.0).reshape(4, 16, 1, 2, 2)
    change = read_changes({"patch_embedding.lokr_w1": one, "patch_embedding.lokr_w2": other}, WAN)[
        "patch_embedding.weight"
    ]
    check_changes({"patch_embedding.weight": other}, {"patch_embedding.weight": change})
    assert torch.equal(change.full(other.shape), 2 * other)
    assert torch.equal(change_row(change, 3), 2 * other[3].flatten())


def test_differences_of_norms_are_read() -> None:
    layer = "lycoris_blocks_0_norm3"
    changes = read_changes({f"{layer}.w_norm": torch.ones(4), f"{layer}.b_norm": torch.ones(4)}, WAN)
    assert set(changes) == {"blocks.0.norm3.weight", "blocks.0.norm3.bias"}


def test_layers_of_a_unet_are_known_by_its_own_names() -> None:
    up, down = factors()
    known = ["transformer_in.proj_in.weight", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"]
    for name in known:
        layer = name.removesuffix(".weight")
        for stored in (layer, f"unet.{layer}", f"lora_unet_{layer.replace('.', '_')}"):
            parts = {f"{stored}.lora_up.weight": up, f"{stored}.lora_down.weight": down}
            assert list(read_changes(parts, known)) == [name]


def test_names_that_mean_two_layers_or_none_are_left_as_they_are() -> None:
    up, down = factors()
    parts = {"lora_unet_a_b_c.lora_up.weight": up, "lora_unet_a_b_c.lora_down.weight": down}
    for known in (["a.b_c.weight", "a_b.c.weight"], ["else.weight"]):
        with pytest.raises(ValueError, match=r"changes lora_unet_a_b_c\.weight, which the model does not have"):
            check_changes(dict.fromkeys(known, up), read_changes(parts, known))


def test_two_changes_of_one_weight_are_told() -> None:
    up, down = factors()
    parts = {
        f"{prefix}blocks.0.self_attn.q.{name}.weight": half
        for prefix in ("model.", "diffusion_model.")
        for name, half in (("lora_up", up), ("lora_down", down))
    }
    with pytest.raises(ValueError, match=r"model\.blocks.* and diffusion_model\.blocks.* are both for blocks"):
        read_changes(parts, WAN)


def test_whole_models_are_no_adapters() -> None:
    assert not is_adapter({"blocks.0.modulation": 0, "blocks.0.self_attn.q.weight": 0, "decoder.head.0.gamma": 0})
