"""The engine's process, with a stand-in for vLLM."""

import os
import signal
import time

import pytest
import torch

from lorabench.generation.vllm_engine import Engine, EngineDied, EngineError, environment

DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def engine(stand_in):
    engines = []

    def make(**arguments):
        engines.append(Engine({}, model=str(stand_in), **arguments))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("killed", [False, True])
def test_what_the_child_has_started_ends_with_it(stand_in, engine, alive, wait_until, killed):
    """Such as vLLM's own engine process, here one that ignores polite signals; also when the child is killed before it."""
    (stand_in / "start").write_text(
        "child = subprocess.Popen(['bash', '-c', 'trap \"\" TERM INT; echo > $STAND_IN/up; while :; do sleep 1; done'])\n"
        "Path(os.environ['STAND_IN'], 'pid').write_text(str(child.pid))"
    )
    child = engine()
    assert wait_until((stand_in / "up").exists)
    grandchild = int((stand_in / "pid").read_text())
    assert alive(grandchild)
    if killed:
        os.kill(child.pid, signal.SIGKILL)
        assert wait_until(lambda: not alive(child.pid))
    child.close()
    assert not alive(child.pid)
    assert not alive(grandchild)


def test_a_child_that_dies_is_noticed_while_another_process_holds_its_pipe(stand_in, engine):
    (stand_in / "start").write_text("if os.fork() == 0:\n    time.sleep(100)")
    (stand_in / "generate").write_text(DIE)
    started = time.monotonic()
    with pytest.raises(EngineDied, match="code -9"):
        engine().generate([[1]], [4], [], [2])
    assert time.monotonic() - started < 60


def test_progress_comes_while_prompts_are_answered(stand_in, engine):
    (stand_in / "generate").write_text("time.sleep(0.4)")
    counts = []
    engine().generate([[1]] * 8, [4] * 8, [], [2], report=counts.append)
    assert sum(counts) == 8
    assert len(counts) > 1


def test_an_interrupt_ends_the_engine_so_that_no_late_answer_is_taken_for_another(stand_in, engine, alive):
    def interrupt(count):
        raise KeyboardInterrupt

    child = engine()
    with pytest.raises(KeyboardInterrupt):
        child.generate([[1]] * 4, [4] * 4, [], [2], report=interrupt)
    assert not alive(child.pid)
    with pytest.raises(EngineDied):
        child.generate([[1]], [4], [], [2])


def test_a_refused_start_leaves_no_process(stand_in, engine, alive):
    (stand_in / "start").write_text(
        "Path(os.environ['STAND_IN'], 'pid').write_text(str(os.getpid()))\nraise ValueError('no room')"
    )
    with pytest.raises(EngineError, match="ValueError: no room"):
        engine()
    assert not alive(int((stand_in / "pid").read_text()))


@pytest.mark.parametrize(
    ("device", "environment_variable", "visible"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda", None, "0"),
        ("cuda:1", None, "1"),
        ("cuda", "3,2", "3"),
        ("cuda:1", "3,2", "2"),
        ("cuda:1", "GPU-aa, GPU-bb", "GPU-bb"),
    ],
)
def test_the_engine_sees_the_bases_device_alone(monkeypatch, device, environment_variable, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if environment_variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment_variable)
    assert environment(torch.device(device), 4)["CUDA_VISIBLE_DEVICES"] == visible


def test_what_the_user_has_set_stays(monkeypatch):
    keys = ("VLLM_LOGGING_LEVEL", "VLLM_CPU_KVCACHE_SPACE", "VLLM_ENABLE_V1_MULTIPROCESSING", "PYTHONWARNINGS")
    for key in keys:
        monkeypatch.delenv(key, raising=False)
    cpu, gpu = environment(torch.device("cpu"), 3), environment(torch.device("cuda"), 3)
    assert cpu["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert cpu["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in gpu
    for key in keys:
        monkeypatch.setenv(key, "1")
    assert not set(keys) & environment(torch.device("cpu"), 3).keys()


def test_the_parents_environment_stays(engine, monkeypatch, stand_in):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    (stand_in / "start").write_text("Path(os.environ['STAND_IN'], 'seen').write_text(os.environ['CUDA_VISIBLE_DEVICES'])")
    before = dict(os.environ)
    Engine(environment(torch.device("cuda:1"), 4), model=str(stand_in)).close()
    assert (stand_in / "seen").read_text() == "2"
    assert dict(os.environ) == before
