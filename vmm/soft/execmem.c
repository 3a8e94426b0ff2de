/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for host code: one memfd, mapped twice. */
#include "soft/execmem.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

int execmem_init(struct execmem *m, const char *name, size_t size, void *at, struct err *err)
{
	int AUTO_FD fd = memfd_create(name, MFD_CLOEXEC);
	void *rw, *rx;

	*m = (struct execmem){ .size = size, .placed = at };
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_errno(err, errno, "make memory for host code (%s)", name);
	rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rw == MAP_FAILED)
		return err_errno(err, errno, "map memory for host code (%s)", name);
	rx = mmap(at, size, PROT_READ | PROT_EXEC, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (rx == MAP_FAILED) {
		int saved = errno;

		munmap(rw, size);
		return err_errno(err, saved, "map memory for host code (%s)", name);
	}
	m->rw = rw;
	m->rx = rx;
	return 0;
}

void execmem_done(struct execmem *m)
{
	if (!m->rw)
		return;
	munmap(m->rw, m->size);
	if (!m->placed)
		munmap(m->rx, m->size);
	m->rw = m->rx = NULL;
}
