// CUDA C++ as far as the kernels use it, for g++: keywords, vector types, intrinsics, and kernels that
// Python can call.  The fibers that its threads are: fibers.h.  What is PTX on a device: ptx.cuh.
#pragma once
#include <bit>
#include <cfenv>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include "fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __constant__ static const
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("cuda_shared")))

#define threadIdx (cuda_cpu::thread)
#define blockIdx (cuda_cpu::block)
#define blockDim (cuda_cpu::block_size)
#define gridDim (cuda_cpu::grid_size)
constexpr int warpSize = 32;

struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// ------------------------------------------------------------------------------- threads together
#define HERE std::source_location where = std::source_location::current()

inline void __syncthreads(HERE) { cuda_cpu::meet_block(0, "__syncthreads", where); }
inline int __syncthreads_count(int p, HERE) { return cuda_cpu::meet_block(p != 0, "__syncthreads_count", where); }
inline int __syncthreads_or(int p, HERE) { return cuda_cpu::meet_block(p != 0, "__syncthreads_or", where) != 0; }
inline int __syncthreads_and(int p, HERE) { return cuda_cpu::meet_block(p == 0, "__syncthreads_and", where) == 0; }
inline void __syncwarp(unsigned mask = ~0u, HERE) { cuda_cpu::meet_warp(mask, 0, "__syncwarp", where); }

