/* SPDX-License-Identifier: MIT */
/* fault: signals that a thread brings upon itself.
 *
 * Model.    One handler for all of them. What it does not want goes to whoever
 *           had the signal before, with its siginfo intact: the old action is
 *           put back, and a fault of the processor happens again by itself,
 *           while a signal that was sent is sent again. So the core shows the
 *           true frame.
 * Threads.  Any, at any instruction. In the handler: no lock, no memory, no
 *           stdio; the unwinder, which with gcc 12 and glibc 2.35 needs none,
 *           and has been used once before, so that it is loaded.
 * Failure.  A second fault inside the handler finds its signal blocked: the
 *           kernel ends the process.
 * Rejected. siglongjmp out of a fault: what it interrupted may be the allocator,
 *           and other threads' data are corrupt by then. Ending the thread:
 *           others still point into it. It stands still instead. */
#include "os/fault.h"

#include <vivero/error.h>

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#define SIGNALS 5
#define RANGES_MAX 8
#define STACK_MIN ((size_t)64 * 1024)

static const int signals[SIGNALS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static struct sigaction before[SIGNALS]; /* written before `installed` */
static vv_fault_fn *decide_now;          /* as above */
static _Atomic bool installed;

/* Code that must not be left in the middle. Written before `installed`. */
static struct {
    uintptr_t from;
    uintptr_t to;
} ranges[RANGES_MAX];
static size_t range_count;

/* ---- Whose code it is -------------------------------------------------------- */

static bool is_delicate(const struct dl_phdr_info *object, uintptr_t from,
                        uintptr_t to)
{
    static const char *const names[] = {
        "libc.so",     "libc-",       "ld-linux",   "ld-musl",
        "libjemalloc", "libtcmalloc", "libmimalloc"};
    uintptr_t mine = (uintptr_t)vv_fault_install;

    if (object->dlpi_name == NULL || object->dlpi_name[0] == '\0') {
        return false; /* the program itself */
    }
    if (mine >= from && mine < to) {
        return true;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strstr(object->dlpi_name, names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static int note_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + part->p_vaddr;

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0 &&
            range_count < RANGES_MAX &&
            is_delicate(object, from, from + part->p_memsz)) {
            ranges[range_count].from = from;
            ranges[range_count].to = from + part->p_memsz;
            range_count++;
        }
    }
    return 0;
}

static bool is_in_range(uintptr_t address)
{
    for (size_t i = 0; i < range_count; i++) {
        if (address >= ranges[i].from && address < ranges[i].to) {
            return true;
        }
    }
    return false;
}

/* Where the fault happened; 0: not known on this machine, or its unwinder would
 * take a lock. */
static uintptr_t place_of(const void *context)
{
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 35)
    (void)context;
    return 0;
#elif defined(__x86_64__)
    const ucontext_t *user = context;

    return (uintptr_t)user->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    const ucontext_t *user = context;

    return (uintptr_t)user->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

struct walk {
    uintptr_t place;
    uintptr_t until;
    bool aborts; /* it begins where abort() was called */
    bool begun;  /* past the frames of the handler itself */
    bool clean;  /* and `until` was reached */
};

/* Whether this frame is where the look at others begins, or before. */
static bool is_ours(struct walk *walk, uintptr_t address, uintptr_t region)
{
    if (walk->aborts) {
        walk->aborts = region != (uintptr_t)abort;
        walk->begun = !walk->aborts;
        return true;
    }
    walk->begun = walk->begun || address == walk->place;
    return !walk->begun;
}

static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *frame,
                                         void *ctx)
{
    struct walk *walk = ctx;
    uintptr_t address = (uintptr_t)_Unwind_GetIP(frame);
    uintptr_t region = (uintptr_t)_Unwind_GetRegionStart(frame);

    if (is_ours(walk, address, region)) {
        return _URC_NO_REASON;
    }
    if (region == walk->until) {
        walk->clean = true;
        return _URC_END_OF_STACK;
    }
    return is_in_range(address) ? _URC_END_OF_STACK : _URC_NO_REASON;
}

