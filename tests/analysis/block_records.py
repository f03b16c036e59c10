"""Synthetic records of Hessian blocks: what `python -m hessian` leaves, without measuring one."""

import hashlib
import json


def write(folder, variant="lora", matrix="q_proj", layer=0, lam=0.5, ratio=1.0, seed=0, identity=(), **fields):
    """Leave a record as `python -m hessian` does; `identity` and `fields` override."""
    identity = {
        "model": "sha256:" + "a" * 64,
        "task": {"name": "arithmetic", "fingerprint": "sha256:" + "b" * 64},
        "max_length": 512,
        "rank": 8,
        "seed": seed,
        "samples": 40,
        "k": 1,
        "trained": None,
        "rule": {"tol": 1e-3, "max_iter": 100, "attention": "math"},
        "precision": None,
        "variant": {"name": variant, "rank": 8, "alpha": 8, "target_modules": ["q_proj"]},
        "name": f"model.layers.{layer}.self_attn.{matrix}" if layer is not None else f"joint {'c' * 16}",
    } | dict(identity)
    growth = [(n, lam * (1 + 1 / n)) for n in (8, 16, 32, 40)]
    record = {
        "schema_version": 1,
        "id": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
        "kind": "hessian_block",
        "model": "tiny",
        "task": "arithmetic",
        "variant": variant,
        "layer": layer,
        "layers": 4,
        "matrix": matrix,
        "rank": identity["rank"],
        "seed": seed,
        "lambda_max": lam,
        "eigenvalues": [lam],
        "lambda_min": -0.6 * abs(lam),
        "residual": 1e-5,
        "converged": True,
        "data": {"value": lam, "stderr": 0.1 * abs(lam), "low": 0.8 * lam, "high": 1.2 * lam},
        "ratio": ratio and {"value": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio, "log_stderr": 0.05},
        "growth": [{"sequences": n, "value": v, "low": v - 0.3, "high": v + 0.3} for n, v in growth],
        "sequences": 40,
        "path": "LeafHessian",
        "checkpoint": None,
        "identity": identity,
        "finished": "2026-03-01T10:00:00+00:00",
    } | fields
    path = folder / f"{record['id']}.json"
    path.write_text(json.dumps(record))
    return path
