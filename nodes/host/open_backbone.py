"""The engine's backbone for whatever MODEL a node was given."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from .backbone import HostBackbone
from .modelscope import ModelScopeHostBackbone, ModelScopeModel


def host_backbone(
    model: ModelPatcher, vae: VAE, decode_vae: VAE | None = None, on_disk: bool = False
) -> HostBackbone | ModelScopeHostBackbone:
    """A MODEL and VAE of the host as the engine's `Backbone`.

    Args:
        model: with REM weights, from LoadREM; of Wan2.1 or ModelScope.
        vae: its VAE.
        decode_vae: another VAE of its kind for decoding. None: `vae` decodes too.
        on_disk: whether encoded windows are kept on disk.

    Raises:
        ValueError: a MODEL or VAE of another kind.
    """
    backbone = ModelScopeHostBackbone if isinstance(model.model, ModelScopeModel) else HostBackbone
    return backbone(model, vae, decode_vae, on_disk)