inline unsigned __ballot_sync(unsigned mask, int predicate, HERE) {
    auto lanes = cuda_cpu::meet_warp(mask, predicate, "__ballot_sync", where);
    unsigned bits = 0;
    for (unsigned i = 0; i < 32; i++) bits |= unsigned(cuda_cpu::of_lane<int>(lanes, i) != 0) << i;
    return bits;
}
inline int __any_sync(unsigned mask, int predicate, HERE) { return __ballot_sync(mask, predicate, where) != 0; }
inline int __all_sync(unsigned mask, int predicate, HERE) { return __ballot_sync(mask, predicate, where) == ~0u; }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, HERE) {
    unsigned lane = cuda_cpu::current % 32, first = lane / width * width;
    return cuda_cpu::of_lane<T>(cuda_cpu::meet_warp(mask, value, "__shfl_sync", where), first + source % width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, HERE) {
    int lane = cuda_cpu::current % 32 % width;
    return __shfl_sync(mask, value, lane ^ bits, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, HERE) {
    int lane = cuda_cpu::current % 32 % width, source = lane - int(distance);
    return __shfl_sync(mask, value, source < 0 ? lane : source, width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, HERE) {
    int lane = cuda_cpu::current % 32 % width, source = lane + int(distance);
    return __shfl_sync(mask, value, source >= width ? lane : source, width, where);
}

template <class T, class F>
T reduce_lanes(unsigned mask, T value, const char* what, std::source_location where, F both) {
    static_assert(sizeof(T) == 4 && std::is_integral_v<T>);
    auto lanes = cuda_cpu::meet_warp(mask, value, what, where);
    T result = cuda_cpu::of_lane<T>(lanes, 0);
    for (unsigned i = 1; i < 32; i++) result = both(result, cuda_cpu::of_lane<T>(lanes, i));
    return result;
}
#define REDUCE(name, expression)                                                             \
    template <class T>                                                                       \
    T name(unsigned mask, T value, HERE) {                                                   \
        return reduce_lanes(mask, value, #name, where, [](T a, T b) { return T(expression); }); \
    }
REDUCE(__reduce_add_sync, unsigned(a) + unsigned(b))
REDUCE(__reduce_min_sync, a < b ? a : b)
REDUCE(__reduce_max_sync, a > b ? a : b)
REDUCE(__reduce_and_sync, a & b)
REDUCE(__reduce_or_sync, a | b)
REDUCE(__reduce_xor_sync, a ^ b)
#undef REDUCE

// One fiber runs at a time, so a plain access is atomic.
template <class T, class F>
T change(T* place, F f) {
    T before = *place;
    *place = f(before);
    return before;
}
template <class T> T atomicAdd(T* p, std::type_identity_t<T> v) { return change(p, [=](T old) { return old + v; }); }
template <class T> T atomicOr(T* p, std::type_identity_t<T> v) { return change(p, [=](T old) { return old | v; }); }
template <class T> T atomicMin(T* p, std::type_identity_t<T> v) { return change(p, [=](T old) { return old < v ? old : v; }); }
template <class T> T atomicMax(T* p, std::type_identity_t<T> v) { return change(p, [=](T old) { return old > v ? old : v; }); }
template <class T> T atomicExch(T* p, std::type_identity_t<T> v) { return change(p, [=](T) { return v; }); }
template <class T> T atomicCAS(T* p, std::type_identity_t<T> was, std::type_identity_t<T> v) {
    return change(p, [=](T old) { return old == was ? v : old; });
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ------------------------------------------------------------------------------------ arithmetic
// Rounded once: compiled with -ffp-contract=off, so nothing is fused but what says so.
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }

// The same rounded upward, for bounds.  volatile: the compiler does not know of rounding modes.
template <class T, class F, class... V>
__attribute__((noinline)) T upward(F f, V... values) {
    int before = fegetround();
    fesetround(FE_UPWARD);
    volatile T result = f(static_cast<volatile V&>(values)...);
    fesetround(before);
    return result;
}
inline float __fmul_ru(float a, float b) { return upward<float>([](float x, float y) { return x * y; }, a, b); }
inline float __fadd_ru(float a, float b) { return upward<float>([](float x, float y) { return x + y; }, a, b); }
inline float __fsqrt_ru(float a) { return upward<float>([](float x) { return std::sqrt(x); }, a); }
inline float __fmaf_ru(float a, float b, float c) {
    return upward<float>([](float x, float y, float z) { return std::fma(x, y, z); }, a, b, c);
}
inline double __dmul_ru(double a, double b) { return upward<double>([](double x, double y) { return x * y; }, a, b); }
inline double __dadd_ru(double a, double b) { return upward<double>([](double x, double y) { return x + y; }, a, b); }
inline float __double2float_ru(double a) { return upward<float>([](double x) { return float(x); }, a); }

inline float __int2float_rn(int a) { return float(a); }
inline float __uint2float_rn(unsigned a) { return float(a); }
inline double __int2double_rn(int a) { return a; }
inline double __ll2double_rn(long long a) { return double(a); }
inline float __double2float_rn(double a) { return float(a); }
inline int __float2int_rn(float a) { return int(std::nearbyint(a)); }
inline long long __double2ll_rn(double a) { return (long long)(std::nearbyint(a)); }

inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline double __longlong_as_double(long long a) { return std::bit_cast<double>(a); }

inline int __popc(unsigned a) { return std::popcount(a); }
inline int __popcll(unsigned long long a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(unsigned(a)); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline unsigned __brev(unsigned a) {
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) bits |= (a >> i & 1u) << (31 - i);
    return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) << (shift & 31) >> 32);
}
template <class T> T __ldg(const T* place) { return *place; }

using std::fabs, std::sqrt, std::isfinite, std::isnan;
template <class T> constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T> constexpr T max(T a, T b) { return a < b ? b : a; }

// --------------------------------------------------------------------------- kernels for Python
namespace cuda_cpu {

// "i4" an int, "*f8" a pointer to doubles, "*" a pointer to vectors: as emulator.py describes arguments.
template <class T>
std::string type_name() {
    if constexpr (std::is_pointer_v<T>) {
        using Item = std::remove_cv_t<std::remove_pointer_t<T>>;
        if constexpr (std::is_arithmetic_v<Item>) return "*" + type_name<Item>();
        return "*";
    } else {
        static_assert(std::is_arithmetic_v<T>, "kernels take numbers and pointers");
        const char* kind = std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "i" : "u";
        return kind + std::to_string(sizeof(T));
    }
}

inline bool fits(const std::string& declared, const std::string& given) {
    return declared == "*" ? given[0] == '*' : declared == given;
}

template <class... A, size_t... I>
int call(void (*body)(A...), std::index_sequence<I...>, const Settings* settings, Failure* failure,
         unsigned count, void** values, const char** types) {
    std::string declared[] = {type_name<A>()..., ""}, want, got;
    bool all_fit = count == sizeof...(A);
    for (size_t i = 0; i < sizeof...(A); i++) {
        want += declared[i] + " ";
        all_fit = all_fit && fits(declared[i], types[i]);
    }
    for (unsigned i = 0; i < count; i++) got += std::string(types[i]) + " ";
    if (!all_fit) {
        snprintf(failure->message, sizeof failure->message, "takes ( %s), not ( %s)", want.c_str(), got.c_str());
        return 2;
    }
    return launch(*settings, failure, [=] { body(*static_cast<std::remove_cv_t<A>*>(values[I])...); });
}

template <class... A>
int call(void (*body)(A...), const Settings* s, Failure* f, unsigned count, void** values, const char** types) {
    return call(body, std::index_sequence_for<A...>(), s, f, count, values, types);
}

template <class T>
T* dynamic_shared() {
    return reinterpret_cast<T*>(dynamic_shared_memory);
}

}  // namespace cuda_cpu

#define CALLED_FROM_PYTHON(name)                                                                               \
    extern "C" __attribute__((visibility("default"))) int call_##name(                                         \
        const cuda_cpu::Settings* settings, cuda_cpu::Failure* failure, unsigned count, void** values,         \
        const char** types) {                                                                                  \
        return cuda_cpu::call(name, settings, failure, count, values, types);                                  \
    }
