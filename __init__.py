"""ReferEverything for ComfyUI: type what you want matted, get a matte over the whole shot."""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """The pack's extension, for the host; imported here, since tools import the repository's root without one."""
    from .nodes import comfy_entrypoint as entrypoint

    return await entrypoint()
