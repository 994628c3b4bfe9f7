// One block of CUDA threads on one CPU thread: a fiber for each, which runs until it has to wait for others.
//
// Waiting is all that CUDA threads do together: for the block at a barrier, for the warp at a warp-wide
// operation.  A warp runs on as far as it can before the next one starts, so threads are as far apart as the
// barriers allow; the order of warps, of lanes and of blocks is a setting.  What the hardware leaves
// undefined fails here: lanes that meet at different operations, a barrier that some threads never reach,
// an address outside of an array (a fault at a guard page), reading shared memory before it is written
// (it holds 0xA5).
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <numeric>
#include <source_location>
#include <vector>
#include "failures.h"

// Shared memory that kernels declare themselves is one section of the library, so that it can be poisoned.
extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace cuda_cpu {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 * 1024;
constexpr int POISON = 0xA5;
enum Order : int { FORWARD, REVERSE, SHUFFLED };

struct TensorCore {  // how it adds: ptx.cuh
    int step, bits, direction, backward;
};

struct Settings {  // as emulator.py declares it
    unsigned grid[3], block[3];
    uint64_t shared_bytes;
    int order;
    unsigned seed;
    TensorCore tensor_core;
};

struct Copy {  // of 16 bytes into shared memory that is under way
    void* to;
    const void* from;
};

struct Fiber {
    void* stack_pointer;
    bool ended;
    const uint64_t* generation;  // it waits until this is no longer ...
    uint64_t seen;               // ... what it was
    unsigned line;               // of the source, where it waits
    std::vector<std::vector<Copy>> copies;  // groups in order; the last one is open

    bool ready() const { return !ended && (!generation || *generation != seen); }
};

struct Meeting {  // of the threads of a block or of the lanes of a warp
    unsigned arrived = 0, line = 0;
    uint64_t generation = 0;
    const char* what = nullptr;
};

constexpr size_t LANE_BYTES = 32;
struct Lane {
    unsigned char bytes[LANE_BYTES];
};
struct Warp : Meeting {
    Lane in[WARP], out[WARP];
};
struct Barrier : Meeting {
    int sum = 0, total = 0;
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Barrier barrier;
inline unsigned current;  // the fiber that runs
inline dim3 block_size, grid_size;
inline std::function<void()> kernel;
inline char* dynamic_shared_memory;
inline void* scheduler;
inline uint32_t random_state;
inline TensorCore tensor_core;

// ------------------------------------------------------------------------------------ switching
extern "C" void cuda_cpu_switch(void** from, void* to);  // saves what a call has to keep, x86-64
asm(R"(.text
.weak cuda_cpu_switch
.hidden cuda_cpu_switch
cuda_cpu_switch:
 push %rbp
 push %rbx
 push %r12
 push %r13
 push %r14
 push %r15
 mov %rsp, (%rdi)
 mov %rsi, %rsp
 pop %r15
 pop %r14
 pop %r13
 pop %r12
 pop %rbx
 pop %rbp
 ret
)");

// Copies happen at the latest when they are waited for, or at the end of the thread.
inline void finish_copies(size_t groups_left) {
    auto& groups = fibers[current].copies;
    while (groups.size() > groups_left) {
        for (const Copy& copy : groups.front()) memcpy(copy.to, copy.from, 16);
        groups.erase(groups.begin());
    }
}

inline void start() {
    kernel();
    finish_copies(0);
    fibers[current].ended = true;
    cuda_cpu_switch(&fibers[current].stack_pointer, scheduler);
    fail(0, "a thread that has ended was resumed");
}

inline char* stack_end(unsigned fiber) {
    static std::deque<GuardedMemory> stacks;
    while (stacks.size() <= fiber) stacks.emplace_back(STACK);
    return stacks[fiber].end();
}

inline void prepare(unsigned number) {
    void** top = (void**)stack_end(number);
    top[-2] = (void*)start;  // where the first switch returns to, with the stack aligned as a call has it
    fibers[number] = {top - 8, false, nullptr, 0, 0, {{}}};
}

inline void resume(unsigned number) {
    current = number;
    thread = {number % block_size.x, number / block_size.x % block_size.y, number / (block_size.x * block_size.y)};
    cuda_cpu_switch(&scheduler, fibers[number].stack_pointer);
}

inline void wait(Meeting& meeting) {
    Fiber& fiber = fibers[current];
    fiber.generation = &meeting.generation;
    fiber.seen = meeting.generation;
    fiber.line = meeting.line;
    cuda_cpu_switch(&fiber.stack_pointer, scheduler);
    fibers[current].generation = nullptr;
}

// True for the last one to arrive, who closes the meeting and does not wait.
inline bool arrive(Meeting& meeting, unsigned expected, const char* what, std::source_location where) {
    if (meeting.arrived == 0) {
        meeting.what = what;
        meeting.line = where.line();
    } else if (strcmp(meeting.what, what) || meeting.line != where.line()) {
        fail(0, "threads meet at different operations: %s of line %u, %s of line %u", meeting.what, meeting.line,
             what, (unsigned)where.line());
    }
    if (++meeting.arrived < expected) return false;
    meeting.arrived = 0;
    meeting.generation++;
    return true;
}

// Every thread of the block: the sum of what they bring.
inline int meet_block(int value, const char* what, std::source_location where) {
    barrier.sum += value;
    if (arrive(barrier, fibers.size(), what, where)) {
        barrier.total = barrier.sum;
        barrier.sum = 0;
    } else {
        wait(barrier);
    }
    return barrier.total;
}

// Every lane of the warp: what each of them brings.
template <class T>
const Lane* meet_warp(unsigned mask, const T& value, const char* what, std::source_location where) {
    static_assert(sizeof(T) <= LANE_BYTES);
    if (mask != ~0u) fail(0, "%s with the mask %#x: whole warps are all that is emulated", what, mask);
    Warp& warp = warps[current / WARP];
    memcpy(warp.in[current % WARP].bytes, &value, sizeof(T));
    if (arrive(warp, WARP, what, where))
        memcpy(warp.out, warp.in, sizeof warp.in);
    else
        wait(warp);
    return warp.out;
}

template <class T>
T of_lane(const Lane* lanes, unsigned lane) {
    T value;
    memcpy(&value, lanes[lane].bytes, sizeof(T));
    return value;
}

// ----------------------------------------------------------------------------------- scheduling
inline void arrange(std::vector<unsigned>& numbers, int order) {
    if (order == REVERSE) std::reverse(numbers.begin(), numbers.end());
    if (order == SHUFFLED)
        for (unsigned i = numbers.size(); i > 1; i--) {
            random_state = random_state * 1664525u + 1013904223u;
            std::swap(numbers[i - 1], numbers[(uint64_t)random_state * i >> 32]);
        }
}

inline std::vector<unsigned> numbers_below(unsigned count, int order) {
    std::vector<unsigned> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 0u);
    arrange(numbers, order);
    return numbers;
}

inline bool run_warp(unsigned warp, std::vector<unsigned>& lanes, int order) {
    bool any = false;
    for (bool moved = true; moved; any |= moved) {
        moved = false;
        if (order == SHUFFLED) arrange(lanes, order);
        for (unsigned lane : lanes)
            if (fibers[warp * WARP + lane].ready()) {
                resume(warp * WARP + lane);
                moved = true;
            }
    }
    return any;
}

inline void run_block(int order) {
    for (unsigned i = 0; i < fibers.size(); i++) prepare(i);
    warps.assign(fibers.size() / WARP, Warp());
    barrier = Barrier();
    auto warp_order = numbers_below(warps.size(), order);
    auto lanes = numbers_below(WARP, order);
    for (bool moved = true; moved;) {
        moved = false;
        if (order == SHUFFLED) arrange(warp_order, order);
        for (unsigned warp : warp_order) moved |= run_warp(warp, lanes, order);
    }
    auto ended = std::count_if(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.ended; });
    for (unsigned i = 0; i < fibers.size(); i++)
        if (!fibers[i].ended)
            fail(0, "deadlock: thread %u waits at line %u; %ld of %zu threads have ended", i, fibers[i].line,
                 (long)ended, fibers.size());
}

