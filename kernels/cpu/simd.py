"""A small vector type for writing Numba intrinsics that read like their formulas.

Numba's own loops leave half to two thirds of the machine unused here: the vectoriser will not keep
a register tile, and has no population count or fused multiply-add of chosen width.  So the inner
kernels are written as LLVM vector code: a function decorated with :func:`vector_kernel` receives an
:class:`Emitter` and its arguments as :class:`Value` objects, whose operators emit instructions.

    @vector_kernel
    def add_one(emit, lanes, address):
        v = emit.load(f32(lanes), address)
        emit.store(v + 1.0, address)

Inside an ``njit`` function ``add_one(16, array.ctypes.data)`` then is one vector load, add, store.
Arguments that are compile-time integers (``lanes``) arrive as Python ints: the same source serves
every vector length.  Floating-point code is emitted without fast-math flags, so each operator is one
IEEE operation and :meth:`Emitter.fma` is the only fused one.
"""

import inspect
import struct

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


def f32(lanes):
    return ir.VectorType(ir.FloatType(), lanes)


def f64(lanes):
    return ir.VectorType(ir.DoubleType(), lanes)


def i32(lanes):
    return ir.VectorType(_I32, lanes)


def i64(lanes):
    return ir.VectorType(_I64, lanes)


def _is_float(llvm_type):
    return isinstance(getattr(llvm_type, "element", llvm_type), (ir.FloatType, ir.DoubleType))


def _constant(llvm_type, number):
    element = getattr(llvm_type, "element", llvm_type)
    if isinstance(element, ir.FloatType):
        number = struct.unpack("f", struct.pack("f", number))[0]  # LLVM wants an exact fp32
    elif isinstance(element, ir.IntType):
        number = int(number) & ((1 << element.width) - 1)
    if isinstance(llvm_type, ir.VectorType):
        return ir.Constant(llvm_type, [number] * llvm_type.count)
    return ir.Constant(llvm_type, number)


class Value:
    """An LLVM scalar or vector with the arithmetic of its type; Python numbers are broadcast."""

    __slots__ = ("emit", "llvm")

    def __init__(self, emit, llvm):
        self.emit = emit
        self.llvm = llvm

    @property
    def type(self):
        return self.llvm.type

    def _binary(self, other, integer, floating=None):
        other = other.llvm if isinstance(other, Value) else _constant(self.type, other)
        name = floating if _is_float(self.type) else integer
        return Value(self.emit, getattr(self.emit.builder, name)(self.llvm, other))

    def __add__(self, other):
        return self._binary(other, "add", "fadd")

    def __sub__(self, other):
        return self._binary(other, "sub", "fsub")

    def __mul__(self, other):
        return self._binary(other, "mul", "fmul")

    def __and__(self, other):
        return self._binary(other, "and_")

    def __or__(self, other):
        return self._binary(other, "or_")

    def __xor__(self, other):
        return self._binary(other, "xor")

    def __floordiv__(self, other):
        """Unsigned integer division."""
        return self._binary(other, "udiv")

    def __lshift__(self, other):
        return self._binary(other, "shl")

    def __rshift__(self, other):
        """Logical shift right."""
        return self._binary(other, "lshr")

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return Value(self.emit, _constant(self.type, other)) - self

    def _compare(self, method, operator, other):
        other = other.llvm if isinstance(other, Value) else _constant(self.type, other)
        return Value(self.emit, getattr(self.emit.builder, method)(operator, self.llvm, other))

    def above(self, other):
        """Float >, false for NaN."""
        return self._compare("fcmp_ordered", ">", other)

    def not_above(self, other):
        """Float <=, true for NaN."""
        return self._compare("fcmp_unordered", "<=", other)

    def differs(self, other):
        """Integer !=."""
        return self._compare("icmp_signed", "!=", other)

    def equals(self, other):
        """Integer ==."""
        return self._compare("icmp_signed", "==", other)

    def choose(self, if_true, if_false):
        """Lane-wise selection by this mask."""
        return Value(self.emit, self.emit.builder.select(self.llvm, if_true.llvm, if_false.llvm))

    def bitcast(self, llvm_type):
        return Value(self.emit, self.emit.builder.bitcast(self.llvm, llvm_type))

    def signed_to_float(self, llvm_type):
        return Value(self.emit, self.emit.builder.sitofp(self.llvm, llvm_type))

    def unsigned_to_float(self, llvm_type):
        return Value(self.emit, self.emit.builder.uitofp(self.llvm, llvm_type))

    def zero_extended(self, llvm_type):
        """Unsigned integers in wider ones."""
        return Value(self.emit, self.emit.builder.zext(self.llvm, llvm_type))

    def widened(self, llvm_type):
        """fp32 as float64."""
        return Value(self.emit, self.emit.builder.fpext(self.llvm, llvm_type))

    def rounded(self, llvm_type):
        """float64 as fp32, rounded once."""
        return Value(self.emit, self.emit.builder.fptrunc(self.llvm, llvm_type))

    def mask_bits(self, width):
        """A vector of booleans as an integer of ``width`` bits, lane 0 lowest."""
        packed = self.emit.builder.bitcast(self.llvm, ir.IntType(self.type.count))
        if width > self.type.count:
            packed = self.emit.builder.zext(packed, ir.IntType(width))
        return Value(self.emit, packed)


