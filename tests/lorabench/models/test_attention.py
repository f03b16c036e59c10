import pytest
import torch
from transformers import Gemma3TextConfig, LlamaConfig, Qwen3Config
from transformers.models.auto import AutoModelForCausalLM

from lorabench.models import attention

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
