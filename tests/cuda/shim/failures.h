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

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace cuda_cpu {

struct Failure {  // as emulator.py declares it
    uint64_t address;
    dim3 block, thread;
    char message[400];
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