class Emitter:
    """What a vector kernel emits that is not an operator of a value."""

    def __init__(self, builder):
        self.builder = builder

    def integer(self, number):
        """A 64-bit integer value (an existing value is passed through)."""
        return number if isinstance(number, Value) else Value(self, _constant(_I64, number))

    def constant(self, llvm_type, number):
        return Value(self, _constant(llvm_type, number))

    def lane_constants(self, llvm_type, numbers):
        """An integer vector of these numbers."""
        return Value(self, ir.Constant(llvm_type, list(numbers)))

    def gather(self, llvm_type, addresses):
        """The elements at these addresses as a vector, lane 0 first."""
        vector = ir.Constant(llvm_type, ir.Undefined)
        for lane, address in enumerate(addresses):
            element = self.load(llvm_type.element, address).llvm
            vector = self.builder.insert_element(vector, element, ir.Constant(_I32, lane))
        return Value(self, vector)

    def load(self, llvm_type, address, offset=0, align=4):
        load = self.builder.load(self.pointer(address, offset, llvm_type))
        load.align = align
        return Value(self, load)

    def store(self, value, address, offset=0, align=1):
        store = self.builder.store(value.llvm, self.pointer(address, offset, value.type))
        store.align = align

    def prefetch(self, address):
        """Ask for the cache line of an address, which is about to be read."""
        reading, soon, data = (ir.Constant(_I32, number) for number in (0, 3, 1))
        self.call("llvm.prefetch.p0", ir.VoidType(), self.pointer(address), reading, soon, data)

    def pointer(self, address, offset=0, llvm_type=_I8):
        """An address as what instructions take: an LLVM pointer."""
        return self.builder.inttoptr((self.integer(address) + offset).llvm, llvm_type.as_pointer())

    def broadcast(self, value, lanes):
        """A scalar in every lane."""
        vector = ir.VectorType(value.type, lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value.llvm, ir.Constant(_I32, 0))
        picks = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
        return Value(self, self.builder.shuffle_vector(first, undefined, picks))

    def shuffle(self, a, b, picks):
        """The lanes ``picks`` of a and b, those of b counted on from those of a."""
        picks = ir.Constant(ir.VectorType(_I32, len(picks)), list(picks))
        return Value(self, self.builder.shuffle_vector(a.llvm, b.llvm, picks))

    def transposed(self, rows):
        """16 vectors of 16 lanes: lane i of vector j becomes lane j of vector i."""
        rows, lanes = list(rows), range(16)
        for distance in (1, 2, 4, 8):
            low = [lane if not lane & distance else 16 + lane - distance for lane in lanes]
            high = [lane + distance if not lane & distance else 16 + lane for lane in lanes]
            for first in (row for row in lanes if not row & distance):
                a, b = rows[first], rows[first + distance]
                rows[first], rows[first + distance] = self.shuffle(a, b, low), self.shuffle(a, b, high)
        return rows

    def load_broadcast(self, element, lanes, address, offset=0):
        return self.broadcast(self.load(element, address, offset), lanes)

    def narrow(self, value, width):
        """The low ``width`` bits of an integer."""
        return (
            value
            if value.type.width == width
            else Value(self, self.builder.trunc(value.llvm, ir.IntType(width)))
        )

    def bits_mask(self, value, lanes):
        """The low ``lanes`` bits of an integer as a vector of booleans, lowest first."""
        bits = self.builder.trunc(value.llvm, ir.IntType(lanes))
        return Value(self, self.builder.bitcast(bits, ir.VectorType(_I1, lanes)))

    def widen(self, value, width):
        """An unsigned integer in ``width`` bits."""
        return (
            value
            if value.type.width == width
            else Value(self, self.builder.zext(value.llvm, ir.IntType(width)))
        )

    def call(self, name, result_type, *values):
        """Call an LLVM intrinsic or external function by name."""
        operands = [v.llvm if isinstance(v, Value) else v for v in values]
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            signature = ir.FunctionType(result_type, [operand.type for operand in operands])
            function = ir.Function(module, signature, name)
        return Value(self, self.builder.call(function, operands))

    def call_address(self, address, result_type, *values):
        """Call a C function by its address."""
        signature = ir.FunctionType(result_type, [value.type for value in values])
        function = self.builder.inttoptr(self.integer(address).llvm, signature.as_pointer())
        return Value(self, self.builder.call(function, [value.llvm for value in values]))

    def _overloaded(self, name, value, *values):
        element = {"float": "f32", "double": "f64"}.get(str(value.type.element), str(value.type.element))
        return self.call(f"llvm.{name}.v{value.type.count}{element}", value.type, value, *values)

    def fma(self, a, b, c):
        """a * b + c rounded once."""
        return self._overloaded("fma", a, b, c)

    def multiply_add(self, fused, a, b, c):
        """a * b + c, rounded once where ``fused``, else twice."""
        return self.fma(a, b, c) if fused else a * b + c

    def sqrt(self, a):
        return self._overloaded("sqrt", a)

    def absolute(self, a):
        return self._overloaded("fabs", a)

    def population_count(self, a):
        return self._overloaded("ctpop", a)

    def smaller_magnitude(self, a, b):
        """Lane-wise min(|a|, |b|) of finite values."""
        if a.type.count == 16:  # one instruction with AVX-512
            keep_all = ir.Constant(ir.IntType(16), -1)
            minimum_of_magnitudes, current_rounding = ir.Constant(_I32, 10), ir.Constant(_I32, 4)
            name = "llvm.x86.avx512.mask.range.ps.512"
            zero = _constant(a.type, 0.0)
            return self.call(name, a.type, a, b, minimum_of_magnitudes, zero, keep_all, current_rounding)
        a, b = self.absolute(a), self.absolute(b)
        return b.above(a).choose(a, b)

    def horizontal_sum(self, a):
        """The sum of the lanes of an integer vector."""
        name = f"llvm.vector.reduce.add.v{a.type.count}{a.type.element}"
        return self.call(name, a.type.element, a)

    def horizontal_float_sum(self, a):
        """The sum of the lanes of a float vector, lane 0 first."""
        zero = _constant(a.type.element, 0.0)
        return self.call(f"llvm.vector.reduce.fadd.v{a.type.count}f32", a.type.element, zero, a)

    def horizontal_max(self, a):
        """The largest lane of a float vector."""
        element = {"float": "f32", "double": "f64"}[str(a.type.element)]
        return self.call(f"llvm.vector.reduce.fmax.v{a.type.count}{element}", a.type.element, a)

    def loop(self, count, carried, body):
        """for k in range(count): carried = body(k, carried)."""
        builder = self.builder
        before = builder.block
        test, inside, after = (builder.append_basic_block(name) for name in ("test", "loop", "after"))
        builder.branch(test)
        builder.position_at_end(test)
        k = builder.phi(_I64)
        k.add_incoming(_constant(_I64, 0), before)
        phis = []
        for value in carried:
            phi = builder.phi(value.type)
            phi.add_incoming(value.llvm, before)
            phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", k, self.integer(count).llvm), inside, after)
        builder.position_at_end(inside)
        following = body(Value(self, k), [Value(self, phi) for phi in phis])
        k.add_incoming((Value(self, k) + 1).llvm, builder.block)
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value.llvm, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return [Value(self, phi) for phi in phis]

    def when(self, condition, body):
        """body() where the condition holds; its integer result, or 0."""
        builder = self.builder
        before = builder.block
        inside, after = builder.append_basic_block("when"), builder.append_basic_block("after")
        builder.cbranch(condition.llvm, inside, after)
        builder.position_at_end(inside)
        result = body()
        end = builder.block
        builder.branch(after)
        builder.position_at_end(after)
        phi = builder.phi(result.type)
        phi.add_incoming(_constant(result.type, 0), before)
        phi.add_incoming(result.llvm, end)
        return Value(self, phi)


def vector_kernel(generate):
    """An intrinsic whose body is emitted by ``generate(emit, *arguments)``.

    Every argument is an integer: an address, a count, or (where the caller's value is known at compile
    time) a plain Python int.  The result, if any, is a 64-bit integer.
    """
    names = list(inspect.signature(generate).parameters.values())[1:]

    def definition(typingctx, *argument_types):
        result = types.int64 if generate.__annotations__.get("return") is int else types.void
        signature = result(*argument_types)

        def codegen(context, builder, signature, arguments):
            emit = Emitter(builder)
            values = [
                kind.literal_value if isinstance(kind, types.IntegerLiteral) else Value(emit, argument)
                for kind, argument in zip(signature.args, arguments, strict=True)
            ]
            out = generate(emit, *values)
            return context.get_dummy_value() if out is None else out.llvm

        return signature, codegen

    leading = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(definition)["__signature__"] = inspect.Signature([leading, *names])
    definition.__name__ = generate.__name__
    definition.__doc__ = generate.__doc__
    return intrinsic(prefer_literal=True)(definition)
