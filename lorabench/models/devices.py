"""Which device and which precision a cell runs in."""

import math
import os
from collections.abc import Mapping

import torch

from lorabench.errors import UserError

WORKSPACES = (":4096:8", ":16:8")
"""Values of CUBLAS_WORKSPACE_CONFIG with which cuBLAS repeats its bits (its documentation, "Results reproducibility")."""


def resolve_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one, else the CPU; numbers count the GPUs that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        UserError: it is none that torch can use here, or the environment forbids cuBLAS to repeat its bits there.
    """
    if device.split(":")[0] not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device} is not supported; use auto, cpu, cuda or cuda:N")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device} is not a device; use auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        check_gpu(resolved, count, os.environ)
    return resolved


def check_gpu(device: torch.device, count: int, environment: Mapping[str, str]) -> None:
    """Raise UserError unless it is one of the ``count`` GPUs that torch sees, and cuBLAS is let to repeat its bits."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    left = "" if visible is None else f" (CUDA_VISIBLE_DEVICES='{visible}')"
    if count == 0:
        raise UserError(f"device={device}: this machine has no CUDA GPU that torch can use{left}; use device=cpu")
    if (device.index or 0) >= count:
        seen = "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 … cuda:{count - 1}"
        raise UserError(f"device={device}: torch sees {seen}{left}; numbers count those")
    if (workspace := environment.get("CUBLAS_WORKSPACE_CONFIG")) not in WORKSPACES:
        raise UserError(
            f"CUBLAS_WORKSPACE_CONFIG={workspace} lets no GPU repeat its bits; unset it, or use one of {', '.join(WORKSPACES)}"
        )


def visible_alone(device: torch.device, visible: str | None) -> str:
    """CUDA_VISIBLE_DEVICES of a child process that is to see this device alone; "" for the CPU.

    Args:
        device: one that ``resolve_device`` gave.
        visible: the variable here: numbers, UUIDs (``GPU-…``) or names of parts of a GPU (``MIG-…``); None where it is unset.

    >>> visible_alone(torch.device("cuda:1"), "3,GPU-5e"), visible_alone(torch.device("cuda"), None)
    ('GPU-5e', '0')
    """
    if device.type == "cpu":
        return ""
    index = device.index or 0
    return str(index) if visible is None else visible.split(",")[index].strip()


def check_room(free: int, total: int, share: float, key: str) -> None:
    """Raise UserError where a GPU has less free than its ``share``, which vLLM takes as a whole or does not start.

    Args:
        free: bytes, while this process holds the base.
        total: bytes.
        share: of the total.
        key: of the share.
    """
    if free < share * total:
        raise UserError(
            f"{key}={share:g} asks for {share * total / 2**30:.1f} of the GPU's {total / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} are free beside the base and other processes; use at most "
            f"{math.floor(100 * free / total) / 100:g}, or another GPU for them"
        )


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 where the hardware multiplies it (GPUs, CPUs with AMX or AVX512-BF16), else float32."""
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
