"""The emulator finds what it is there for: every fault planted here must be seen, in at least one order."""

import numpy as np
import pytest

from . import emulator
from .emulator import EmulatedDevice, EmulationError

SOURCE = """
#include "ptx.cuh"
extern "C" __global__ void __launch_bounds__(64) reversed(const int* from, int* to, int barriers) {
    __shared__ int kept[64];
    kept[threadIdx.x] = from[threadIdx.x];
    if (barriers) __syncthreads();
    to[threadIdx.x] = kept[63 - threadIdx.x];
}
extern "C" __global__ void shifted(const int* from, int* to, int by) {
    to[threadIdx.x] = from[static_cast<int>(threadIdx.x) + by];
}
extern "C" __global__ void shifted_write(int* to, int by) { to[static_cast<int>(threadIdx.x) + by] = 1; }
extern "C" __global__ void divergent_warp(int* to) {
    if (threadIdx.x % 2) to[threadIdx.x] = __ballot_sync(0xffffffffu, 1);
    else to[threadIdx.x] = __ballot_sync(0xffffffffu, 1);
}
extern "C" __global__ void divergent_barrier(int* to) {
    if (threadIdx.x < 32) __syncthreads();
    to[threadIdx.x] = 1;
}
extern "C" __global__ void other_barrier(int* to) {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
    to[threadIdx.x] = 1;
}
extern "C" __global__ void misaligned(const int* from, int* to) {
    to[threadIdx.x] = reinterpret_cast<const int4*>(from + 1)[0].x;
}
extern "C" __global__ void outside_of_static(int* to, int at) {
    __shared__ int kept[64];
    kept[threadIdx.x + at] = 1;
    to[threadIdx.x] = kept[threadIdx.x];
}
extern "C" __global__ void outside_of_dynamic(int* to, int at) {
    extern __shared__ int room[];
    room[threadIdx.x + at] = 1;
    to[threadIdx.x] = room[threadIdx.x];
}
__device__ int descend(int depth) {
    volatile int kept[32];
    kept[depth % 32] = depth;
    return depth ? descend(depth - 1) + kept[depth % 32] : 0;
}
extern "C" __global__ void deep(int* to, int depth) { to[threadIdx.x] = descend(depth); }
extern "C" __global__ void copied(const int* from, int* to, int waits) {
    extern __shared__ __align__(16) int room[];
    if (threadIdx.x < 16) copy_async_16(room + 4 * threadIdx.x, from + 4 * threadIdx.x);
    copy_async_commit();
    if (waits) copy_async_wait<0>();
    __syncthreads();
    to[threadIdx.x] = room[threadIdx.x];
}
extern "C" __global__ void loaded(int* to, int stride) {
    extern __shared__ __align__(16) int room[];
    for (int i = threadIdx.x; i < 8 * stride; i += blockDim.x) room[i] = i;
    __syncthreads();
    unsigned words[4];
    load_matrices(words, room + threadIdx.x % 8 * stride);
    to[threadIdx.x] = words[0];
}
"""

THREADS = 64
ALL_ORDERS = [("forward", 0), ("reverse", 0), ("shuffled", 1), ("shuffled", 2)]


@pytest.fixture(params=ALL_ORDERS, ids=str)
def device(request, emulator_folder):
    return planted(emulator_folder, *request.param)


def planted(folder, order, seed):
    return EmulatedDevice(folder, order, seed, sources=lambda _: {"planted.cu": SOURCE})


def run(device, kernel, *arguments, shared=0):
    """The 64 numbers that one block of 64 threads leaves; arrays are arguments after the result."""
    to = device.empty(THREADS, np.int32)
    scalars = [np.int32(value) for value in arguments if np.ndim(value) == 0]
    arrays = [device.upload(np.asarray(value, np.int32)) for value in arguments if np.ndim(value)]
    device.launch("planted", kernel, 1, THREADS, *arrays, to, *scalars, shared=shared)
    return device.download(to)


NUMBERS = np.arange(THREADS, dtype=np.int32)


def test_a_right_kernel_passes(device):
    np.testing.assert_array_equal(run(device, "reversed", NUMBERS, 1), NUMBERS[::-1])
    np.testing.assert_array_equal(run(device, "shifted", NUMBERS, 0), NUMBERS)
    np.testing.assert_array_equal(run(device, "copied", NUMBERS, 1, shared=256), NUMBERS)
    np.testing.assert_array_equal(run(device, "outside_of_dynamic", 0, shared=256), 1)


