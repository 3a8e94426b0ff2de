/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RTG compiler as a library: source text in, guest machine code out.
 *
 * Theory of operation. rtg_compile() parses, checks and lowers the sources to IR, optimises,
 * allocates registers and encodes for one target, all in one arena that is freed before it returns.
 * It keeps no state, executes nothing of what it compiles, and bounds its memory; bad input gives
 * diagnostics.
 */
#ifndef INITX_RTG_H
#define INITX_RTG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum rtg_arch { RTG_AMD64, RTG_ARM64, RTG_RISCV64, RTG_ARCH_MAX_ };

enum rtg_emit {
	RTG_EMIT_IR,	  /* text */
	RTG_EMIT_ASM,	  /* text for the GNU assembler: the payload's bytes in words */
	RTG_EMIT_ELF,	  /* static executable, one program */
	RTG_EMIT_PAYLOAD, /* flat image with its entry at 0, and relocations */
	RTG_EMIT_MAX_,
};

struct rtg_source {
	const char *name; /* for messages */
	const char *text;
	size_t len;
};

/* -C key=value: Config("key"), EmbedConfigString("key") */
struct rtg_config {
	const char *key;
	const char *value;
};

/* Bytes for EmbedBytes("key"). */
struct rtg_blob {
	const char *key;
	const void *data;
	size_t len;
};

/* Integer constant known everywhere; a source may shadow it. */
struct rtg_const {
	const char *name;
	int64_t value;
};

/* Memory of a program in the interpreter. */
struct rtg_machine;

/*
 * A system call of an interpreted program. Return: true with *@ret_val for the program; false to
 * stop it, *@ret_val is then its exit status.
 */
typedef bool (*rtg_syscall_fn)(void *opaque, struct rtg_machine *m, int64_t nr,
			       const uint64_t args[6], int64_t *ret_val);

/* Host pointer to [@addr, @addr + @len), or NULL when any byte is outside. */
void *rtg_machine_ptr(struct rtg_machine *m, uint64_t addr, uint64_t len);
/* Fresh zeroed memory of the program's, page-aligned; 0 when there is no more. */
uint64_t rtg_machine_map(struct rtg_machine *m, uint64_t len);

struct rtg_options {
	enum rtg_arch arch;
	enum rtg_emit emit;
	const char *const *flags; /* -D: Ifdef("flag") */
	size_t n_flags;
	const struct rtg_config *configs;
	size_t n_configs;
	const struct rtg_blob *blobs;
	size_t n_blobs;
	const struct rtg_const *consts;
	size_t n_consts;
	bool input_is_ir; /* the (only) source is textual IR */
	bool no_optimize; /* for tests: straight from lowering to code */
	/* rtg_interpret(): a kernel of the caller's own; NULL: write, exit and exit_group only. */
	rtg_syscall_fn syscall;
	void *syscall_opaque;
	unsigned max_regs; /* for tests: registers the allocator may use, 0 = all */
};

struct rtg_output {
	uint8_t *data; /* not terminated */
	size_t len;
	uint32_t *relocs; /* RTG_EMIT_PAYLOAD: offsets of u64 to which the load address is added */
	size_t n_relocs;
	size_t code_bytes; /* machine code alone */
	char *diagnostics; /* rendered errors, terminated; empty when there are none */
	unsigned n_errors;
};

/**
 * rtg_compile() - Compile one program
 * @opt:	Target and options
 * @src:	Sources of package main, in order
 * @n_src:	Their number
 * @ret:	Result; release with rtg_output_done(). Diagnostics are set on -EINVAL too
 *
 * Context: any thread.
 * Return: 0; -EINVAL the program has errors (see @ret->diagnostics); -E2BIG a compiler limit;
 * -ENOMEM.
 */
int rtg_compile(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
		struct rtg_output *ret, struct err *err);
void rtg_output_done(struct rtg_output *out);

/* "amd64", "arm64", "riscv64"; NULL when out of range. */
const char *rtg_arch_name(enum rtg_arch arch);
/* Return: 0; -EINVAL unknown. */
int rtg_arch_parse(const char *name, enum rtg_arch *ret);

struct rtg_run_result {
	int64_t value;	  /* what main returned, or the argument of exit */
	const char *trap; /* NULL, or why the program was stopped (static string) */
	uint64_t n_steps;
	char *out; /* bytes written to descriptors 1 and 2; free() */
	size_t out_len;
};

/**
 * rtg_interpret() - Run a program in the IR interpreter: the oracle for the back ends
 * @max_steps:	IR instructions until it is stopped
 *
 * The system calls are write (to 1 and 2), exit and exit_group; all others give -ENOSYS.
 * Return: as rtg_compile().
 */
int rtg_interpret(const struct rtg_options *opt, const struct rtg_source *src, size_t n_src,
		  uint64_t max_steps, struct rtg_run_result *ret_run, struct rtg_output *ret,
		  struct err *err);

#endif
