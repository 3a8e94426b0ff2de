/* SPDX-License-Identifier: Apache-2.0 */
#include "nomem.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

static _Atomic int left = INT_MAX, threads_left = INT_MAX; /* until one fails */
static _Atomic bool all_then;
static __thread bool spared;

void nomem_after(int n, bool all)
{
	all_then = all;
	left = n;
}

void nomem_threads_after(int n)
{
	threads_left = n;
}

void nomem_never(void)
{
	left = threads_left = INT_MAX;
}

void nomem_spare_me(bool spare)
{
	spared = spare;
}

static bool fails(void)
{
	int n = spared ? 1 : atomic_fetch_sub(&left, 1);

	return n == 0 || (n < 0 && all_then);
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	if (atomic_fetch_sub(&threads_left, 1) == 0)
		return EAGAIN;
	return __real_pthread_create(thread, attr, fn, arg);
}
