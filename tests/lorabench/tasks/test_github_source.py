import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lorabench.errors import UserError
from lorabench.tasks.sources import github
from lorabench.tasks.sources.github import GitHubSource

ROWS = [{"instruction": f"{i}?", "output": "the correct answer is true", "answer": "true"} for i in range(8)]


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A server on this machine in GitHub's place; ``requests`` lists the paths that were fetched."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            if self.path.endswith("cut.json"):
                self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    requests: list[str] = []
    files = {"/o/r/c0ffee/dir/test.json": json.dumps(ROWS).encode(), "/o/r/c0ffee/bad.json": b"<html>"}
    files["/o/r/c0ffee/table.json"] = b'{"rows": []}'
    files["/o/r/c0ffee/cut.json"] = b"[]"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(github, "RAW", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path / "cache"))
    yield requests
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_once(repository):
    source = GitHubSource("o/r", "c0ffee", data_files="dir/test.json", rows=8)
    assert source.load("task.path") == source.load("task.path") == ROWS
    assert repository == ["/o/r/c0ffee/dir/test.json"]


@pytest.mark.parametrize(
    ("file", "n", "message"),
    [
        ("none.json", None, r"cannot get http.*/o/r/c0ffee/none\.json \(Not Found\); go online once .* task\.path=DIR"),
        ("dir/test.json", 9, "8 rows where 9 are expected"),
        ("bad.json", None, "is not valid JSON"),
        ("table.json", None, "o/r table.json holds one object; it must hold a list of objects"),
        ("cut.json", None, r"cannot get http.*/cut\.json \(IncompleteRead"),
    ],
)
def test_a_file_that_cannot_be_had_is_named_and_not_kept(repository, tmp_path, file, n, message):
    with pytest.raises(UserError, match=message) as raised:
        GitHubSource("o/r", "c0ffee", data_files=file, rows=n).load("task.path")
    assert "\n" not in str(raised.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
