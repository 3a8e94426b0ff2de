/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from the host kernel's /dev/fuse, for tests. */
#include "fuse_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <poll.h>

#include "base/clock.h"
#include "base/fd.h"

#define N_SLOTS	  32
#define BUF_BYTES ((1 << 20) + 8192)

struct slot {
	struct fuse_request req;
	struct fuse_mount *m;
	struct iovec in, out;
	uint8_t *in_buf, *out_buf;
	struct slot *next;
	size_t done_len;
};

/*
 * The workers have another descriptor table, so an answer is written by a thread of ours: finished
 * slots go to a list that the writer empties.
 */
struct fuse_mount {
	struct fuse_server *srv;
	char dir[256];
	int fd;
	pthread_t reader, writer;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct slot slots[N_SLOTS];
	struct slot *free, *done; /* guarded by lock */
	unsigned n_out;		  /* slots with the server; guarded by lock */
	bool stop;		  /* guarded by lock */
};

bool fuse_mount_possible(void)
{
	AUTO_FD int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd >= 0 && geteuid() == 0;
}

static void slot_complete(struct fuse_request *req, size_t len)
{
	struct slot *s = (struct slot *)(void *)req;
	struct fuse_mount *m = s->m;

	pthread_mutex_lock(&m->lock);
	s->done_len = len;
	s->next = m->done;
	m->done = s;
	m->n_out--;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void *writer_main(void *arg)
{
	struct fuse_mount *m = arg;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		struct slot *s = m->done;

		if (!s && m->stop && !m->n_out)
			break;
		if (!s) {
			pthread_cond_wait(&m->changed, &m->lock);
			continue;
		}
		m->done = s->next;
		pthread_mutex_unlock(&m->lock);
		/* ENOENT: interrupted meanwhile; ENODEV: unmounted. */
		if (s->done_len && write(m->fd, s->out_buf, s->done_len) < 0 && errno != ENOENT &&
		    errno != ENODEV)
			fprintf(stderr, "fuse_mount: answer refused: %s\n", strerror(errno));
		pthread_mutex_lock(&m->lock);
		s->next = m->free;
		m->free = s;
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void *reader_main(void *arg)
{
	struct fuse_mount *m = arg;

	for (;;) {
		struct slot *s;
		ssize_t n;

		pthread_mutex_lock(&m->lock);
		while (!m->free)
			pthread_cond_wait(&m->changed, &m->lock);
		s = m->free;
		m->free = s->next;
		pthread_mutex_unlock(&m->lock);
		n = read(m->fd, s->in_buf, BUF_BYTES);
		if (n < 0 && errno != ENODEV && errno != ECONNABORTED) {
			pthread_mutex_lock(&m->lock);
			s->next = m->free;
			m->free = s;
			pthread_mutex_unlock(&m->lock);
			continue;
		}
		if (n < 0)
			break;
		s->in = (struct iovec){ s->in_buf, (size_t)n };
		s->out = (struct iovec){ s->out_buf, BUF_BYTES };
		s->req = (struct fuse_request){
			.in = &s->in,
			.n_in = 1,
			.out = &s->out,
			.n_out = 1,
			.complete = slot_complete,
		};
		pthread_mutex_lock(&m->lock);
		m->n_out++;
		pthread_mutex_unlock(&m->lock);
		if (fuse_server_submit(m->srv, &s->req))
			fuse_server_wake(m->srv);
	}
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void mount_free(struct fuse_mount *m)
{
	for (unsigned i = 0; i < N_SLOTS; i++) {
		free(m->slots[i].in_buf);
		free(m->slots[i].out_buf);
	}
	fd_close(m->fd);
	free(m);
}

int fuse_mount_start(struct fuse_server *srv, const char *dir, struct fuse_mount **ret,
		     struct err *err)
{
	struct fuse_mount *m = calloc(1, sizeof(*m));
	char opts[160];

	if (!m)
		return err_set(err, -ENOMEM, "fuse mount");
	m->srv = srv;
	snprintf(m->dir, sizeof(m->dir), "%s", dir);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < N_SLOTS; i++) {
		struct slot *s = &m->slots[i];

		s->m = m;
		s->in_buf = malloc(BUF_BYTES);
		s->out_buf = malloc(BUF_BYTES);
		if (!s->in_buf || !s->out_buf) {
			mount_free(m);
			return err_set(err, -ENOMEM, "fuse mount");
		}
		s->next = m->free;
		m->free = s;
	}
	snprintf(opts, sizeof(opts),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
		 m->fd);
	if (m->fd < 0 || mount("husk", dir, "fuse", 0, opts) < 0) {
		int r = err_errno(err, errno, "mount on '%s'", dir);

		mount_free(m);
		return r;
	}
	pthread_create(&m->reader, NULL, reader_main, m);
	pthread_create(&m->writer, NULL, writer_main, m);
	*ret = m;
	return 0;
}

/* A remount makes the kernel drop its dentries, and with them what it holds of the server. */
static void mount_forget(struct fuse_mount *m)
{
	uint64_t end = clock_monotonic_ns() + 10 * NSEC_PER_SEC;
	struct fuse_stats st;

	mount(NULL, m->dir, NULL, MS_REMOUNT, NULL);
	do {
		fuse_server_stats(m->srv, &st);
		usleep(2000);
	} while ((st.n_nodes > 1 || st.n_handles) && clock_monotonic_ns() < end);
}

void fuse_mount_stop(struct fuse_mount *m)
{
	mount_forget(m);
	umount2(m->dir, MNT_DETACH);
	pthread_join(m->reader, NULL);
	pthread_join(m->writer, NULL);
	mount_free(m);
}
