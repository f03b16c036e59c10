"""Which device and which precision a cell runs in."""

import torch

from lorabench.errors import UserError


def resolve_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one, else the CPU."""
    if device.split(":")[0] not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device} is not supported; use auto, cpu, cuda or cuda:N")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device} is not a device; use auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={device}: this machine has no CUDA GPU that torch can use; use device=cpu")
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 where the hardware multiplies it (GPUs, CPUs with AMX or AVX512-BF16), else float32."""
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
