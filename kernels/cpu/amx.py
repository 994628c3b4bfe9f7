"""Matrix tiles of Intel AMX: eight registers of 16 rows of 64 bytes, and products that add up in them.

Only for processes that may use them: ``paths.counts_with_amx`` and ``paths.forwards_with_amx`` say so.
"""

import numpy as np
from llvmlite import ir

from .simd import vector_kernel

TILE = 16  # rows of a register, and its columns of 32 bits
TILE_BYTES = 64 * TILE
CONFIGURATION = np.zeros(64, np.uint8)  # eight full registers, in the format of the instruction ldtilecfg
CONFIGURATION[0] = 1  # the palette
CONFIGURATION[16:32].view(np.uint16)[:] = 64  # bytes of a row
CONFIGURATION[48:56] = TILE  # rows


def _register(number):
    return ir.Constant(ir.IntType(8), number)


def _move(emit, instruction, number, address, stride):
    place = emit.pointer(address), emit.integer(stride)
    emit.call(f"llvm.x86.{instruction}", ir.VoidType(), _register(number), *place)


def zero_tile(emit, number):
    """Clear a register."""
    emit.call("llvm.x86.tilezero", ir.VoidType(), _register(number))


def load_tile(emit, number, address, stride):
    """Fill a register from rows of 64 bytes that are ``stride`` apart."""
    _move(emit, "tileloadd64", number, address, stride)


def store_tile(emit, number, address, stride):
    """Write a register to rows of 64 bytes that are ``stride`` apart."""
    _move(emit, "tilestored64", number, address, stride)


def add_byte_products(emit, sums, left, right, left_signed=False, right_signed=False):
    """sums[i, j] += sum_k left[i, k] right[k // 4, j, k % 4] of bytes, exact in int32."""
    signs = "".join("s" if signed else "u" for signed in (left_signed, right_signed))
    emit.call(f"llvm.x86.tdpb{signs}d", ir.VoidType(), *map(_register, (sums, left, right)))


def add_bfloat16_products(emit, sums, left, right):
    """sums[i, j] += sum_k left[i, k] right[k // 2, j, k % 2]: bfloat16, 32 products, added in float32.

    Intel specifies the order and the roundings (Intel 64 and IA-32 Architectures Software Developer's
    Manual, volume 2, TDPBF16PS): one chain of 16 fused multiply-adds over the even k and one over the odd
    k, each from 0; the sum of the two; that added to ``sums``.  Every result is rounded to nearest even,
    denormal operands count as 0 and denormal results become 0, whatever MXCSR says.
    """
    emit.call("llvm.x86.tdpbf16ps", ir.VoidType(), *map(_register, (sums, left, right)))


@vector_kernel
def configure_tiles(emit, configuration):
    """Begin to use the registers, in this thread."""
    emit.call("llvm.x86.ldtilecfg", ir.VoidType(), emit.pointer(configuration))


@vector_kernel
def release_tiles(emit):
    """End it: the system need not save them any more."""
    emit.call("llvm.x86.tilerelease", ir.VoidType())