inline void poison_shared(size_t bytes) {
    memset(dynamic_shared_memory, POISON, bytes);
    if (__start_cuda_shared) memset(__start_cuda_shared, POISON, __stop_cuda_shared - __start_cuda_shared);
}

// 0 where every block came to its end, else 1 and what happened in `what_failed`.
inline int launch(const Settings& settings, Failure* what_failed, std::function<void()> body) {
    const unsigned *g = settings.grid, *b = settings.block;
    failure = what_failed;
    grid_size = {g[0], g[1], g[2]};
    block_size = {b[0], b[1], b[2]};
    kernel = body;
    random_state = settings.seed;
    tensor_core = settings.tensor_core;
    GuardedMemory shared(settings.shared_bytes);
    dynamic_shared_memory = shared.end() - settings.shared_bytes;
    SignalsCaught caught;
    if (sigsetjmp(recovery, 1)) return 1;
    block = thread = {0, 0, 0};
    unsigned threads = b[0] * b[1] * b[2];
    if (threads % WARP || threads > 1024) fail(0, "a block of %u threads: whole warps, at most 1024", threads);
    if (settings.shared_bytes % 16) fail(0, "shared memory is given in multiples of 16 bytes");
    fibers.assign(threads, Fiber());
    for (unsigned number : numbers_below(g[0] * g[1] * g[2], settings.order)) {
        block = {number % g[0], number / g[0] % g[1], number / (g[0] * g[1])};
        poison_shared(settings.shared_bytes);
        run_block(settings.order);
    }
    return 0;
}

}  // namespace cuda_cpu
