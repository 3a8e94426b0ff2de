/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said when a thread crashes, or tries what its filter knows nothing of.
 *
 * The kernel does not make the refused call; it sends SIGSYS. With the signal blocked or its
 * handler gone it would end the process at once, so a thread that is taken over gains nothing by
 * disturbing this one. The process ends with the status that engines know for a signal.
 */
#include "sandbox/crash.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"

#define ALT_STACK_BYTES (32 * KIB) /* the signal frame alone takes 11 KiB on the largest CPUs */
#define SIGNAL_STATUS	128

/* Handlers have no argument of ours. */
static _Thread_local struct {
	const char *role;
	char name[16];
} self;

static const int signals[] = { SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

static void on_signal(int sig, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
	const char *role = self.role ? self.role : "no role";

	/* A line of text is made without locks and memory of the allocator. */
	if (sig == SIGSYS)
		log_err("thread '%s' (%s) was stopped: it may not make system call %d with "
			"%#llx, %#llx, %#llx",
			self.name, role, info->si_syscall, regs[REG_RDI], regs[REG_RSI],
			regs[REG_RDX]);
	else
		log_err("thread '%s' (%s) crashed: %s at address %#lx", self.name, role,
			sigabbrev_np(sig), (unsigned long)(uintptr_t)info->si_addr);
	syscall(SYS_exit_group, SIGNAL_STATUS + sig);
}

int crash_watch(struct err *err)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&sa.sa_mask);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
		struct sigaction old;

		/* A terminal that is to be put back has handlers already. */
		if (sigaction(signals[i], NULL, &old) < 0)
			return err_errno(err, errno, "signal handlers");
		if (old.sa_handler == SIG_DFL && sigaction(signals[i], &sa, NULL) < 0)
			return err_errno(err, errno, "signal handlers");
	}
	return 0;
}

int crash_name_thread(const char *role, struct err *err)
{
	stack_t stack = { .ss_size = ALT_STACK_BYTES };
	sigset_t set;

	self.role = role;
	pthread_getname_np(pthread_self(), self.name, sizeof(self.name));
	/* Stays with the thread, which stays with the process. */
	stack.ss_sp = mmap(NULL, ALT_STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0)
		return err_errno(err, errno, "stack for signals");
	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(&set, signals[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}
