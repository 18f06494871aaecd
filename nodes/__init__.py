"""The nodes, and what the host asks of a pack; this package alone imports ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .correct_mask import CorrectMask
from .encode_text import EncodeText
from .host.asked_graph import watch_requests
from .host.schema import register_model_folder
from .load_rem import LoadREM
from .mask_to_alpha import MaskToAlpha
from .paint_key_mask import PaintKeyMask
from .prompt_layer import PromptLayer
from .sample_shot import SampleShot
from .save_matte import SaveMatte
from .segment_shot import SegmentShot
from .segment_video import SegmentVideo


class ReferEverything(ComfyExtension):
    """The pack as the host sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadREM,
            EncodeText,
            PromptLayer,
            SegmentVideo,
            SegmentShot,
            PaintKeyMask,
            CorrectMask,
            MaskToAlpha,
            SaveMatte,
            SampleShot,
        ]


async def comfy_entrypoint() -> ReferEverything:
    # Here and not in ReferEverything.on_load, which ComfyUI 0.8.0 never calls.
    register_model_folder()
    watch_requests()
    return ReferEverything()
