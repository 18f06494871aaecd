"""The nodes inside each ComfyUI found, without a server: schemas, values against the engine's, and wrong input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of

from rem_engine.matte import MatteSettings
from rem_engine.matte.settings import NEUTRAL
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.setting import settings_of
from rem_engine.shapes import ShapeSettings

NODES = {
    "LoadREM", "EncodeText", "PromptLayer", "SegmentVideo", "MaskToAlpha", "SampleShot", "SaveMatte", "SegmentShot",
    "PaintKeyMask", "CorrectMask",
}  # fmt: skip

# Values of a saved graph go by the order of its widgets: these stay as they are, and new ones follow them.
SEGMENT_VIDEO_WIDGETS = [
    "prompt", "threshold", "protocol", "height", "width", "window", "overlap", "keep_aspect", "seed",
    "combine", "close_up", "decoder",
]  # fmt: skip
MASK_TO_ALPHA_WIDGETS = [
    "black", "white", "gamma", "grow", "feather", "invert", "colour",
    "threshold", "knee", "fill_holes", "remove_islands", "refine", "refine_detail", "smooth", "decontaminate",
]  # fmt: skip
SEGMENT_SHOT_MATTE_WIDGETS = [
    "black", "white", "grow", "feather", "refine", "smooth", "fill_holes", "remove_islands", "decontaminate",
    "gamma", "threshold", "knee", "refine_detail", "invert",
]  # fmt: skip


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/in_host.py found in one ComfyUI."""
    return report_of("in_host.py", host, tmp_path_factory.mktemp("nodes"))


def test_the_pack_has_its_nodes_each_input_explained(report: dict[str, Any]) -> None:
    schemas = report["schemas"]
    assert set(schemas) == NODES
    for name, schema in schemas.items():
        assert schema["category"] == "ReferEverything", name
        assert not schema["without_tooltip"], (name, schema["without_tooltip"])
        assert all(schema["output_tooltips"]), name
        assert not schema["controlled"], name  # a run repeated is the same run


def test_sockets_are_the_hosts_own_types(report: dict[str, Any]) -> None:
    schemas = report["schemas"]
    assert schemas["LoadREM"]["outputs"] == ["MODEL", "CLIP", "VAE"]
    assert schemas["LoadREM"]["optional"] == ["model", "clip", "vae", "strength"]
    assert schemas["EncodeText"]["outputs"] == ["CONDITIONING"]
    layers = ["LAYERS"] if "LAYERS" in schemas["MaskToAlpha"]["outputs"] else []  # where the host knows it
    assert schemas["SegmentVideo"]["outputs"] == ["MASK", "MASK", "IMAGE", "STRING", "IMAGE", *layers]
    assert schemas["MaskToAlpha"]["outputs"] == ["IMAGE", "MASK", "MASK", "MASK", *layers]
    assert schemas["SampleShot"]["outputs"] == ["IMAGE", "FLOAT", "VIDEO"]
    assert schemas["SaveMatte"]["outputs"] == schemas["SegmentShot"]["outputs"] == ["STRING", "STRING"]
    assert schemas["SegmentShot"]["types"]["video"] == "VIDEO"
    types = schemas["SegmentVideo"]["types"]
    assert [types[name] for name in ("model", "vae", "conditioning", "image")] == [
        "MODEL",
        "VAE",
        "CONDITIONING",
        "IMAGE,VIDEO",
    ]
    advanced = ["height", "width", "window", "overlap", "keep_aspect", "seed", "close_up", "decoder", "keep_windows"]
    assert schemas["SegmentVideo"]["advanced"] == advanced


