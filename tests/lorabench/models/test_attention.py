import shutil

import pytest
import torch
from transformers import Gemma2Config, Gemma3TextConfig, GptOssConfig, LlamaConfig, Qwen3Config
from transformers.models.auto import AutoModelForCausalLM

from lorabench.models import attention
from lorabench.models.load import load
from lorabench.schema import PACKAGE, ModelConfig

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


@pytest.mark.parametrize("config", [LlamaConfig, Qwen3Config, Gemma3TextConfig])
def test_equals_transformers_attention_in_values_and_gradients(config):
    """Padded on either side, with a sliding window where the model has one, and step by step over a cache."""
    window = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]} if config is Gemma3TextConfig else {}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(**SIZES, **HEADS, **window), attn_implementation="sdpa").eval()
    ids = torch.randint(1, 64, (3, 12))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, 9:] = 0
    seen = mask.bool()
    results = []
    for name in ("sdpa", attention.register()):
        model.set_attn_implementation(name)
        model.zero_grad()
        logits = model(input_ids=ids, attention_mask=mask).logits
        logits[seen].logsumexp(-1).sum().backward()
        gradient = model.model.layers[0].self_attn.k_proj.weight.grad.clone()
        texts = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0)
        results.append((logits.detach()[seen], gradient, texts))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)
    assert torch.equal(results[0][2], results[1][2])


CAPPED = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0, "query_pre_attn_scalar": 8, "initializer_range": 0.3}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
CHOICES = [
    (LlamaConfig, {}, "grouped_sdpa"),
    (Gemma3TextConfig, {"query_pre_attn_scalar": 8}, "grouped_sdpa"),
    (Gemma2Config, CAPPED, "eager"),
    (Gemma2Config, CAPPED | {"attn_logit_softcapping": None}, "grouped_sdpa"),
    (GptOssConfig, EXPERTS, "eager"),
]


@pytest.mark.parametrize(("config", "more", "expected"), CHOICES, ids=lambda value: getattr(value, "__name__", None))
def test_a_model_runs_with_the_attention_that_gives_its_own_function(tmp_path, config, more, expected):
    """Soft caps and sinks are what torch's kernel drops or does not take."""
    torch.manual_seed(0)
    made = config(**SIZES | HEADS | {"vocab_size": 512}, **more)
    model = AutoModelForCausalLM.from_config(made, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.5) if "q_proj" in name or "k_proj" in name or "sinks" in name else None
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(PACKAGE / "tiny" / "checkpoint" / name, tmp_path)
    base = load(ModelConfig(name="mine", path=str(tmp_path)), torch.device("cpu"), torch.float32)
    assert base.state["attention"] == expected
    assert attention.choose(made, torch.device("cuda")) == expected.removeprefix("grouped_")
    ids = torch.randint(1, 512, (2, 12))
    torch.testing.assert_close(base.model(input_ids=ids).logits, model(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    if expected == "eager" and config is Gemma2Config:
        base.model.set_attn_implementation("sdpa")
        assert (base.model(input_ids=ids).logits - model(input_ids=ids).logits).abs().max() > 0.01


def test_what_the_kernel_would_drop_is_an_error_not_an_omission():
    states = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="cannot take softcap; the model needs eager attention"):
        attention.grouped_sdpa(torch.nn.Identity(), states, states, states, None, softcap=50.0)
