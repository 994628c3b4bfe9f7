// What a kernel must not do ends its launch: where it happened is kept, and control goes back to the caller.
//
// Faults are signals.  They are caught while a kernel runs, on a stack of their own, because a fiber's may be
// what has run out.
#pragma once
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <sys/mman.h>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace cuda_cpu {

struct Failure {  // as emulator.py declares it
    uint64_t address;
    dim3 block, thread;
    char message[400];
};

// Whole pages, before and after which there are addresses that fault.
class GuardedMemory {
    static constexpr size_t PAGE = 4096, GUARD = 1 << 20;
    size_t size;
    char* memory;

public:
    explicit GuardedMemory(size_t bytes) : size((bytes + PAGE - 1) / PAGE * PAGE) {
        memory = (char*)mmap(nullptr, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (size) mprotect(memory + GUARD, size, PROT_READ | PROT_WRITE);
    }
    GuardedMemory(const GuardedMemory&) = delete;
    ~GuardedMemory() { munmap(memory, size + 2 * GUARD); }
    char* end() const { return memory + GUARD + size; }
};

inline dim3 thread, block;  // that run
inline sigjmp_buf recovery;
inline Failure* failure;

[[noreturn]] inline void fail(uint64_t address, const char* format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(failure->message, sizeof failure->message, format, values);
    va_end(values);
    failure->address = address;
    failure->block = block;
    failure->thread = thread;
    siglongjmp(recovery, 1);
}

inline void on_signal(int number, siginfo_t* info, void*) {
    if (number == SIGSEGV || number == SIGBUS)
        fail((uint64_t)info->si_addr, "access to an address that is not the kernel's");
    fail(0, number == SIGILL ? "index outside of an array, misaligned address, or shift by too much"
                             : "signal %d", number);
}

class SignalsCaught {  // while a kernel runs
    static constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    static inline char stack[64 * 1024];
    struct sigaction before[5];
    stack_t stack_before;

public:
    SignalsCaught() {
        stack_t own{};
        own.ss_sp = stack;
        own.ss_size = sizeof stack;
        sigaltstack(&own, &stack_before);
        struct sigaction action{};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (int i = 0; i < 5; i++) sigaction(SIGNALS[i], &action, &before[i]);
    }
    ~SignalsCaught() {
        for (int i = 0; i < 5; i++) sigaction(SIGNALS[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};

}  // namespace cuda_cpu
