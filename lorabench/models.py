"""Base models: where the weights come from, what identifies them, and loading them once for many cells."""

import gc
import hashlib
import importlib.util
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorabench import attention
from lorabench.cache import file_hash
from lorabench.errors import UserError
from lorabench.schema import ModelConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HUB_FILES = ["*.json", "*.safetensors", "tokenizer*", "*.model"]
TOKENIZER_OF_RANDOM = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint")
LENGTH_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")  # in a model's config; those that lm-eval's HFLM asks for
DEFAULT_LENGTH = 2048  # lm-eval's own, where neither the model nor its tokenizer says


@dataclass
class Base:
    """A loaded base model. Cells change its weights in place; ``restore`` brings the pretrained bits back."""

    spec: ModelConfig
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    device: "torch.device"
    pristine: dict[str, "torch.Tensor"] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """See the function of this name."""
        return max_length(self.model.config, self.tokenizer)

    def remember(self, names: list[str]) -> None:
        """Keep a copy in main memory of these weights, taken before any cell touches them."""
        parameters = dict(self.model.named_parameters())
        for name in names:
            if name not in self.pristine:
                self.pristine[name] = parameters[name].detach().to("cpu", copy=True)

    def restore(self) -> None:
        """Copy every remembered weight back."""
        self.assign(self.pristine)

    def assign(self, weights: "dict[str, torch.Tensor]") -> None:
        """Copy ``weights`` (names as in ``model.named_parameters``) into the model."""
        import torch

        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)


def max_length(config: Any, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Tokens that a model takes: what its config states, or else its tokenizer, or else lm-eval's default."""
    of_text = config.get_text_config()
    stated = [getattr(of_text, key) for key in LENGTH_KEYS if hasattr(of_text, key)]
    of_tokenizer = tokenizer.model_max_length
    return int(stated[0] if stated else of_tokenizer if of_tokenizer < 1e9 else DEFAULT_LENGTH)


def locate(spec: ModelConfig, download: bool = True) -> Path:
    """Return a folder with the plain checkpoint, or a GGUF file.

    Raises:
        UserError: the weights are not there; the line names the ways to provide them.
    """
    if spec.path:
        folder = Path(spec.path).expanduser()
        if not (folder / "config.json").is_file():
            raise UserError(f"model.path={spec.path}: no config.json in that folder; give the folder of a saved checkpoint")
        return folder
    if spec.package and spec.file:
        found = importlib.util.find_spec(spec.package)
        roots = [Path(root) for root in (found.submodule_search_locations or [])] if found else []
        ways = "run `make install-smollm2`, or give model.path=DIR, or model.weights=random"
        if not roots:
            raise UserError(
                f"model={spec.name}: the package '{spec.package}' that carries its weights is not installed; {ways}"
            )
        if spec.file.endswith(".gguf") and importlib.util.find_spec("gguf") is None:
            raise UserError(f"model={spec.name}: the package 'gguf', which reads its weights, is not installed; {ways}")
        for root in roots:
            if (root / spec.file).exists():
                return root / spec.file
        raise UserError(f"model={spec.name}: the package '{spec.package}' does not hold {spec.file}; {ways}")
    if not spec.hub:
        raise UserError(f"model={spec.name} names no source; set model.hub and model.revision, or model.path=DIR")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its retries would bury the one line below
    try:
        return Path(
            snapshot_download(spec.hub, revision=spec.revision, allow_patterns=HUB_FILES, local_files_only=not download)
        )
    except Exception as error:  # the hub client raises many kinds: offline, gated, unknown, connection
        reason = type(error).__name__
        raise UserError(
            f"model={spec.name}: cannot get {spec.hub} at revision {str(spec.revision)[:8]} ({reason}); "
            f"go online (HF_HUB_OFFLINE unset) and log in (`hf auth login`, gated models need a licence click), "
            f"or give model.path=DIR, or model.weights=random"
        ) from error


def fingerprint(spec: ModelConfig) -> str:
    """What the weights are: ``random:hash``, ``hub@revision``, or the SHA-256 of the local files."""
    if spec.weights == "random":
        shape = json.dumps(dict(spec.architecture), sort_keys=True)
        return "random:" + hashlib.sha256(shape.encode()).hexdigest()
    if spec.hub and not spec.path:
        return f"{spec.hub}@{spec.revision}"
    source = locate(spec)
    if source.is_file():
        return "sha256:" + file_hash(source)
    weights = sorted(source.glob("*.safetensors"))
    if not weights:
        raise UserError(f"model={spec.name}: no *.safetensors in {source}; convert the checkpoint with save_pretrained")
    files = [
        *weights,
        *(file for name in ("config.json", "tokenizer.json", "tokenizer.model") if (file := source / name).is_file()),
    ]
    return "sha256:" + hashlib.sha256(" ".join(f"{file.name} {file_hash(file)}" for file in files).encode()).hexdigest()


def check(spec: ModelConfig) -> None:
    """Raise UserError unless the settings of a model make sense."""
    for key, known in (("weights", ("pretrained", "random")), ("dtype", ("auto", "float32", "bfloat16"))):
        if getattr(spec, key) not in known:
            raise UserError(f"model.{key}={getattr(spec, key)} is unknown; available: {', '.join(known)}")
    if spec.hub and not spec.revision and not spec.path and spec.weights != "random":
        raise UserError(
            f"model={spec.name}: model.hub={spec.hub} needs model.revision=COMMIT, or the record could not say what ran"
        )
    if spec.weights == "random" and spec.architecture.get("vocab_size", 512) < 512:
        raise UserError("model.architecture.vocab_size must be at least 512, the size of the tokenizer that random weights use")
    if spec.weights == "random" and not spec.architecture:
        raise UserError(f"model={spec.name}: model.weights=random needs the shape; fill `architecture` in its yaml")


def architecture_config(spec: ModelConfig) -> Any:
    """The transformers config of a model, from its yaml or else from its checkpoint."""
    from transformers import AutoConfig

    if spec.architecture and (spec.weights == "random" or not spec.path):
        return AutoConfig.for_model(**spec.architecture)
    return AutoConfig.from_pretrained(locate(spec))


@lru_cache(maxsize=16)
def _shapes(key: str, spec_json: str) -> dict[str, tuple[int, int]]:
    import torch
    from transformers import AutoModelForCausalLM

    spec = ModelConfig(**json.loads(spec_json))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture_config(spec))
    head = model.get_output_embeddings()  # often tied to the input embeddings, so no layer to adapt
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    return {name: (m.out_features, m.in_features) for name, m in linear.items()}


