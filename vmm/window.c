/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of guest memory onto host files. */
#include "vmm/window.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/checked.h"

#define HOLE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)

/* What the signal handler may touch. len is set last and cleared first. */
static struct {
	_Atomic uintptr_t start;
	_Atomic size_t len;
} windows[WINDOW_MAX];
static _Atomic unsigned n_mended;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct sigaction before;

static int hole(uintptr_t start, size_t len)
{
	void *p = mmap((void *)start, len, PROT_READ | PROT_WRITE, HOLE_FLAGS, -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

/* Async-signal-safe. Whether the address is in a window and can be touched now. */
static bool mend(uintptr_t at)
{
	for (unsigned i = 0; i < WINDOW_MAX; i++) {
		size_t len = windows[i].len;
		uintptr_t off = at - windows[i].start;

		if (off >= len)
			continue;
		off &= ~(uintptr_t)(GMEM_PAGE_SIZE - 1);
		n_mended++;
		return hole(windows[i].start + off,
			    ALIGN_UP(off + 1, (uintptr_t)WINDOW_CHUNK) - off) == 0;
	}
	return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code == BUS_ADRERR && mend((uintptr_t)info->si_addr))
		errno = saved;
	else if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else
		/* As it was before, when the access is tried again. */
		sigaction(SIGBUS, &before, NULL);
}

static int watch_locked(const struct gmem_region *r)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	/* It stays: with no window left it passes all on. */
	if (now.sa_sigaction != on_sigbus) {
		before = now;
		if (sigaction(SIGBUS, &act, NULL) < 0)
			return -errno;
	}
	for (unsigned i = 0; i < WINDOW_MAX; i++) {
		if (windows[i].len)
			continue;
		windows[i].start = (uintptr_t)r->hva;
		windows[i].len = r->len;
		return 0;
	}
	return -EMFILE;
}

int window_add(struct gmem *mem, gpa_t gpa, uint64_t len, struct err *err)
{
	int r;

	if (!IS_ALIGNED(gpa, WINDOW_CHUNK) || !IS_ALIGNED(len, WINDOW_CHUNK))
		return err_set(err, -EINVAL, "window of %#llx bytes at %#llx: not whole chunks",
			       (unsigned long long)len, (unsigned long long)gpa);
	r = gmem_add_anon(mem, gpa, len, GMEM_WINDOW, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&lock);
	r = watch_locked(gmem_region_find(mem, gpa, len));
	pthread_mutex_unlock(&lock);
	return r < 0 ? err_set(err, r, "more than %d windows onto files", WINDOW_MAX) : 0;
}

void window_forget(const struct gmem_region *r)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < WINDOW_MAX; i++) {
		if (!windows[i].len || windows[i].start != (uintptr_t)r->hva)
			continue;
		windows[i].len = 0;
	}
	pthread_mutex_unlock(&lock);
}

static const struct gmem_region *window_part(const struct gmem *mem, gpa_t window, uint64_t off,
					     uint64_t len)
{
	const struct gmem_region *r = gmem_region_find(mem, window, 1);

	if (!r || r->kind != GMEM_WINDOW || r->gpa != window || off > r->len ||
	    len > r->len - off || !len || !IS_ALIGNED(off | len, WINDOW_CHUNK))
		return NULL;
	return r;
}

int window_map(struct gmem *mem, gpa_t window, uint64_t off, int fd, uint64_t file_off,
	       uint64_t len, bool writable)
{
	const struct gmem_region *r = window_part(mem, window, off, len);
	void *p;

	if (!r || !IS_ALIGNED(file_off, WINDOW_CHUNK))
		return -EINVAL;
	p = mmap(r->hva + off, len, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_NORESERVE | (writable ? MAP_SHARED : MAP_PRIVATE), fd,
		 (off_t)file_off);
	if (p == MAP_FAILED)
		return -errno;
	gmem_written(mem, window + off, len);
	return 0;
}

int window_unmap(struct gmem *mem, gpa_t window, uint64_t off, uint64_t len)
{
	const struct gmem_region *r = window_part(mem, window, off, len);
	int ret;

	if (!r)
		return -EINVAL;
	ret = hole((uintptr_t)r->hva + off, len);
	if (ret == 0)
		gmem_written(mem, window + off, len);
	return ret;
}

bool window_mend(const struct gmem *mem)
{
	unsigned seen = n_mended;

	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct gmem_region *r = &mem->regions[i];

		for (uint64_t off = 0; r->kind == GMEM_WINDOW && off < r->len;
		     off += GMEM_PAGE_SIZE)
			(void)__atomic_load_n(r->hva + off, __ATOMIC_RELAXED);
	}
	return n_mended != seen;
}
