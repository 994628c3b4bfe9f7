"""Which path a process takes, and that it never takes one the host lacks."""

import numpy as np
import pytest

from fastntk.kernels import load
from fastntk.kernels.cpu import paths
from fastntk.kernels.cpu.compiling import compiled


def test_the_fastest_available_path_is_the_default(monkeypatch):
    monkeypatch.delenv(paths.VARIABLE, raising=False)
    assert load().name == paths.available_paths()[0]


def test_the_environment_variable_forces_a_path(monkeypatch):
    monkeypatch.setenv(paths.VARIABLE, "plain")
    assert load().name == "plain"


def test_an_unknown_path_is_refused(monkeypatch):
    monkeypatch.setenv(paths.VARIABLE, "sse9")
    with pytest.raises(
        ValueError, match="FASTNTK_CPU_PATH is 'sse9'; it must be one of 'avx512', 'avx2', 'plain'"
    ):
        load()


def test_a_path_the_host_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(paths, "target_features", lambda: {"sse2", "avx2", "fma"})
    assert paths.available_paths() == ["avx2", "plain"]
    with pytest.raises(ValueError, match="'avx512', but this process compiles without avx512bw"):
        paths.chosen_path("avx512")


def test_numba_feature_overrides_are_respected(monkeypatch):
    from numba.core import config

    monkeypatch.setattr(config, "CPU_FEATURES", "+sse2,-avx2")
    assert paths.available_paths() == ["plain"]


def test_column_block_is_a_multiple_of_every_tile():
    from fastntk.kernels.cpu.coactivation import COLUMN_BLOCK

    assert all(COLUMN_BLOCK % path.count_columns == 0 for path in paths.PATHS.values())


def test_relu_block_is_whole_panels_on_every_path():
    from fastntk.engine.chunk import RELU_BLOCK

    assert all(RELU_BLOCK % load(name).group_width == 0 for name in paths.available_paths())


def test_row_padding_fits_all_tiles():
    for name in paths.available_paths():
        kernels = load(name)
        tiles = kernels.path.forward_rows, *kernels._counting.tile(kernels.path)
        assert all(kernels.bits_shape(1, 1)[0] % tile == 0 for tile in tiles)
        assert kernels.empty((3, 5), np.float32).ctypes.data % 64 == 0


def test_what_the_disk_cache_would_never_find_again_is_refused():
    inner = compiled(lambda: 1)

    def outer():
        return inner()

    with pytest.raises(TypeError, match="only numbers can be cached"):
        compiled(outer)
