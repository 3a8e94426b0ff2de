/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms for the rows of the field tables. */
#ifndef OCI_FIELDS_MACROS_H
#define OCI_FIELDS_MACROS_H

#include "schema.h"

#define REQ OCI_REQUIRED
#define END_OF_FIELDS \
	{             \
		0     \
	}

#define ROW(t, n, m, k, e, ...)                                                                    \
	{                                                                                          \
		.name = (n), .kind = (k), .effect = OCI_##e, .offset = offsetof(t, m), __VA_ARGS__ \
	}

#define STR(t, n, m, e, fl, why) ROW(t, n, m, OCI_STR, e, .flags = (fl), .note = (why))
#define ENUM(t, n, m, e, fl, w, why) \
	ROW(t, n, m, OCI_STR, e, .flags = (fl), .words = (w), .note = (why))
#define FLAG(t, n, m, e, why) ROW(t, n, m, OCI_FLAG, e, .note = (why))
#define BOOL(t, n, m, e, why) ROW(t, n, m, OCI_BOOL, e, .note = (why))
#define INT(t, n, m, e, fl, lo, hi, why) \
	ROW(t, n, m, OCI_I64, e, .flags = (fl), .min = (lo), .max = (hi), .note = (why))
#define UNS(t, n, m, e, fl, lo, hi, why) \
	ROW(t, n, m, OCI_U64, e, .flags = (fl), .min = (lo), .max = (hi), .note = (why))
#define STRS(t, n, m, e, fl, why) ROW(t, n, m, OCI_STRS, e, .flags = (fl), .note = (why))
#define ENUMS(t, n, m, e, fl, w, why) \
	ROW(t, n, m, OCI_STRS, e, .flags = (fl), .words = (w), .note = (why))
#define INTS(t, n, m, e, fl, lo, hi, why) \
	ROW(t, n, m, OCI_I64S, e, .flags = (fl), .min = (lo), .max = (hi), .note = (why))
#define MAP(t, n, m, e, why) ROW(t, n, m, OCI_MAP, e, .note = (why))
#define OBJ(t, n, m, e, fl, s, why) \
	ROW(t, n, m, OCI_OBJ, e, .flags = (fl), .sub = (s), .note = (why))
#define OBJS(t, n, m, e, fl, s, why) \
	ROW(t, n, m, OCI_OBJS, e, .flags = (fl), .sub = (s), .note = (why))
#define OBJMAP(t, n, m, e, s, why) ROW(t, n, m, OCI_OBJMAP, e, .sub = (s), .note = (why))
/* For other platforms: not looked into. */
#define OTHER(n, why)                                                             \
	{                                                                         \
		.name = (n), .kind = OCI_ANY, .effect = OCI_WARNED, .note = (why) \
	}

#endif
