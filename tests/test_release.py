"""What a release promises: extras that resolve, versions that agree, a tour for a fresh environment."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import fastntk

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = configparser.ConfigParser()
SETTINGS.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = {name: text.split() for name, text in SETTINGS["options.extras_require"].items()}
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_are_requirements(extra):
    """Each with a lowest version; those on fastntk itself name extras that exist."""
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == "fastntk":
            assert requirement.extras
            assert requirement.extras <= set(EXTRAS) - {extra}
        else:
            assert requirement.specifier


def test_extras_that_are_named_exist():
    """In the text for users, and in the hints of messages."""
    texts = [
        ROOT / "README.md",
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "fastntk").rglob("*.py"),
    ]
    named = set()
    for file in texts:
        for found in re.findall(r"(?:fastntk|\"\.)\[([a-z,]+)\]", file.read_text(encoding="utf-8")):
            named.update(found.split(","))
    assert {"study", "dask", "test", "docs", "bench"} <= named <= set(EXTRAS)


def test_classifiers_start_at_the_lowest_python():
    classifiers = SETTINGS["metadata"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)$", classifiers, flags=re.MULTILINE)
    allowed = SpecifierSet(SETTINGS["options"]["python_requires"])
    assert versions[0] == "3.11"
    assert all(version in allowed for version in versions)
    assert "3.10" not in allowed


def test_versions_and_names_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fastntk.__version__}\n" in citation
    assert f"\nlicense: {SETTINGS['metadata']['license_expression']}\n" in citation
    assert "2602.17423" in citation
    assert f"\n## {fastntk.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def tracked_files():
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.split("\0") if name]


def copy_of_the_repository(folder):
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.soak
def test_source_distribution_is_the_repository(tmp_path):
    clone = copy_of_the_repository(tmp_path / "clone")
    build = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", tmp_path, clone]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    assert {name for name in tracked_files() if not name.startswith(".")} <= held


@pytest.mark.soak
def test_a_fresh_environment_follows_the_tour_word_for_word(tmp_path):
    """Its shell blocks in one shell, its Python blocks in one session, in a copy of the repository."""
    clone = copy_of_the_repository(tmp_path / "clone")
    script, last = ["set -e"], "sh"
    for kind, code in FENCE.findall((ROOT / "docs" / "tour.md").read_text(encoding="utf-8")):
        if last == "python" != kind:
            script.append("END")
        elif kind == "python" != last:
            script.append("python - <<'END'")
        script.append(code)
        last = kind
    assert script.count("END") == 1, "the Python of the tour is one session"
    # `python3` is the one that runs the tests.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "memmap True" in done.stdout
    assert (clone / "digits.npy").is_file()
    assert (clone / "breast-cancer" / "index.html").is_file()
    checks = [clone / ".venv" / "bin" / "python", "-m", "pip", "check"]
    assert subprocess.run(checks, check=False).returncode == 0


@pytest.mark.soak
@pytest.mark.parametrize("extra", [name for name in EXTRAS if name.startswith("cuda")])
def test_with_a_cuda_extra_and_no_gpu_the_cpu_computes(extra, tmp_path):
    """CuPy's wheel imports without a driver, and nothing asks it for a device; none is declared as yet."""
    clone = copy_of_the_repository(tmp_path / "clone")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    install = [python, "-m", "pip", "install", "-q", f"{clone}[{extra}]"]
    subprocess.run(install, env=environment, cwd=tmp_path, check=True)
    code = "import cupy, fastntk as fn; print(fn.ntk([[3.0]], network=fn.Network(1, 1, seed=0)).shape)"
    done = subprocess.run(
        [python, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "(1, 1)\n"), done.stderr