bool vv_fault_is_in_program(int signal, const void *context, uintptr_t until)
{
    struct walk walk = {.place = place_of(context),
                        .until = until,
                        .aborts = signal == SIGABRT};

    if (walk.place != 0) {
        (void)_Unwind_Backtrace(look_at_frame, &walk);
    }
    return walk.clean;
}

/* Loads the unwinder. */
static _Unwind_Reason_Code ignore_frame(struct _Unwind_Context *frame,
                                        void *ctx)
{
    (void)frame;
    (void)ctx;
    return _URC_END_OF_STACK;
}

/* ---- The handler ---------------------------------------------------------------- */

static void chain(int signal, siginfo_t *info)
{
    for (size_t i = 0; i < SIGNALS; i++) {
        if (signals[i] == signal) {
            (void)sigaction(signal, &before[i], NULL);
        }
    }
    if (info->si_code <= 0) {
        /* Sent, not a fault: it would not come again by itself. */
        (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid),
                      signal, info);
    }
}

static _Noreturn void stand_still(void)
{
    sigset_t all;

    /* Or it would be chosen for signals to the process. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (;;) {
        (void)pause();
    }
}

/* Brought upon itself: by what it did, or by abort(). Other threads' and other
 * processes' signals come from elsewhere. */
static bool is_own(int signal, const siginfo_t *info)
{
    return info->si_code > 0 ||
           (signal == SIGABRT && info->si_code == SI_TKILL &&
            info->si_pid == getpid());
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    int saved = errno;

    if (is_own(signal, info) && decide_now(signal, context)) {
        stand_still();
    }
    chain(signal, info);
    errno = saved;
}

int vv_fault_install(vv_fault_fn *decide)
{
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (vv_fault_is_installed()) {
        return VIVERO_OK;
    }
    (void)_Unwind_Backtrace(ignore_frame, NULL);
    (void)dl_iterate_phdr(note_object, NULL);
    decide_now = decide;
    (void)sigfillset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++) {
        if (sigaction(signals[i], &action, &before[i]) != 0) {
            return VIVERO_E_INVALID;
        }
    }
    /* sync(fault.installed): the handlers and what they need. */
    atomic_store_explicit(&installed, true, memory_order_release);
    return VIVERO_OK;
}

bool vv_fault_is_installed(void)
{
    /* sync(fault.installed): the handlers are there. */
    return atomic_load_explicit(&installed, memory_order_acquire);
}

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));

bool vv_fault_is_sanitized(void)
{
    return __asan_init != NULL || __tsan_init != NULL || __hwasan_init != NULL;
}

/* ---- Stacks -------------------------------------------------------------------------- */

void vv_fault_stack_enter(struct vv_fault_stack *stack)
{
    long wanted = sysconf(_SC_SIGSTKSZ);
    long page = sysconf(_SC_PAGESIZE);
    size_t guard = page > 0 ? (size_t)page : 4096;
    size_t usable =
        wanted > 0 && (size_t)wanted > STACK_MIN ? (size_t)wanted : STACK_MIN;
    stack_t fresh = {.ss_flags = 0};
    stack_t before_that = {.ss_flags = SS_DISABLE};

    usable = (usable + guard - 1) / guard * guard;
    stack->size = usable + guard;
    stack->memory = mmap(NULL, stack->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack->memory == MAP_FAILED) {
        stack->memory = NULL;
        return;
    }
    (void)mprotect(stack->memory, guard, PROT_NONE);
    fresh.ss_sp = (unsigned char *)stack->memory + guard;
    fresh.ss_size = usable;
    if (sigaltstack(&fresh, &before_that) != 0) {
        (void)munmap(stack->memory, stack->size);
        stack->memory = NULL;
        return;
    }
    stack->before =
        (before_that.ss_flags & SS_DISABLE) == 0 ? before_that.ss_sp : NULL;
    stack->before_size = before_that.ss_size;
}

void vv_fault_stack_leave(struct vv_fault_stack *stack)
{
    const stack_t before_that = {.ss_sp = stack->before,
                                 .ss_size = stack->before_size,
                                 .ss_flags =
                                     stack->before != NULL ? 0 : SS_DISABLE};

    if (stack->memory != NULL) {
        (void)sigaltstack(&before_that, NULL);
        (void)munmap(stack->memory, stack->size);
        stack->memory = NULL;
    }
}
