"""The cache of decompositions: what it gives is what computing gives."""

import pytest
import torch

from lorabench.training import svd

METHODS = [(svd.largest, {"rank": 5}), (svd.smallest, {"rank": 5}), (svd.randomized, {"rank": 5, "iterations": 3})]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path))
    return tmp_path / "svd"


@pytest.fixture
def matrix():
    return torch.randn(300, 260, generator=torch.Generator().manual_seed(0))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_cold_and_warm_give_the_same_bits(folder, matrix, method, settings):
    computed = method(matrix, **settings)
    torch.manual_seed(9)  # no global state enters
    assert same(svd.from_cache(method, matrix, **settings), computed)
    [file] = folder.iterdir()
    written = file.stat().st_mtime_ns
    assert same(svd.from_cache(method, matrix, **settings), computed)
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_triples_decompose_the_matrix(matrix, method, settings):
    u, sigma, vt = method(matrix, **settings)
    assert (u.shape, sigma.shape, vt.shape) == ((300, 5), (5,), (5, 260))
    torch.testing.assert_close(u.T @ u, torch.eye(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(vt @ vt.T, torch.eye(5), atol=1e-5, rtol=0)
    torch.testing.assert_close((u.T @ matrix @ vt.T).diagonal(), sigma, atol=1e-4, rtol=0)
    assert sigma.tolist() == sorted(sigma.tolist(), reverse=True)


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(file.read_bytes()[:100]), lambda file: file.unlink()])
def test_a_lost_or_broken_file_is_made_again(folder, matrix, spoil):
    computed = svd.from_cache(svd.largest, matrix, rank=5)
    [file] = folder.iterdir()
    spoil(file)
    assert same(svd.from_cache(svd.largest, matrix, rank=5), computed)
    assert same(svd.from_cache(svd.largest, matrix, rank=5), computed)
    assert list(folder.iterdir()) == [file]


def test_the_key_holds_everything_that_decides_the_bits(folder, matrix, monkeypatch):
    svd.from_cache(svd.randomized, matrix, rank=5, iterations=3)
    svd.from_cache(svd.randomized, matrix, rank=5, iterations=4)
    svd.from_cache(svd.randomized, matrix, rank=6, iterations=3)
    svd.from_cache(svd.randomized, matrix.T.contiguous(), rank=5, iterations=3)
    svd.from_cache(svd.randomized, matrix.reshape(260, 300), rank=5, iterations=3)
    svd.from_cache(svd.largest, matrix, rank=5)
    svd.from_cache(svd.smallest, matrix, rank=5)
    monkeypatch.setattr(torch, "__version__", "0")
    svd.from_cache(svd.largest, matrix, rank=5)
    assert len(list(folder.iterdir())) == 8


def test_another_process_that_wrote_first_does_no_harm(folder, matrix, monkeypatch):
    def slow(matrix, rank):
        svd.from_cache(svd.largest, matrix, rank=rank)  # the other process begins and ends in the meantime
        return svd.largest(matrix, rank)

    slow.__name__ = "largest"
    assert same(svd.from_cache(slow, matrix, rank=5), svd.largest(matrix, 5))
    assert len(list(folder.iterdir())) == 1


def test_small_matrices_leave_no_file(folder, matrix):
    svd.from_cache(svd.largest, matrix[:128, :128], rank=5)
    assert not folder.exists()
