"""What the disk does wrong is one line that says what happened, what is safe and what to do."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from duel.errors import GeneratorError, StorageError, storing

FULL = (
    "the disk is full (/a/b); what was recorded before is safe, and images already drawn are in the store; free some "
)
FULL += "space, then run the same command again, it resumes"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        sqlite3.OperationalError("database or disk is full"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),  # as safetensors says
    ],
)
def test_a_full_disk_is_named_whoever_meets_it(error: Exception) -> None:
    with pytest.raises(StorageError, match=re.escape(FULL)), storing(Path("/a/b")):
        raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EROFS, "read-only"), r"the file system is read-only \(/a/b\); .* make it writable"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "the file system is read-only"),
        (sqlite3.OperationalError("disk I/O error"), "the disk failed"),
        (sqlite3.DatabaseError("database disk image is malformed"), r"the database \(/a/b\) is damaged: .* backup"),
        (sqlite3.DatabaseError("file is not a database"), "is damaged"),
    ],
)
def test_other_faults_of_the_disk_are_named(error: Exception, message: str) -> None:
    with pytest.raises(StorageError, match=message), storing(Path("/a/b")):
        raise error


@pytest.mark.parametrize("error", [ValueError("a bug"), GeneratorError("no image"), FileNotFoundError(2, "no file")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storing(Path("/a/b")):
        raise error
    assert caught.value is error


LIMITED = """
import resource, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from artifacts.run import files
from duel.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_with(Path(sys.argv[1]), lambda path: save_file({"a": torch.zeros(1000)}, path))
except StorageError as error:
    print(error)
"""


def test_a_real_limit_on_a_file_of_weights_is_named(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "w")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith(
        f"the limit of a file's size is reached ({tmp_path}/w); what was recorded before is safe"
    )
    assert list(tmp_path.iterdir()) == []
