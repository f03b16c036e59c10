"""Singular triples of a matrix in float32, kept on disk so that a sweep computes each decomposition once."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lorabench.files import cache_dir, digest, replaced

Triples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""U [m, k], σ [k] descending and Vᵀ [k, n]."""

# From 256 x 256 on, reading a file (1 ms) and hashing (1 GB/s) beat even the randomised decomposition on one CPU core.
MIN_ELEMENTS = 2**16


def largest(matrix: torch.Tensor, rank: int) -> Triples:
    """The ``rank`` leading triples by a full SVD."""
    u, sigma, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank].contiguous(), sigma[:rank].contiguous(), vt[:rank].contiguous()


def smallest(matrix: torch.Tensor, rank: int) -> Triples:
    """The ``rank`` last triples by a full SVD; no randomised method finds these."""
    u, sigma, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, -rank:].contiguous(), sigma[-rank:].contiguous(), vt[-rank:].contiguous()


def randomized(matrix: torch.Tensor, rank: int, iterations: int) -> Triples:
    """The ``rank`` leading triples by subspace iteration on ``rank`` random vectors (Halko et al. 2011, algorithm 4.4).

    The random vectors are always the same, so the result is a function of the matrix alone: all seeds share it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u, sigma, v = torch.svd_lowrank(matrix, q=rank, niter=iterations)
    return u.contiguous(), sigma, v.T.contiguous()


def balanced(triples: Triples, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors A = √(Σ/s)·Vᵀ [k, n] and B = U·√(Σ/s) [m, k], so that s·BA = UΣVᵀ."""
    u, sigma, vt = triples
    root = (sigma / scale).sqrt()
    return root[:, None] * vt, u * root


def from_cache(decompose: Callable[..., Triples], matrix: torch.Tensor, **settings: Any) -> Triples:
    """``decompose(matrix, **settings)`` from the cache, bit by bit what computing it anew would give.

    The key is the matrix's content with everything else that decides the bits: function, settings, torch and device. A file
    appears whole or not at all; of two processes that compute the same one, the last to finish writes the same bits again.

    Args:
        decompose: one of the functions above.
        matrix: [m, n], float32.
        settings: the further arguments of ``decompose``.
    """
    if matrix.numel() < MIN_ELEMENTS:
        return decompose(matrix, **settings)
    file = cache_dir("svd") / f"{_key(decompose, matrix, settings)}.safetensors"
    try:
        stored = load_file(file, device=str(matrix.device))
        return stored["U"], stored["S"], stored["Vt"]
    except (FileNotFoundError, SafetensorError):  # a file that cannot be read is made again
        triples = decompose(matrix, **settings)
        with replaced(file) as scratch:
            save_file(dict(zip(("U", "S", "Vt"), triples, strict=True)), scratch)
        return triples


def _key(decompose: Callable[..., Triples], matrix: torch.Tensor, settings: dict[str, Any]) -> str:
    content = matrix.detach().cpu().reshape(-1).numpy().data
    device = torch.cuda.get_device_name(matrix.device) if matrix.is_cuda else matrix.device.type
    return digest(
        {
            "matrix": hashlib.sha256(content).hexdigest(),
            "shape": list(matrix.shape),
            "method": decompose.__name__,
            "settings": settings,
            "torch": torch.__version__,
            "device": device,
        }
    )
