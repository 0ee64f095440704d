/* Lets user-mode-linux 6.1 run on CPUs whose register state is larger than its buffer (AMX: 11008 bytes).
 *
 * UML saves and restores 2696 bytes of it. The host's kernel truncates when reading, but refuses to write
 * anything but a whole area (xstateregs_set() in arch/x86/kernel/fpu/regset.c: -EFAULT); the guest then
 * dies at once with "ptrace set fp regs failed, errno = 14". Preloaded, this fills up what is missing with the
 * initial state, which is right for components the guest cannot use: it knows no way to permit AMX.
 *
 * cc -O2 -shared -fPIC -o uml_xstate.so uml_xstate.c; LD_PRELOAD=uml_xstate.so linux.uml ...
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
enum { LARGEST = 65536, XSTATE_BV = 512 }; /* Intel SDM vol. 1, 13.4.2: header behind the 512 legacy bytes */

/* Static: the kernel's stacks here are 16 KiB. Only the one kernel thread calls ptrace. */
static unsigned char area[LARGEST];
static size_t whole;

static uint64_t components_within(size_t length) {
    uint64_t mask = 3; /* x87 and SSE are in the legacy bytes */
    for (unsigned n = 2; n < 63; n++) {
        unsigned size, offset, c, d;
        __cpuid_count(0xd, n, size, offset, c, d);
        if (size && offset + size <= length)
            mask |= 1ull << n;
    }
    return mask;
}

long ptrace(enum __ptrace_request request, ...) {
    static long (*next)(enum __ptrace_request, ...);
    static uint64_t kept;
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *), *data = va_arg(list, void *);
    va_end(list);
    if (!next)
        next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE)
        return next(request, pid, address, data);

    const struct iovec *given = data;
    if (!whole) {
        struct iovec all = {area, sizeof area};
        long failed = next(PTRACE_GETREGSET, pid, address, &all);
        if (failed)
            return failed;
        whole = all.iov_len;
        memset(area, 0, sizeof area);
        kept = components_within(given->iov_len);
    }
    if (given->iov_len >= whole)
        return next(request, pid, address, data);
    memcpy(area, given->iov_base, given->iov_len);
    uint64_t present;
    memcpy(&present, area + XSTATE_BV, sizeof present);
    present &= kept;
    memcpy(area + XSTATE_BV, &present, sizeof present);
    struct iovec full = {area, whole};
    return next(request, pid, address, &full);
}
