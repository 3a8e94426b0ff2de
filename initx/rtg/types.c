/* SPDX-License-Identifier: Apache-2.0 */
/* The types of RTG and the constants that fit them. */
#include "rtg/compiler.h"

#include <inttypes.h>

static const struct {
	const char *name;
	uint8_t bits;
	bool is_int, is_signed;
} type_info[TYPE_MAX_] = {
	[TYPE_INVALID] = { "invalid", 64, true, true },
	[TYPE_VOID] = { "no value", 0, false, false },
	[TYPE_BOOL] = { "bool", 1, false, false },
	[TYPE_INT8] = { "int8", 8, true, true },
	[TYPE_INT16] = { "int16", 16, true, true },
	[TYPE_INT32] = { "int32", 32, true, true },
	[TYPE_INT64] = { "int64", 64, true, true },
	[TYPE_UINT8] = { "uint8", 8, true, false },
	[TYPE_UINT16] = { "uint16", 16, true, false },
	[TYPE_UINT32] = { "uint32", 32, true, false },
	[TYPE_UINT64] = { "uint64", 64, true, false },
	[TYPE_UINTPTR] = { "uintptr", 64, true, false },
	[TYPE_STRING] = { "string", 64, false, false },
	[TYPE_UNTYPED] = { "number", 64, true, true },
	[TYPE_BUFFER] = { "buffer", 64, false, false },
	[TYPE_FUNC] = { "function", 64, false, false },
};

bool type_is_int(struct type t)
{
	return type_info[t.kind].is_int;
}

bool type_is_signed(struct type t)
{
	return type_info[t.kind].is_signed;
}

unsigned type_bits(struct type t)
{
	return type_info[t.kind].bits;
}

bool type_equal(struct type a, struct type b)
{
	return a.kind == b.kind && (a.kind != TYPE_BUFFER || a.len == b.len);
}

const char *type_name(struct arena *a, struct type t)
{
	if (t.kind == TYPE_BUFFER)
		return arena_printf(a, "[%" PRIu32 "]byte", t.len);
	return type_info[t.kind].name;
}

bool const_fits(__int128 v, struct type t)
{
	unsigned bits = type_bits(t);

	if (t.kind == TYPE_INVALID || t.kind == TYPE_UNTYPED)
		return true;
	if (!type_is_int(t))
		return false;
	if (type_is_signed(t))
		return (int64_t)v == v && (int64_t)v >> (bits - 1) == (v < 0 ? -1 : 0);
	return (uint64_t)v == v && !((uint64_t)v >> (bits - 1) >> 1);
}

const char *const_text(struct arena *a, __int128 v)
{
	bool neg = v < 0;
	unsigned __int128 u = neg ? 0 - (unsigned __int128)v : (unsigned __int128)v;
	char buf[48];
	size_t i = sizeof(buf);

	do {
		buf[--i] = (char)('0' + (unsigned)(u % 10));
		u /= 10;
	} while (u);
	if (neg)
		buf[--i] = '-';
	return arena_strndup(a, buf + i, sizeof(buf) - i);
}
