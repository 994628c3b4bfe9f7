"""The command itself: what is recorded where a part fails, and where there is no GPU."""

import json

import pytest

from fastntk.kernels.cuda.device import Found


@pytest.fixture
def main(part, monkeypatch, tmp_path):
    """The command on a machine that has a GPU, it thinks; parts are not run."""
    main = part("__main__")
    monkeypatch.setattr(main.cuda_device, "why_unavailable", lambda: None)
    monkeypatch.setattr(main.cuda_device, "find_devices", lambda: [Found(0, "NVIDIA H1", "sm_90a", 1, 2)])
    monkeypatch.setattr(main, "RESULTS", tmp_path / "results")
    description = {"hardware": "NVIDIA H1", "driver": "1.2", "commit": "a", "date": "today"}
    monkeypatch.setattr(main, "describe", lambda found: description)
    monkeypatch.setattr(
        main, "run_apart", lambda name, quick, seconds: {"failed": name == "calls", "had": seconds}
    )
    return main


def test_every_part_is_recorded(main, part, tmp_path, capsys):
    parts = part("parts").PARTS
    assert main.main([]) == 1
    assert "failed: calls\n" in capsys.readouterr().out
    (file,) = (tmp_path / "results").iterdir()
    assert file.name == "gpu-nvidia-h1.json"
    record = json.loads(file.read_text())
    assert record["hardware"] == "NVIDIA H1"
    assert list(record["parts"]) == list(parts)
    had = {name: one["had"] for name, one in record["parts"].items()}
    assert all(0 < had[name] <= parts[name].most for name in parts)


def test_parts_that_are_not_run_again_stay(main, monkeypatch, tmp_path):
    assert main.main(["calls"]) == 1
    monkeypatch.setattr(main, "describe", lambda found: {"driver": "2", "commit": "b", "date": "later"})
    assert main.main(["leaks"]) == 0
    (file,) = (tmp_path / "results").iterdir()
    record = json.loads(file.read_text())
    assert {name: one["commit"] for name, one in record["parts"].items()} == {"calls": "a", "leaks": "b"}


def test_the_time_of_all_parts_is_limited(main, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(main, "TOTAL", 0)
    assert main.main(["leaks"]) == 1
    assert "FAILED: no time left" in capsys.readouterr().out


def test_a_quick_run_writes_nothing(main, tmp_path):
    assert main.main(["--quick", "leaks"]) == 0
    assert not list(tmp_path.iterdir())


def test_a_part_in_a_process_of_its_own(part, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    parts = part("parts")
    record = parts.run_apart("ceilings", True, 100)
    assert record["failed"]
    assert record["error"].startswith("RuntimeError: ")  # of the device that is not there
    record = parts.run_apart("ceilings", True, 0.01)
    assert record["error"] == "not done in 0 s"


def test_a_part_here(part, lab, capsys):
    parts = part("parts")

    def works(lab, say):
        say("it works")
        return {"figure": 3}

    def fails(lab, say):
        raise ValueError("no")

    assert parts.run_here(parts.Part(works, 1), lambda: lab) == {"failed": False, "figure": 3}
    assert parts.run_here(parts.Part(fails, 1), lambda: lab) == {"failed": True, "error": "ValueError: no"}
    assert "it works" in capsys.readouterr().out


def test_without_a_gpu(main, monkeypatch, capsys):
    monkeypatch.setattr(main.cuda_device, "why_unavailable", lambda: "no NVIDIA GPU is visible")
    assert main.main([]) == 2
    assert capsys.readouterr().err == "nothing is measured: no NVIDIA GPU is visible\n"
    for wrong in (["nonsense"], ["--write"]):
        with pytest.raises(SystemExit):
            main.main(wrong)
