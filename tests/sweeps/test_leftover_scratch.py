"""What killed processes have left beside the results of a sweep."""

import os
import time

from sweeps.sweepers.results import write


def test_scratch_files_of_an_hour_ago_are_removed_and_those_that_may_be_written_are_not(tmp_path):
    file, other = tmp_path / "optimization_results.yaml", tmp_path / f"other.yaml.{2**22 + 1}.tmp"
    dead, living = (tmp_path / f"{file.name}.{2**22 + number}.tmp" for number in (1, 2))
    for scratch in (dead, living, other):
        scratch.write_text("x")
    old = time.time() - 2 * 3600
    for scratch in (dead, other):
        os.utime(scratch, (old, old))
    write({"name": "grid"}, file)
    assert {path.name for path in tmp_path.iterdir()} == {file.name, living.name, other.name}