def test_new_inputs_come_last_and_may_be_missing(report: dict[str, Any]) -> None:
    schemas = report["schemas"]
    assert schemas["SegmentVideo"]["widgets"][: len(SEGMENT_VIDEO_WIDGETS)] == SEGMENT_VIDEO_WIDGETS
    known = ["keep_aspect", "seed", "decode_vae", "combine", "close_up", "decoder"]
    assert schemas["SegmentVideo"]["optional"][: len(known)] == known
    assert set(schemas["SegmentVideo"]["widgets"]) - set(SEGMENT_VIDEO_WIDGETS) <= {
        *schemas["SegmentVideo"]["optional"]
    }
    alpha, shot = schemas["MaskToAlpha"], schemas["SegmentShot"]
    assert alpha["widgets"][: len(MASK_TO_ALPHA_WIDGETS)] == MASK_TO_ALPHA_WIDGETS
    assert [name for name in alpha["optional"] if name in alpha["widgets"]] == alpha["widgets"][7:]
    of_matte = [name for name in shot["widgets"] if name in settings_of(MatteSettings)]
    assert of_matte[: len(SEGMENT_SHOT_MATTE_WIDGETS)] == SEGMENT_SHOT_MATTE_WIDGETS
    newest = of_matte[len(SEGMENT_SHOT_MATTE_WIDGETS) :]
    before = SEGMENT_SHOT_MATTE_WIDGETS[SEGMENT_SHOT_MATTE_WIDGETS.index("fill_holes") :]
    later = [*before, *settings_of(PlateSettings), "sound", "renumber", *newest, "exr_form", "decoder"]
    place = shot["widgets"].index(later[0])
    assert shot["widgets"][place : place + len(later)] == later  # behind all that graphs had before them
    assert set(later) <= set(shot["optional"])
    common = {name for name, setting in settings_of(PlateSettings).items() if not setting.rare}
    assert set(later) - common <= set(shot["advanced"])


@pytest.mark.parametrize("node", ["MaskToAlpha", "SegmentShot"])
def test_every_matte_setting_has_a_widget(report: dict[str, Any], node: str) -> None:
    assert set(settings_of(MatteSettings)) <= set(report["schemas"][node]["widgets"])


def test_the_hosts_classes_compute_what_diffusers_computes(report: dict[str, Any]) -> None:
    backbone = report["backbone"]
    assert backbone["encode"] < 1e-4
    assert backbone["predict"] < 2e-4
    assert backbone["batch"] < 1e-4
    assert backbone["decode"] < 1e-4
    assert backbone["defaults_equal"] and backbone["wan_defaults_equal"]


def test_the_hosts_model_keeps_the_contract_of_a_backbone(report: dict[str, Any]) -> None:
    assert report["backbone"]["broken"] == []


def test_the_model_in_the_graph_is_left_as_it_was(report: dict[str, Any]) -> None:
    assert not report["backbone"]["patched_original"]
    assert report["checkpoint"]["base_unchanged"] == 0.0


def test_prompts_become_77_rows_each_as_in_the_engine(report: dict[str, Any]) -> None:
    text = report["text"]
    assert text["entries"] == 2
    assert text["shapes"] == [[1, 77, 4096], [1, 77, 4096]]
    assert max(text["difference"]) < 1e-4  # "(red:1.5)" read as a weight would differ by far more
    assert text["long_difference"] < 1e-4
    assert text["cropped"] < 1e-4
    assert text["labels"] == ["the (red:1.5) square", "smoke"]
    assert text["foreign_label"] == ["prompt 1"]


def test_named_and_negative_prompts_survive_being_combined(report: dict[str, Any]) -> None:
    layers = report["text"]["layers"]
    assert layers["is_list"]
    assert layers["entries"] == [3, 2]  # each distinct text once
    assert layers["found"] == [
        ["haze", "smoke", ["steam"]],
        ["fire", "fire", []],
        ["wet", "steam", []],
        ["prompt_4", "prompt 4", []],
        ["haze_2", "smoke", ["dust"]],
    ]
    assert layers["rows"] < 1e-4


def test_entries_left_over_from_a_set_of_layers_are_layers_themselves(report: dict[str, Any]) -> None:
    assert report["text"]["layers"]["part"] == [["steam", "steam"], ["fire", "fire"]]


