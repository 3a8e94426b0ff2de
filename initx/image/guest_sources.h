/* SPDX-License-Identifier: Apache-2.0 */
/* The guest programs' sources, embedded at build time by embed.py. */
#ifndef INITX_IMAGE_GUEST_SOURCES_H
#define INITX_IMAGE_GUEST_SOURCES_H

#include "initx/rtg.h"

extern const struct rtg_source guest_sources[];
extern const size_t n_guest_sources;

#endif
