"""Pretrain the embedded model: ``python -m lorabench.tiny.pretrain --out DIR`` (25 minutes on two slow cores).

Writes config, safetensors weights and tokenizer, and ``training.json`` with the command, the versions, the loss curve, the
accuracy on freshly drawn documents and the SHA-256 of the weights.
"""

import argparse
import json
import math
import platform
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lorabench.files import file_hash, write_json
from lorabench.tiny.text import corpus_document

EOS, PAD = "<|end|>", "<|pad|>"
VOCABULARY = 512


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits: whole words of the corpus are one token, any other text still encodes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, padding_side="left")


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama of four layers with tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(tokenizer: PreTrainedTokenizerFast, rng: random.Random, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (input_ids, labels), both [batch, time], endlessly; documents of like length go together to save padding."""
    while True:
        documents = [corpus_document(rng) for _ in range(size * 16)]
        rows = tokenizer([f"{p}{a}{EOS}" for p, a in documents])["input_ids"]
        rows.sort(key=len)
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            ids = torch.full((size, len(group[-1])), tokenizer.pad_token_id)
            for row, tokens in zip(ids, group, strict=True):
                row[: len(tokens)] = torch.tensor(tokens)
            yield ids, ids.masked_fill(ids == tokenizer.pad_token_id, -100)


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: list[tuple[str, str]]) -> float:
    """Share of documents whose greedily generated answer is exactly right."""
    batch = tokenizer([p for p, _ in documents], return_tensors="pt", padding=True, return_token_type_ids=False)
    out = model.generate(**batch, max_new_tokens=48, do_sample=False)  # type: ignore[misc]
    texts = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return sum(text == answer for text, (_, answer) in zip(texts, documents, strict=True)) / len(documents)


def main() -> None:
    """Train, evaluate and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the checkpoint to")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = random.Random(f"pretrain-{args.seed}")
    tokenizer = build_tokenizer(["".join(corpus_document(rng)) for _ in range(20_000)])
    held_back_rng = random.Random(f"held-back-{args.seed}")
    held_back = [corpus_document(held_back_rng) for _ in range(400)]
    model = build_model(tokenizer, args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 100) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / args.steps)) / 2)
    )
    stream = batches(tokenizer, rng, args.batch_size)
    started, curve = time.perf_counter(), []
    for step in range(1, args.steps + 1):
        ids, labels = next(stream)
        loss = model(input_ids=ids, attention_mask=(labels != -100).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == 1:
            curve.append((step, round(loss.item(), 4)))
            note = f" accuracy {accuracy(model, tokenizer, held_back[:100]):.2f}" if step % 500 == 0 else ""
            print(f"step {step} loss {loss.item():.4f} {time.perf_counter() - started:.0f} s{note}", flush=True)

    model.eval()
    args.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    report = {
        "command": "python -m lorabench.tiny.pretrain " + " ".join(sys.argv[1:]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "fresh_accuracy": accuracy(model, tokenizer, held_back),
        "seconds": round(time.perf_counter() - started),
        "loss": curve,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "sha256": file_hash(args.out / "model.safetensors"),
    }
    write_json(args.out / "training.json", report)
    print(json.dumps({key: report[key] for key in ("parameters", "fresh_accuracy", "seconds", "sha256")}))


if __name__ == "__main__":
    main()
