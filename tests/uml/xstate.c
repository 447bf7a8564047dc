/*
 * A preload library for User-mode Linux on processors whose XSAVE area is larger than it expects.
 *
 * User-mode Linux 6.1 restores a process's floating point registers by PTRACE_SETREGSET with an area of 2,696 bytes
 * (put_fp_registers() in arch/x86/um/os-Linux/registers.c). The host wants the whole area, 11,008 bytes with Intel's AMX,
 * and refuses a shorter one (xstateregs_set() in arch/x86/kernel/fpu/regset.c); User-mode Linux then dies at boot. Here such
 * a call is made again with the whole area: what the host holds, with the short one laid over its beginning.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
#define LARGEST_AREA (1 << 16)

typedef long ptrace_function(int, pid_t, void *, void *);

static long set_whole_area(ptrace_function *host, pid_t pid, const struct iovec *part)
{
	static char area[LARGEST_AREA] __attribute__((aligned(64)));
	struct iovec whole = {area, sizeof area};
	void *set = (void *)NT_X86_XSTATE;

	if (host(PTRACE_GETREGSET, pid, set, &whole))
		return -1;
	memcpy(area, part->iov_base, part->iov_len < whole.iov_len ? part->iov_len : whole.iov_len);
	return host(PTRACE_SETREGSET, pid, set, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_function *host;
	va_list rest;

	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (!host)
		host = (ptrace_function *)dlsym(RTLD_NEXT, "ptrace");
	long result = host(request, pid, address, data);
	int refused = result == -1 && (errno == EFAULT || errno == EINVAL);
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE && refused)
		return set_whole_area(host, pid, data);
	return result;
}