def linear_shapes(spec: ModelConfig) -> dict[str, tuple[int, int]]:
    """Shapes (out, in) of all linear layers but the output head by module name, without loading any weight."""
    return _shapes(spec.path or spec.name, json.dumps(_plain(spec)))


def _plain(spec: ModelConfig) -> dict[str, Any]:
    return {**vars(spec), "architecture": dict(spec.architecture)}


def resolve_device(device: str) -> "torch.device":
    """``auto`` is the first GPU where there is one, else the CPU."""
    import torch

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


def resolve_dtype(dtype: str, device: "torch.device") -> "torch.dtype":
    """``auto`` is bfloat16 where the hardware multiplies it (GPUs, CPUs with AMX or AVX512-BF16), else float32."""
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


_LOADED: dict[str, Base] = {}


def _key(spec: ModelConfig, device: "torch.device") -> str:
    return f"{fingerprint(spec)} {spec.path} {device} {resolve_dtype(spec.dtype, device)}"


def is_loaded(spec: ModelConfig, device: "torch.device") -> bool:
    """Whether ``load`` would return the model that is loaded already."""
    return _key(spec, device) in _LOADED


def load(spec: ModelConfig, device: "torch.device") -> Base:
    """Load a base model, frozen and in evaluation mode; the last one stays loaded for the next cell of the process."""
    key = _key(spec, device)
    if key not in _LOADED:
        forget()
        gc.collect()  # the first load in a process leaves a cycle of frames, which would keep its model beside the new one
        _LOADED[key] = read(spec, device, resolve_dtype(spec.dtype, device))
    return _LOADED[key]


def forget() -> None:
    """Drop the loaded model: after a failure in the middle of a change, nothing of it can be trusted."""
    _LOADED.clear()


def read(spec: ModelConfig, device: "torch.device", dtype: "torch.dtype") -> Base:
    """Load a base model beside the one that ``load`` keeps."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # one line a sweep tells more than a bar a file
    kernel = attention.register() if device.type == "cpu" else "sdpa"
    if spec.weights == "random":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(architecture_config(spec), dtype=dtype, attn_implementation=kernel)
        tokenizer = AutoTokenizer.from_pretrained(locate(TOKENIZER_OF_RANDOM))
    else:
        source = locate(spec)
        if source.is_file():
            from lorabench.gguf import converted

            source = converted(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation=kernel)
        tokenizer = AutoTokenizer.from_pretrained(source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if dtype == torch.bfloat16:  # as in PiSSA's training code, which paper 1 follows
        for name, module in model.named_modules():
            if name.endswith("norm") or name.endswith("gate_proj"):
                module.float()
    model.to(device).eval().requires_grad_(False)
    model.config.use_cache = True
    return Base(spec, model, tokenizer, device)
