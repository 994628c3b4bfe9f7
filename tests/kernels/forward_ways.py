"""Every way to a pattern that this host has: that of each path, and with AMX for however few rows."""

from unittest import mock

from fastntk.kernels import cpu, load
from fastntk.kernels.cpu.paths import PATHS, available_paths


class ByTiles(cpu.CpuKernels):
    """Kernels whose forward pass is that of AMX whatever the number of rows."""

    def forward(self, dtype):
        return super().forward(dtype).many


WAYS = {name: load(name) for name in available_paths()}
WITH_AMX = any(kernels.forwards_with_amx for kernels in WAYS.values())
if WITH_AMX:
    WAYS["amx"] = ByTiles(PATHS["avx512"])
    with mock.patch.object(cpu, "forwards_with_amx", return_value=False):
        WAYS["avx512 without amx"] = cpu.CpuKernels(PATHS["avx512"])
