/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host CPU as oracle. IRETQ loads all registers with the trap flag set, so that exactly one
 * instruction runs; the SIGTRAP handler, or that of whatever signal the instruction causes, on its
 * own stack, takes the registers from the signal frame and returns to native_exit.
 */
#include "native.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define TF 0x100U

void native_enter(struct native_ctx *ctx);
extern char native_exit[];
uint64_t native_host_rsp;

/* clang-format off */
__asm__(
	".text\n"
	".globl native_enter, native_exit\n"
	"native_enter:\n"
	"	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, native_host_rsp(%rip)\n"
	"	cmpq $0, 168(%rdi)\n"
	"	je 1f\n"
	"	fxrstor64 192(%rdi)\n"
	"1:	leaq 128(%rdi), %rsp\n"
	"	movq 0(%rdi), %rax\n	movq 8(%rdi), %rcx\n	movq 16(%rdi), %rdx\n	movq 24(%rdi), %rbx\n"
	"	movq 40(%rdi), %rbp\n	movq 48(%rdi), %rsi\n	movq 64(%rdi), %r8\n	movq 72(%rdi), %r9\n"
	"	movq 80(%rdi), %r10\n	movq 88(%rdi), %r11\n	movq 96(%rdi), %r12\n	movq 104(%rdi), %r13\n"
	"	movq 112(%rdi), %r14\n	movq 120(%rdi), %r15\n	movq 56(%rdi), %rdi\n"
	"	iretq\n"
	"native_exit:\n"
	"	fninit\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbp\n	popq %rbx\n"
	"	cld\n"
	"	ret\n"
);
/* clang-format on */

_Static_assert(offsetof(struct native_ctx, frame) == 128, "known to the assembly");
_Static_assert(offsetof(struct native_ctx, use_fx) == 168, "known to the assembly");
_Static_assert(offsetof(struct native_ctx, fx) == 192, "known to the assembly");

static struct native_result *result; /* of the step under way */
static bool want_fx;

static const int greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,	 REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void handler(int sig, siginfo_t *info, void *opaque)
{
	ucontext_t *uc = opaque;
	greg_t *g = uc->uc_mcontext.gregs;

	if (!result) {
		signal(sig, SIG_DFL); /* not ours: let it crash */
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		result->gpr[i] = (uint64_t)g[greg_of[i]];
	result->rip = (uint64_t)g[REG_RIP];
	result->rflags = (uint64_t)g[REG_EFL];
	result->vector = sig == SIGTRAP ? (g[REG_TRAPNO] == 3 ? 3 : 1) : (int)g[REG_TRAPNO];
	result->error = (uint64_t)g[REG_ERR];
	result->cr2 = (uint64_t)g[REG_CR2];
	if (want_fx && uc->uc_mcontext.fpregs)
		memcpy(result->fx, uc->uc_mcontext.fpregs, sizeof(result->fx));
	g[REG_RIP] = (greg_t)(uintptr_t)native_exit;
	g[REG_RSP] = (greg_t)native_host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffLL) | 0x33;
}

void native_data_segments(void)
{
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(0x2b));
}

void native_init(void)
{
	static const int sigs[] = { SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS };
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t ss = { .ss_size = 256 * 1024 };

	ss.ss_sp =
		mmap(NULL, ss.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL) < 0)
		abort();
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (sigaction(sigs[i], &sa, NULL) < 0)
			abort();
	native_data_segments();
}

void native_step(struct native_ctx *ctx, uint64_t rip, uint64_t rflags, bool code32, bool rep,
		 struct native_result *ret)
{
	for (;;) {
		ctx->frame[0] = rip;
		ctx->frame[1] = ctx->cs ? ctx->cs : code32 ? 0x23 : 0x33;
		ctx->frame[2] = rflags | TF | 0x202;
		ctx->frame[3] = ctx->gpr[4];
		ctx->frame[4] = 0x2b;
		result = ret;
		want_fx = ctx->use_fx;
		native_enter(ctx);
		result = NULL;
		memcpy(ctx->gpr, ret->gpr, sizeof(ctx->gpr));
		if (!rep || ret->vector != 1 || ret->rip != rip)
			return;
		rflags = ret->rflags; /* one iteration of a REP */
		if (ctx->use_fx)
			memcpy(ctx->fx, ret->fx, sizeof(ctx->fx));
	}
}
