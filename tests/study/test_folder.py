"""A results folder is there as a whole or not at all."""

import re

import pytest

from fastntk.study.folder import MARK, OutputError, new_folder


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as part:
        (part / MARK).write_text("1")
        assert not target.exists()
    assert (target / MARK).read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def interrupted():
        with new_folder(target, replace=True) as part:
            (part / MARK).write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (target / MARK).read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    with new_folder(target, replace=True) as part:
        (part / MARK).write_text("3")
    assert (target / MARK).read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    cases = [
        ("file", False, "exists and is not a folder"),
        ("file", True, "exists and is not a folder"),
        ("link", True, "exists and is not a folder"),
        ("other", False, "exists. Choose another --output, or --force"),
        ("other", True, f"has no {MARK}"),
        ("no/where", False, "is not an existing folder"),
        ("file/in", False, "is not an existing folder"),
        ("x" * 300, False, "cannot be written"),
    ]
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for name, force, message in cases:
        with pytest.raises(OutputError, match=message), new_folder(tmp_path / name, replace=force):
            pytest.fail("entered")
    with pytest.raises(OutputError, match="MB free"), new_folder(tmp_path / "big", needed_bytes=1 << 62):
        pytest.fail("entered")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_results_are_kept_where_the_name_is_taken_in_the_meantime(tmp_path):
    def late():
        with new_folder(tmp_path / "out") as part:
            (part / MARK).write_text("results")
            (tmp_path / "out").write_text("somebody was faster")

    with pytest.raises(OutputError, match="They are in") as error:
        late()
    kept = re.search(r"They are in (\S+?)\.?$", str(error.value)).group(1)
    assert (tmp_path / kept / MARK).read_text() == "results"
    assert (tmp_path / "out").read_text() == "somebody was faster"
