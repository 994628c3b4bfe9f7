"""Sources compile for every architecture without warnings, spills and local memory, and are kept on disk."""

import os
import re
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from fastntk.kernels.cuda import compile as compiling
from fastntk.kernels.cuda import nvrtc, tables

pytestmark = pytest.mark.usefixtures("compiler")

ARCHITECTURES = ("sm_80", "sm_90a", "sm_100a")
MODULES = sorted(file.stem for file in compiling.SOURCES.glob("*.cu"))
DEFINES = {"coactivation": lambda arch: {"STAGES": tables.COUNTING[arch].stages}}
CASES = [(module, arch) for module in MODULES for arch in ARCHITECTURES]


@pytest.fixture(scope="module")
def builds(compiler):
    """(cubin, log) of all cases, compiled side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            (module, arch): pool.submit(
                compiling.build, module, arch, DEFINES.get(module, lambda _: None)(arch)
            )
            for module, arch in CASES
        }
        wait(jobs.values())
    return jobs


@pytest.mark.parametrize(("module", "arch"), CASES)
def test_sources_compile(builds, module, arch):
    cubin, log = builds[module, arch].result()
    assert cubin.startswith(b"\x7fELF")
    assert not re.search("warning|error", log, re.IGNORECASE), log
    memory = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert memory
    assert set(memory) == {("0", "0", "0")}, log


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNTK_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept" / "cuda"


@pytest.fixture
def small_source(tmp_path, monkeypatch):
    """A folder with one source and its header."""
    monkeypatch.setattr(compiling, "SOURCES", tmp_path)
    (tmp_path / "number.cuh").write_text("constexpr int NUMBER = 3;\n")
    source = '#include "number.cuh"\nextern "C" __global__ void fill(int* to) { *to = NUMBER + MORE; }\n'
    (tmp_path / "small.cu").write_text(source)
    return tmp_path


def test_machine_code_is_kept(cache, small_source, monkeypatch):
    first = compiling.cubin("small", "sm_90a", {"MORE": 1})
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(nvrtc.Nvrtc, "compile", None)  # not called
        assert compiling.cubin("small", "sm_90a", {"MORE": 1}) == first

    def changed():
        return compiling.cubin("small", "sm_90a", {"MORE": 1}) != first

    assert compiling.cubin("small", "sm_90a", {"MORE": 2}) != first
    assert compiling.cubin("small", "sm_80", {"MORE": 1}) != first
    assert not changed()
    (small_source / "number.cuh").write_text("constexpr int NUMBER = 4;\n")
    assert changed()
    assert len(list(cache.iterdir())) == 4
    assert kept.exists()


def test_damaged_machine_code_is_made_again(cache, small_source):
    first = compiling.cubin("small", "sm_90a", {"MORE": 1})
    (kept,) = cache.iterdir()
    for damaged in (b"", kept.read_bytes()[:-1], b"\0" * 100):
        kept.write_bytes(damaged)
        assert compiling.cubin("small", "sm_90a", {"MORE": 1}) == first


@pytest.mark.usefixtures("small_source")
def test_several_may_compile_at_once(cache):
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(compiling.cubin, "small", "sm_90a", {"MORE": 1}) for _ in range(8)]
    assert len({job.result() for job in jobs}) == 1
    assert len(list(cache.iterdir())) == 1


def test_without_a_folder_nothing_is_kept(small_source, monkeypatch):
    monkeypatch.setenv("FASTNTK_CACHE_DIR", str(small_source / "small.cu" / "no folder"))
    assert compiling.cubin("small", "sm_90a", {"MORE": 1}).startswith(b"\x7fELF")


def test_cache_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTNTK_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiling.cache_folder() == tmp_path / "fastntk" / "cuda"


@pytest.mark.usefixtures("small_source")
def test_errors_are_the_compiler_s():
    with pytest.raises(nvrtc.CompileError, match=r'small.cu.*\n.*identifier "MORE" is undefined'):
        compiling.build("small", "sm_90a")


def test_a_missing_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "_from_wheel", lambda _: None)
    monkeypatch.setattr(nvrtc, "_from_system", lambda _: None)
    with pytest.raises(ImportError, match=r'NVRTC 12.x.*pip install "nvidia-cuda-nvrtc-cu12==12\.\*"'):
        nvrtc.load.__wrapped__(12)
    with pytest.raises(ImportError, match=r'pip install "nvidia-cuda-nvrtc==13\.\*"'):
        nvrtc.load.__wrapped__()