def test_one_text_of_two_text_encoders_stays_two(report: dict[str, Any]) -> None:
    assert report["text"]["layers"]["other_encoder"] == ["smoke (2)", ["dust"]]


def test_words_past_77_tokens_are_named_on_the_node(report: dict[str, Any]) -> None:
    (shown,) = report["text"]["shown"]
    assert "77 tokens" in shown and "table" in shown and len(shown) < 200


def test_masks_equal_the_engines_at_the_shots_own_size(report: dict[str, Any]) -> None:
    segment = report["segment"]
    assert segment["shapes"] == [[7, 40, 50], [7, 40, 50], [7, 40, 50, 3]]
    assert segment["four_channels"] == segment["shapes"]
    assert segment["one_frame"] == [[1, 40, 50], [1, 40, 50], [1, 40, 50, 3]]
    assert segment["union"] < 1e-3
    assert segment["second"] < 1e-3
    assert segment["binary"]
    assert 0.0 <= segment["overlay_range"][0] <= segment["overlay_range"][1] <= 1.0


def test_all_layers_can_be_handed_out_at_once_with_their_names(report: dict[str, Any]) -> None:
    segment = report["segment"]
    assert segment["names"] == ["the_red_1_5_square\nsmoke", "a\nb"]
    assert segment["each"] < 1e-3


def test_a_negative_prompt_is_subtracted_softly(report: dict[str, Any]) -> None:
    assert report["segment"]["without"] < 1e-3


def test_union_is_one_mask_of_all(report: dict[str, Any]) -> None:
    assert report["segment"]["one_of_all"] == 0.0


def test_exclusive_layers_share_no_pixel_and_the_id_map_says_whose_it_is(report: dict[str, Any]) -> None:
    exclusive = report["segment"]["exclusive"]
    assert exclusive["shape"] == [7, 40, 50, 3] and exclusive["grey"]
    assert exclusive["ids"] == [0, 1, 2]
    assert exclusive["sure"] > 0.9 and exclusive["wrong_ids"] == 0
    assert exclusive["shared"] == 0
    assert exclusive["kept"] < 1e-3


def test_a_preview_is_one_picture_however_long_the_shot(report: dict[str, Any]) -> None:
    assert report["segment"]["preview_images"] == 1


def test_alpha_is_what_the_settings_say(report: dict[str, Any]) -> None:
    alpha = report["alpha"]
    assert alpha["shapes"] == [[3, 20, 30, 4], [3, 20, 30]]
    assert alpha["unchanged"]
    assert alpha["premultiplied"] < 1e-6
    assert alpha["inverted"] == 0.0
    assert alpha["grown_area"] == 4 * 10 + 2 * 4 + 2 * 10  # a disk of radius 1 adds one pixel on each side, no corners
    assert alpha["one_mask_for_all"]


def test_layers_keep_their_places(report: dict[str, Any]) -> None:
    layers = report["alpha"]["layers"]
    assert layers["shapes"] == [[6, 20, 30, 4], [6, 20, 30]]
    assert layers["unchanged"]


def test_the_matte_stage_is_behind_the_widgets(report: dict[str, Any]) -> None:
    alpha = report["alpha"]
    assert alpha["threshold"] == 0.0
    assert alpha["regions"] == 0.0
    # Still pictures: each frame is the mean of itself and its neighbours.
    assert alpha["smoothed"] == pytest.approx([0.8, 0.6, 0.8], abs=0.02)
    spill, clean = alpha["spill"]
    assert spill == pytest.approx(0.45, abs=0.03)
    assert clean < 0.25  # the red's own green is 0.1, the ground's 0.8
    blurred, refined = alpha["refined"]
    assert refined < 0.5 * blurred


