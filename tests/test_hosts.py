"""Odd hosts: flushed denormals, other rounding, nowhere to write a cache.  The results are the same."""

import platform
import shutil
import sys
from pathlib import Path

import pytest

from .subprocesses import run_script


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """What a plain process computes."""
    return run_script("print(digest(1))", cwd=tmp_path_factory.mktemp("plain"))


only_linux_on_x86 = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the layout of fenv_t and the rounding constants are those of Linux on x86-64",
)

FLUSHING = """
import ctypes

library = ctypes.CDLL("libm.so.6")

def control_word(flush=None):
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of Linux on x86-64, MXCSR last
    library.fegetenv(environment)
    if flush is not None:
        environment[7] = environment[7] | 0x8040 if flush else environment[7] & ~0x8040
        library.fesetenv(environment)
    return environment[7] & 0xFFC0  # without the flags that record what happened

rng = np.random.default_rng(1)
DENORMALS = np.ldexp(rng.standard_normal((6, 5)), rng.integers(-148, -120, (6, 5)))
ROUNDED = DENORMALS.astype(np.float32)

def awkward():
    network = fn.Network.from_arrays(DENORMALS, [1.0, -1.0, 2.0, 0.5, 1.0, 3.0])
    found = []
    for rows in (DENORMALS, ROUNDED):
        for mask in (None, fn.GaussianMask(0.3), fn.AdditiveMask(1e-40), fn.BernoulliMask(0.7)):
            for layers in ("hidden", "both"):
                found.append(fn.ntk(rows, network=network, mask=mask, layers=layers))
            found.append(fn.ntk_diag(rows, network=network, mask=mask, layers="both"))
            found.append(fn.outputs(rows, network=network, mask=mask))
            found.append(fn.activation_pattern(rows, network=network, mask=mask).packed)
            if mask is not None:
                found.append(mask.sample(rows))
        found.append(fn.ntk_limit(rows, layers="both"))
    found.append(network.weights())
    return [array.tobytes() for array in found]
"""


@only_linux_on_x86
def test_a_host_that_flushes_denormals(tmp_path, digest):
    """Flush-to-zero and denormals-are-zero: the same bits, and the host keeps its setting, errors or not."""
    code = (
        FLUSHING
        + """
expected, plain = awkward(), digest()
ieee = control_word()
flushing = control_word(flush=True)
assert flushing != ieee
halves = np.array([1e-40], np.float32) * np.float32(0.5)
assert halves[0] == 0
found, again = awkward(), digest()
assert control_word() == flushing
try:
    fn.ntk(X[0], network=NETWORK)
except ValueError:
    assert control_word() == flushing
control_word(flush=False)
assert again == plain
assert [a == b for a, b in zip(found, expected, strict=True)] == [True] * len(expected)
print(plain)
"""
    )
    assert run_script(code, cwd=tmp_path) == digest


@only_linux_on_x86
def test_a_host_that_rounds_another_way(tmp_path, digest):
    code = (
        FLUSHING
        + """
plain = digest()
UPWARD = 0x800
assert library.fesetround(UPWARD) == 0
again = digest()
assert library.fegetround() == UPWARD
library.fesetround(0)
assert again == plain
print(plain)
"""
    )
    assert run_script(code, cwd=tmp_path) == digest


PROCESSORS = {
    "avx2": ("haswell", "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2"),
    "plain": ("x86-64", "+sse,+sse2"),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processors are x86-64")
@pytest.mark.soak
@pytest.mark.parametrize("path", ["avx2", "plain"])
def test_compiled_for_a_lesser_processor(tmp_path, digest, path):
    """Not only shorter vectors: no instruction beyond AVX2, or beyond SSE2 and without fused multiply-add."""
    name, features = PROCESSORS[path]
    code = """
    import sys
    from fastntk.kernels import load
    assert load().name == sys.argv[1]
    print(digest())
    """
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    found = run_script(code, path, cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path), **environment)
    assert found == digest


def test_no_writable_cache_directory(tmp_path, digest):
    """Files stand where folders would be made, which stops even root; the kernels compile all the same."""
    import fastntk.kernels

    package = Path(fastntk.__file__).parent
    copied = tmp_path / "site" / "fastntk"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, copied, ignore=ignore)
    kernels = Path(fastntk.kernels.__file__).parent
    if not (copied / "kernels").exists():  # an editable install keeps them apart
        shutil.copytree(kernels, copied / "kernels", ignore=ignore)
    for folder in [copied, *(path for path in copied.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    code = """
    import sys, pathlib
    import fastntk.kernels
    assert pathlib.Path(fastntk.kernels.__file__).is_relative_to(sys.argv[1]), fastntk.kernels.__file__
    print(digest(1))
    assert not list(pathlib.Path(sys.argv[1]).rglob("*.nbi"))
    """
    blocked = {"NUMBA_CACHE_DIR": "/dev/null/cache", "XDG_CACHE_HOME": "/dev/null", "HOME": "/dev/null"}
    found = run_script(
        code,
        tmp_path,
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path / "site"),
        PYTHONDONTWRITEBYTECODE="1",
        **blocked,
    )
    assert found == digest
