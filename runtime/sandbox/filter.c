/* SPDX-License-Identifier: Apache-2.0 */
/* Filters, compiled by the build: made this process's, and put on a thread. */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int filter_make(enum sandbox_role role, enum sandbox_mode mode, struct filter *ret, struct err *err)
{
	const struct filter_program *p = &filter_programs[role][mode];
	struct sock_filter *code = malloc(p->n * sizeof(*code));

	if (!code)
		return err_set(err, -ENOMEM, "filter for '%s': no memory", sandbox_role_str(role));
	memcpy(code, p->code, p->n * sizeof(*code));
	for (size_t i = 0; i < p->n; i++) {
		if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == FILTER_SELF)
			code[i].k = (uint32_t)getpid();
	}
	*ret = (struct filter){ .code = code, .n = p->n };
	return 0;
}

int filter_install(const struct filter *filter, struct err *err)
{
	struct sock_fprog prog = { .len = (unsigned short)filter->n, .filter = filter->code };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0)
		return 0;
	if (errno == ENOSYS || errno == EINVAL)
		return err_set(err, -ENOSYS,
			       "this kernel has no system call filters (CONFIG_SECCOMP_FILTER)");
	return err_errno(err, errno, "install a system call filter");
}

void filter_done(struct filter *filter)
{
	free(filter->code);
	filter->code = NULL;
}
