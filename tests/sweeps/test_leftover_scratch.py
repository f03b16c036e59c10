"""What killed processes have left beside the results of a sweep."""

import threading

from filelock import FileLock

from sweeps.sweepers.results import write


def test_scratch_files_of_killed_processes_are_removed_and_those_that_are_written_are_not(tmp_path):
    file, other = tmp_path / "optimization_results.yaml", tmp_path / f"other.yaml.{2**22 + 1}.tmp"
    scratch = tmp_path / f"{file.name}.{2**22 + 1}.tmp"
    for left in (scratch, other):
        left.write_text("x")
    writing = threading.Thread(target=write, args=({"name": "grid"}, file))
    with FileLock(f"{file}.lock"):  # who holds it may be writing
        writing.start()
        writing.join(0.5)
        assert writing.is_alive() and scratch.exists() and not file.exists()
    writing.join(30)
    assert {path.name for path in tmp_path.iterdir()} == {file.name, f"{file.name}.lock", other.name}
