"""Where memory runs out, batches get smaller and the cell goes on, to the bits of one that had such batches from the start."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest
import torch

from lorabench.cells import run as running
from lorabench.cells.run import run
from lorabench.cells.stages import train_cell
from lorabench.files import read_json
from lorabench.generation.hf import HFGenerator
from lorabench.training import loss
from lorabench.training.fitting import fitting, ran_out

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, and forks")
WORDS = ["train_samples=160", "batch_size=128", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8"]


def forked(body, file, megabytes):
    """Run a body in a copy of this process that may take so much more memory; returns whether it went through, and its words."""
    pid = os.fork()
    if pid == 0:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20, resource.RLIM_INFINITY))
            signal.alarm(100)
            body()
        except BaseException as error:
            print(repr(error))
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0, file.read_text()


def test_a_cell_goes_on_with_smaller_micro_batches(cell, tmp_path):
    small = cell(*WORDS, "batch_size=4", "train_samples=4", f"output_dir={tmp_path / 'usual'}")
    run(small)  # so that this process has the model, and no memory to spare
    few = cell(*WORDS, f"output_dir={tmp_path / 'few'}")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "base").symlink_to(tmp_path / "usual" / "base")
    done, said = forked(lambda: run(few), tmp_path / "said.txt", megabytes=70)
    assert done and "memory ran out: trainer.micro_batch_tokens is" in said, said
    record = read_json(few.folder / "record.json")
    tokens = record["lowered"]["trainer.micro_batch_tokens"]
    assert record["config"]["trainer"]["micro_batch_tokens"] == 8192 > tokens
    same = cell(*WORDS, f"trainer.micro_batch_tokens={tokens}", f"output_dir={tmp_path / 'same'}")
    run(same)
    expected = read_json(same.folder / "record.json")
    for key in ("loss", "grad_norm", "padding_tokens"):
        assert record["training"][key] == expected["training"][key]
    assert (record["validation_loss"], record["metrics"]) == (expected["validation_loss"], expected["metrics"])
    assert "lowered" not in expected


def test_answers_come_in_smaller_batches(tiny, arithmetic, monkeypatch):
    """Memory that has room for 2,000 tokens at a time, as torch says it of a GPU."""
    prompts = [arithmetic.prompt(example) for example in arithmetic.train_examples()[:400]]
    generator = HFGenerator(name="hf", batch_tokens=1000)
    generator.load(tiny)
    expected = generator.generate(prompts, 4)
    pairs = [(tiny.prompt_ids([prompt])[0], [5, 6]) for prompt in prompts]
    scores = generator.loglikelihoods(pairs)
    assert generator.lowered == {}
    generator.batch_tokens, forward = 10**6, tiny.model.forward

    def scarce(*arguments, **named):
        ids = arguments[0] if arguments else named["input_ids"]
        if ids.numel() > 2000:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*arguments, **named)

    monkeypatch.setattr(tiny.model, "forward", scarce)
    generator.load(tiny)
    assert generator.generate(prompts, 4) == expected
    assert generator.lowered["evaluator.batch_tokens"] < 10**6
    generator.load(tiny)
    assert [each for each, _ in generator.loglikelihoods(pairs)] == pytest.approx([each for each, _ in scores], abs=1e-3)
    assert generator.lowered["evaluator.batch_tokens"] < 10**6


def test_one_example_that_does_not_fit_fails(corpus, settings):
    with pytest.raises(MemoryError):
        fitting(lambda: bytearray(2**62), corpus.encode([0, 1]), settings(micro_batch_tokens=1))


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_is_lack_of_memory(error, full):
    assert ran_out(error) == full


@pytest.fixture
def scarce(monkeypatch):
    """A function: from the given call of a function on, memory has room for so many tokens; 0 for any."""
    room = {"tokens": 0, "after": 0}
    ran = []
    true = loss.collate

    def collate(examples, *rest):
        ran.append(max(len(example.ids) for example in examples) * len(examples))
        if room["tokens"] and len(ran) > room["after"] and ran[-1] > room["tokens"]:
            raise MemoryError
        return true(examples, *rest)

    monkeypatch.setattr(loss, "collate", collate)

    def set_room(tokens, after=0):
        room.update(tokens=tokens, after=len(ran) + after)

    return set_room


def test_memory_that_the_untouched_model_lacked_leaves_the_cell_as_it_is(cell, scarce):
    made = cell(
        "train_samples=32", "batch_size=16", "task.validation_samples=16", "task.test_samples=4", "task.max_new_tokens=8"
    )
    scarce(300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "train_cell", lambda *arguments: (scarce(0), train_cell(*arguments))[1])
        run(made)
    assert "lowered" not in read_json(made.folder / "record.json")


def interrupted_at(step):
    def stop(training):
        if training.steps == step:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("where", ["the untouched model", "a step"])
def test_a_cell_that_ran_out_of_memory_goes_on_to_the_same_bits(cell, tmp_path, scarce, following_steps, where):
    """Also where there is room again when it goes on."""
    words = ["train_samples=64", "batch_size=16", "task.validation_samples=16", "task.test_samples=4", "task.max_new_tokens=8"]
    after = 0 if where == "the untouched model" else 2
    made = {name: cell(*words, "trainer.checkpoint_minutes=0", f"output_dir={tmp_path / name}") for name in ("whole", "parts")}
    scarce(300, after)
    run(made["whole"])
    scarce(300, after)
    with following_steps(interrupted_at(3)), pytest.raises(KeyboardInterrupt):
        run(made["parts"])
    made["parts"].session.forget_base()
    scarce(0)
    again = cell(*words, "trainer.checkpoint_minutes=0", f"output_dir={tmp_path / 'parts'}")
    run(again)
    expected, record = (read_json(made[name].folder / "record.json") for name in ("whole", "parts"))
    assert expected["lowered"]["trainer.micro_batch_tokens"] <= 300
    assert record["lowered"] == expected["lowered"]
    for key in ("loss", "grad_norm", "padding_tokens", "weights_sha256"):
        assert record["training"][key] == expected["training"][key]
    assert not (again.folder / "checkpoint.pt.damaged").exists()
