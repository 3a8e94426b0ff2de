/* SPDX-License-Identifier: Apache-2.0 */
/* Handle table: open files and directories of the guest. */
#include "fuse/handles.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"

#define HANDLE_MIN_SLOTS 32
#define HANDLE_NO_SLOT	 UINT32_MAX

int handle_table_init(struct handle_table *t, uint32_t max_handles, struct node_table *nodes)
{
	*t = (struct handle_table){ .max_handles = max_handles,
				    .nodes = nodes,
				    .free_slot = HANDLE_NO_SLOT };
	t->slots = calloc(HANDLE_MIN_SLOTS, sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	t->n_slots = HANDLE_MIN_SLOTS;
	for (uint32_t i = t->n_slots; i-- > 0;) {
		t->slots[i].next_free = t->free_slot;
		t->free_slot = i;
	}
	pthread_mutex_init(&t->lock, NULL);
	return 0;
}

static void handle_free(struct handle_table *t, struct handle *h)
{
	if (!h)
		return;
	fd_close(h->fd);
	node_unpin(t->nodes, h->node);
	free(h->dir_buf);
	pthread_mutex_destroy(&h->dir_lock);
	free(h);
}

void handle_table_done(struct handle_table *t)
{
	if (!t->slots)
		return;
	for (uint32_t i = 0; i < t->n_slots; i++)
		handle_free(t, t->slots[i].handle);
	free(t->slots);
	t->slots = NULL;
	pthread_mutex_destroy(&t->lock);
}

/* Out of the table if nothing holds it; the caller frees what is returned. */
static struct handle *handle_reap_locked(struct handle_table *t, struct handle *h)
{
	struct handle_slot *s = &t->slots[h->index];

	if (h->n_pins || !h->released)
		return NULL;
	s->handle = NULL;
	s->gen++;
	s->next_free = t->free_slot;
	t->free_slot = h->index;
	t->n_handles--;
	return h;
}

void handle_table_clear(struct handle_table *t)
{
	for (uint32_t i = 0;; i++) {
		struct handle *dead = NULL;

		pthread_mutex_lock(&t->lock);
		if (i >= t->n_slots) {
			pthread_mutex_unlock(&t->lock);
			return;
		}
		if (t->slots[i].handle) {
			t->slots[i].handle->released = true;
			dead = handle_reap_locked(t, t->slots[i].handle);
		}
		pthread_mutex_unlock(&t->lock);
		handle_free(t, dead);
	}
}

static int slots_grow_locked(struct handle_table *t, uint32_t want)
{
	uint32_t n = t->n_slots;
	struct handle_slot *slots;

	while (n < want)
		n = n > UINT32_MAX / 4 ? want : n * 2;
	slots = realloc(t->slots, (size_t)n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	t->slots = slots;
	for (uint32_t i = n; i-- > t->n_slots;) {
		slots[i] = (struct handle_slot){ .next_free = t->free_slot };
		t->free_slot = i;
	}
	t->n_slots = n;
	return 0;
}

static void handle_place_locked(struct handle_table *t, struct handle *h, uint32_t index)
{
	h->index = index;
	h->gen = t->slots[index].gen;
	t->slots[index].handle = h;
	t->n_handles++;
}

static struct handle *handle_alloc(enum handle_kind kind, uint32_t flags)
{
	struct handle *h = malloc(sizeof(*h));

	if (h) {
		*h = (struct handle){ .kind = kind, .flags = flags, .fd = -1 };
		pthread_mutex_init(&h->dir_lock, NULL);
	}
	return h;
}

int handle_new(struct handle_table *t, enum handle_kind kind, int *fd, struct node *node,
	       uint32_t flags, uint64_t *ret_id)
{
	struct handle *h = handle_alloc(kind, flags);
	struct node *pinned;
	uint32_t index;
	int r;

	if (!h)
		return -ENOMEM;
	r = node_pin(t->nodes, node_id(node), &pinned);
	if (r < 0) {
		handle_free(t, h);
		return r;
	}
	h->node = pinned;
	pthread_mutex_lock(&t->lock);
	if (t->n_handles >= t->max_handles)
		r = -ENFILE;
	else if (t->free_slot == HANDLE_NO_SLOT)
		r = slots_grow_locked(t, t->n_slots + 1);
	if (r < 0) {
		pthread_mutex_unlock(&t->lock);
		handle_free(t, h);
		return r;
	}
	index = t->free_slot;
	t->free_slot = t->slots[index].next_free;
	h->fd = fd_steal(fd);
	handle_place_locked(t, h, index);
	*ret_id = handle_id(h);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static struct handle *handle_find_locked(struct handle_table *t, uint64_t id, enum handle_kind kind)
{
	uint32_t index = (uint32_t)id - 1;
	struct handle *h;

	if (index >= t->n_slots || t->slots[index].gen != (uint32_t)(id >> 32))
		return NULL;
	h = t->slots[index].handle;
	return h && !h->released && h->kind == kind ? h : NULL;
}

int handle_pin(struct handle_table *t, uint64_t id, enum handle_kind kind, const struct node *node,
	       struct handle **ret)
{
	struct handle *h;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	h = handle_find_locked(t, id, kind);
	if (!h)
		r = -EBADF;
	else if (h->fd < 0)
		r = -ESTALE;
	else if (node && h->node != node)
		r = -EBADF;
	else
		h->n_pins++;
	pthread_mutex_unlock(&t->lock);
	if (r == 0)
		*ret = h;
	return r;
}

void handle_unpin(struct handle_table *t, struct handle *h)
{
	struct handle *dead;

	if (!h)
		return;
	pthread_mutex_lock(&t->lock);
	h->n_pins--;
	dead = handle_reap_locked(t, h);
	pthread_mutex_unlock(&t->lock);
	handle_free(t, dead);
}

int handle_release(struct handle_table *t, uint64_t id, enum handle_kind kind)
{
	struct handle *h, *dead = NULL;

	pthread_mutex_lock(&t->lock);
	h = handle_find_locked(t, id, kind);
	if (h) {
		h->released = true;
		dead = handle_reap_locked(t, h);
	}
	pthread_mutex_unlock(&t->lock);
	handle_free(t, dead);
	return h ? 0 : -EBADF;
}

int handle_restore(struct handle_table *t, uint64_t id, enum handle_kind kind, int *fd,
		   uint64_t node_id_or_0, uint32_t flags)
{
	uint32_t index = (uint32_t)id - 1, *p;
	struct handle *h;
	int r = 0;

	if (index >= t->max_handles)
		return -EBADMSG;
	h = handle_alloc(kind, flags);
	if (!h)
		return -ENOMEM;
	if (node_id_or_0)
		r = node_pin(t->nodes, node_id_or_0, &h->node);
	pthread_mutex_lock(&t->lock);
	if (r == 0 && index >= t->n_slots)
		r = slots_grow_locked(t, index + 1);
	for (p = &t->free_slot; r == 0 && *p != index; p = &t->slots[*p].next_free) {
		if (*p == HANDLE_NO_SLOT)
			r = -EBADMSG; /* given twice */
		if (r < 0)
			break;
	}
	if (r == 0) {
		*p = t->slots[index].next_free;
		t->slots[index].gen = (uint32_t)(id >> 32);
		h->fd = fd_steal(fd);
		handle_place_locked(t, h, index);
		h = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	handle_free(t, h);
	return r;
}
