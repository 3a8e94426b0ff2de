/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest in a virtual machine: the ports of its streams. They are random numbers, good for one
 * connection: a process in the guest cannot take another's stream by being faster than init.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "guest_priv.h"

/* The entry of port @number, or a free one for number 0; NULL when there is none. */
static struct guest_port *find_port_locked(struct guest *g, uint32_t number)
{
	for (unsigned i = 0; i < GUEST_PORTS; i++)
		if (number ? g->ports[i].fd >= 0 && g->ports[i].number == number
			   : g->ports[i].fd < 0)
			return &g->ports[i];
	return NULL;
}

int guest_port_connect(void *opaque, uint32_t port)
{
	struct guest *g = opaque;
	struct guest_port *p;
	int fd = -ECONNREFUSED;

	pthread_mutex_lock(&g->lock);
	p = port ? find_port_locked(g, port) : NULL;
	if (p)
		fd = fd_steal(&p->fd);
	pthread_mutex_unlock(&g->lock);
	return fd;
}

/* A number nobody in the guest can guess in time; 0 when there is no randomness. */
static uint32_t random_port(void)
{
	uint32_t number;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return 0;
	return number >> (32 - GUEST_PORT_BITS);
}

uint32_t guest_port_new(struct guest *g, int *ret_fd)
{
	uint32_t number = random_port();
	struct guest_port *p = NULL;
	int pair[2];

	if (!number || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	pthread_mutex_lock(&g->lock);
	if (!find_port_locked(g, number))
		p = find_port_locked(g, 0);
	if (p)
		*p = (struct guest_port){ .number = number, .fd = pair[0] };
	pthread_mutex_unlock(&g->lock);
	if (!p) {
		fd_close(pair[0]);
		fd_close(pair[1]);
		return 0;
	}
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	*ret_fd = pair[1];
	return number;
}

void guest_port_forget(struct guest *g, uint32_t port)
{
	int fd = port ? guest_port_connect(g, port) : -1;

	if (fd >= 0)
		fd_close(fd);
}
