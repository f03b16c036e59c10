"""The lock under which a record is made."""

import subprocess
import sys
import textwrap

from lorabench.files import locked


def test_a_lock_excludes_another_process_and_dies_with_it(tmp_path):
    code = f"""
        import time
        from pathlib import Path
        from lorabench.files import locked
        with locked(Path({str(tmp_path / "lock")!r}), wait=True):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with locked(tmp_path / "lock", wait=False) as held:
        assert not held
    process.kill()
    process.wait()
    with locked(tmp_path / "lock", wait=False) as held:
        assert held
