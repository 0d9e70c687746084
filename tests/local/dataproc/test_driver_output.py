"""The reason of a failure, found in what a driver printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydag_gcp.local.dataproc import driver_output

PYTHON = """\
working
Traceback (most recent call last):
  File "main.py", line 3, in <module>
    raise ValueError("boom")
ValueError: boom
"""

JAVA = """\
Traceback (most recent call last):
  File "main.py", line 3, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o47.csv.
: java.io.FileNotFoundException: The specified bucket does not exist: gs://nobody
\tat pydag.GsFileSystem.initialize(GsFileSystem.java:28)
\tat java.base/java.lang.Thread.run(Thread.java:840)
\t... 12 more
"""

ERROR = "py4j.protocol.Py4JJavaError: An error occurred while calling o47.csv."

WORKER = """\
Traceback (most recent call last):
  File "main.py", line 9, in <module>
pyspark.errors.exceptions.captured.PythonException: An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "main.py", line 5, in fail
ValueError: a bad row
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ""),
        ("only a word\n", "only a word"),
        (PYTHON, "ValueError: boom"),
        (JAVA, f"{ERROR}: java.io.FileNotFoundException: The specified bucket does not exist: gs://nobody"),
        (WORKER, "ValueError: a bad row"),
        ("x" * 200_000 + "\n" + PYTHON, "ValueError: boom"),
        (PYTHON.rpartition("ValueError")[0], 'raise ValueError("boom")'),
    ],
)
def test_the_line_that_says_it_is_found(tmp_path: Path, text: str, message: str) -> None:
    output = tmp_path / "driveroutput"
    output.write_text(text)
    assert driver_output.failure(output).message == message


def test_java_frames_are_left_out(tmp_path: Path) -> None:
    output = tmp_path / "driveroutput"
    output.write_text(JAVA)
    assert [line for line in driver_output.failure(output).lines if "\tat " in line or "more" in line] == []


def test_at_most_twenty_lines_are_handed_on(tmp_path: Path) -> None:
    output = tmp_path / "driveroutput"
    output.write_text("".join(f"line {number}\n" for number in range(100)))
    lines = driver_output.failure(output).lines
    assert (len(lines), lines[0], lines[-1]) == (20, "line 80", "line 99")
