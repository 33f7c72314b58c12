"""A part of the fuzzing, always the same: files of every kind that are read, made wrong. The whole is `make fuzz`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from targets import TARGETS

COUNT = 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS)
def test_a_file_made_wrong_is_read_or_refused(kind):
    """Only the project's own errors, within 20 s and 2 GB a file; some are refused, so that something was wrong."""
    script = Path(__file__).with_name("fuzz.py")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, str(script), kind, str(COUNT)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[0])["refused"] > 0
