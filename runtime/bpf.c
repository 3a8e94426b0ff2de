/* SPDX-License-Identifier: Apache-2.0 */
/* libseccomp's filters as the classic BPF that the kernel takes. */
#include "bpf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

int bpf_export(scmp_filter_ctx ctx, const char *what, void **ret, size_t *ret_len, struct err *err)
{
	int AUTO_FD fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct stat st;
	void *buf;
	int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (r < 0 || fstat(fd, &st) < 0)
		return err_errno(err, r < 0 ? -r : errno, "%s: compile", what);
	if (st.st_size > BPF_MAX_BYTES)
		return err_set(err, -E2BIG, "%s: more than %d instructions", what,
			       BPF_MAX_BYTES / 8);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf || fd_pread_full(fd, buf, (size_t)st.st_size, 0) != st.st_size) {
		free(buf);
		return err_set(err, -ENOMEM, "%s: no memory", what);
	}
	*ret = buf;
	*ret_len = (size_t)st.st_size;
	return 0;
}