def test_a_file_of_whole_weights_takes_effect_and_keeps_loras(report: dict[str, Any]) -> None:
    checkpoint = report["checkpoint"]
    assert checkpoint["passed_through"]
    assert checkpoint["alone"] == pytest.approx(1.0, abs=1e-3)  # the file's bias is higher by 1
    assert checkpoint["size_kept"]
    assert checkpoint["over_patched"] == pytest.approx(2.0, abs=1e-3)  # and the patch adds 0.5 x 2


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("no file", "FileNotFoundError", "'absent.safetensors'"),
        ("missing weights", "ValueError", "missing: blocks.0.ffn.2"),
        ("other weights", "ValueError", "Wan2.1 text-to-video transformer is expected"),
        ("no clip", "ValueError", "without a text encoder"),
        ("no vae", "ValueError", "without a VAE"),
        ("empty prompt", "ValueError", "prompt is empty"),
        ("nothing left", "ValueError", "line 2"),
        ("name twice", "ValueError", "name of its own"),
        ("no such mode", "ValueError", "separate, union, exclusive"),
        ("no second union", "ValueError", "joined into 1"),
        ("no frames", "ValueError", "no frames"),
        ("small frames", "ValueError", "32x8"),
        ("no such prompt", "ValueError", "Prompt 3 was asked for, and the CONDITIONING holds 1"),
        ("other text encoder", "ValueError", "768 wide"),
        ("mask size", "ValueError", "32x32 pixels and the mask 16x32"),
        ("mask count", "ValueError", "2 images and 3 masks"),
        ("levels", "ValueError", "white level"),
    ],
)
def test_wrong_input_gets_one_sentence(report: dict[str, Any], case: str, kind: str, words: str) -> None:
    answer = report["sentences"][case]
    assert answer.startswith(kind) and words in answer
    assert "\n" not in answer and answer.endswith(".")


def test_every_widget_of_a_saved_graph_arrives_at_its_own_setting(report: dict[str, Any]) -> None:
    saved = report["saved"]
    # A setting added since has its value at first.
    assert saved["MaskToAlpha"]["matte_settings"] == vars(NEUTRAL) | {
        "black": 0.1, "white": 0.8, "gamma": 1.2, "threshold": 0.4, "knee": 0.2, "fill_holes": 11,
        "remove_islands": 12, "grow": 2, "feather": 2.5, "refine": 13, "refine_detail": 0.05, "smooth": 1,
        "decontaminate": True, "invert": True,
    }  # fmt: skip
    assert saved["SegmentShot"]["matte_settings"] == vars(MatteSettings()) | {
        "black": 0.05, "white": 0.9, "gamma": 1.0, "threshold": None, "knee": 0.1, "fill_holes": 40,
        "remove_islands": 30, "grow": -3, "feather": 1.5, "refine": 7, "refine_detail": 0.03, "smooth": 2,
        "decontaminate": True, "invert": False,
    }  # fmt: skip
    assert saved["SaveMatte"]["delivery_settings"] == {
        "kinds": ["webm", "png16"], "start": 55, "padding": 7, "premultiplied": True,
        "exr_type": "float", "exr_compression": "dwaa", "exr_linear": False, "sound": False, "exr_form": "auto",
        "shapes": vars(ShapeSettings()),
    }  # fmt: skip
    assert saved["SegmentShot"]["delivery_settings"] == {
        "kinds": ["prores", "exr"], "start": 86400, "padding": 6, "premultiplied": True,
        "exr_type": "float", "exr_compression": "piz", "exr_linear": False, "sound": False, "exr_form": "auto",
        "shapes": vars(ShapeSettings()),
    }  # fmt: skip
    assert saved["SegmentVideo"]["segment_settings"] == {
        "protocol": "shot", "size": [64, 96], "window": 9, "overlap": 3, "cuts": "auto",
        "keep_aspect": True, "seed": 77, "decoder": "vae",
    }  # fmt: skip
    assert saved["SegmentShot"]["segment_settings"] == {
        "protocol": "shot", "size": [80, 112], "window": 5, "overlap": 1, "cuts": "auto",
        "keep_aspect": True, "seed": 78, "decoder": "vae",
    }  # fmt: skip