def test_a_missing_barrier_shows_in_every_order(device):
    assert not np.array_equal(run(device, "reversed", NUMBERS, 0), NUMBERS[::-1])


def test_a_copy_that_is_not_waited_for_shows(device):
    poisoned = np.full(4, emulator.POISON, np.uint8).view(np.int32)
    assert poisoned in run(device, "copied", NUMBERS, 0, shared=256)


@pytest.mark.parametrize("by", [1, -5000])
def test_reading_outside_of_an_array(device, by):
    with pytest.raises(EmulationError, match=r"shifted, block \(0, 0, 0\), thread .* not the kernel's"):
        run(device, "shifted", NUMBERS, by)


def test_copying_from_outside_of_an_array(device):
    """Though nobody waits for it."""
    with pytest.raises(EmulationError, match="not the kernel's"):
        run(device, "copied", NUMBERS[:60], 0, shared=256)


@pytest.mark.parametrize("by", [1, -1])
def test_writing_outside_of_an_array(device, by):
    with pytest.raises(EmulationError, match=r"argument 0, which has 256|outside of an array of 256"):
        run(device, "shifted_write", by)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("divergent_warp", "threads meet at different operations: __ballot_sync of line"),
        ("divergent_barrier", r"deadlock: thread \d+ waits at line \d+; 32 of 64 threads have ended"),
        ("other_barrier", "threads meet at different operations: __syncthreads of line"),
    ],
)
def test_threads_that_do_not_meet(device, kernel, message):
    with pytest.raises(EmulationError, match=message):
        run(device, kernel)


def test_misaligned_vectors(device):
    with pytest.raises(EmulationError, match="misaligned"):
        run(device, "misaligned", NUMBERS)


@pytest.mark.parametrize("kernel", ["outside_of_static", "outside_of_dynamic"])
@pytest.mark.parametrize("at", [1, -5000])
def test_outside_of_shared_memory(device, kernel, at):
    with pytest.raises(EmulationError, match=r"outside of an array|not the kernel's"):
        run(device, kernel, at, shared=256)


def test_rows_that_share_banks(device):
    rows = 36 * np.arange(8)[:, None] + np.arange(4)
    np.testing.assert_array_equal(run(device, "loaded", 36, shared=8 * 36 * 4), np.tile(rows.ravel(), 2))
    with pytest.raises(EmulationError, match="in the same banks"):
        run(device, "loaded", 32, shared=8 * 32 * 4)


def test_too_deep_a_stack(device):
    np.testing.assert_array_equal(run(device, "deep", 100), 5050)
    with pytest.raises(EmulationError, match="not the kernel's"):
        run(device, "deep", 20_000)


def test_a_failure_leaves_the_device_usable(device):
    for _ in range(3):
        with pytest.raises(EmulationError):
            run(device, "divergent_barrier")
        np.testing.assert_array_equal(run(device, "reversed", NUMBERS, 1), NUMBERS[::-1])


def test_arguments_have_the_types_of_the_kernel(emulator_folder):
    device = planted(emulator_folder, "forward", 0)
    numbers, to = device.upload(NUMBERS), device.empty(THREADS, np.int32)
    for wrong in (np.int64(0), np.float32(0)):
        with pytest.raises(TypeError, match=r"takes \( \*i4 \*i4 i4 \), not"):
            device.launch("planted", "shifted", 1, THREADS, numbers, to, wrong)
    with pytest.raises(TypeError, match="takes"):
        device.launch("planted", "shifted", 1, THREADS, numbers.view(np.float32), to, np.int32(0))
    with pytest.raises(TypeError, match="takes"):
        device.launch("planted", "shifted", 1, THREADS, numbers, to)
    with pytest.raises(TypeError, match="not int"):
        device.launch("planted", "shifted", 1, THREADS, numbers, to, 0)
    with pytest.raises(TypeError, match="of its own device"):
        device.launch("planted", "shifted", 1, THREADS, NUMBERS, to, np.int32(0))


def test_blocks_are_whole_warps(emulator_folder):
    device = planted(emulator_folder, "forward", 0)
    with pytest.raises(EmulationError, match="whole warps"):
        device.launch("planted", "shifted_write", 1, 33, device.empty(64, np.int32), np.int32(0))
    with pytest.raises(ValueError, match="positive"):
        device.launch("planted", "shifted_write", 0, 32, device.empty(64, np.int32), np.int32(0))
