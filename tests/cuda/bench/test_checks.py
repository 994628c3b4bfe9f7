"""Tests, sanitizer, equality, leaks and the ledger; tools are faked or missing."""

import re
import sys

import numpy as np

from fastntk.kernels.cuda import compile as compiling

from .. import emulator


class Recording:
    """A device that keeps the names of the kernels it launches."""

    def __init__(self, device):
        self._device, self.launched = device, set()

    def __getattr__(self, name):
        return getattr(self._device, name)

    def launch(self, source, kernel, *arguments, **more):
        self.launched.add(kernel)
        self._device.launch(source, kernel, *arguments, **more)


def test_the_sanitizer_sees_every_kernel(part, lab):
    lab.device = Recording(lab.device)
    part("every_kernel").run(lab)
    texts = [file.read_text() for file in compiling.SOURCES.glob("*.cu")]
    assert lab.device.launched == {kernel for text in texts for kernel in emulator.KERNEL.findall(text)}


def test_equality_and_leaks(part, lab, said):
    checks = part("checks")
    record = checks.run_equality(lab, said.append)
    assert not record["failed"]
    assert set(record["equal"].values()) == {True}
    record = checks.run_leaks(lab, said.append)
    assert set(record["growth"]) == {"ntk", "outputs", "vjp"}


def test_a_difference_is_found(part, lab, said, monkeypatch):
    checks = part("checks")
    monkeypatch.setattr(checks, "equality_calls", lambda *_: {"names": lambda on: np.array([ord(on[1])])})
    assert checks.run_equality(lab, said.append)["failed"]
    assert said == ["DIFFERENT  names, n=9, d=5, m=300"]


def fake_tool(folder, name, text):
    tool = folder / name
    tool.write_text(f"#!{sys.executable}\n{text}")
    tool.chmod(0o755)


def test_the_sanitizer_is_run_or_missed(part, lab, said, tmp_path, monkeypatch):
    checks = part("checks")
    monkeypatch.setattr(checks, "SANITIZERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.run_sanitizer(lab, said.append) == {"missing": "compute-sanitizer", "failed": False}
    fake_tool(
        tmp_path, "compute-sanitizer", "import sys\nprint('a race')\nsys.exit(9 * ('racecheck' in sys.argv))"
    )
    record = checks.run_sanitizer(lab, said.append)
    assert record["failed"]
    assert (record["memcheck"]["status"], record["racecheck"]["status"]) == (0, 9)
    assert said[1:] == ["memcheck: nothing found", "racecheck: ERRORS FOUND", "a race\n"]


def test_a_command_that_takes_too_long(part):
    done = part("checks").run_command([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert done == {"status": None, "output": ""}


def test_a_command_that_is_missing(part):
    assert part("checks").run_command(["no-such-command"], 1)["status"] == 127


REPORT = """<testsuites><testsuite>
<testcase file="tests/cuda/test_a.py" name="test_one[gpu]"/>
<testcase file="tests/cuda/test_a.py" name="test_two[1-gpu]"><failure>no</failure></testcase>
<testcase file="tests/cuda/test_a.py" name="test_two[2-gpu]"/>
<testcase file="tests/cuda/test_b.py" name="test_three"><skipped>no</skipped></testcase>
</testsuite></testsuites>"""


def test_outcomes_of_tests(part, tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    outcomes = part("checks").outcomes_of(report)
    assert list(outcomes.values()) == ["passed", "failed", "passed", "skipped"]
    names = [f"tests/cuda/test_{name}" for name in ("a.py::test_one", "a.py::test_two", "b.py::test_three")]
    before = {names[0]: "never", names[1]: "a GPU, long ago", "tests/cuda/test_gone.py::test": "never"}
    after = part("ledger").updated(before, names, outcomes, "a GPU, today")
    assert after == {names[0]: "a GPU, today", names[1]: "a GPU, long ago", names[2]: "never"}


def test_every_gpu_test_is_in_the_ledger(part):
    ledger = part("ledger")
    kept, tests = ledger.read(), ledger.collected()
    assert set(kept) == tests, "run python -m bench.gpu.ledger"
    marked = re.compile(r"mark\.gpu\b")
    for file in (ledger.ROOT / "tests").rglob("test_*.py"):
        inside = file.is_relative_to(ledger.LEDGER.parent)
        assert inside or not marked.search(file.read_text(encoding="utf-8")), f"{file} is not collected"
