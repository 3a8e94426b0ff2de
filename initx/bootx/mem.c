/* SPDX-License-Identifier: Apache-2.0 */
/* Memory functions that compilers call. */
#include "internal.h"

void *memcpy(void *dst, const void *src, size_t n)
{
	void *to = dst;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(n)::"memory");
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	void *to = dst;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (d <= s || d >= s + n)
		return memcpy(dst, src, n);
	while (n--)
		d[n] = s[n];
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}
