/* SPDX-License-Identifier: Apache-2.0 */
/* The guest programs: which sources make which, their constants, the program block. */
#include "initx/guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "image/guest_sources.h"

#define MAX_FILES   20
#define MAX_CONFIGS 64

const struct rtg_const guest_consts[] = {
#define X(name) { #name, (int64_t)(name) },
#include "image/proto_consts.h"
#undef X
};
const size_t n_guest_consts = ARRAY_LEN(guest_consts);

static const struct {
	enum rtg_emit emit;
	const char *files[MAX_FILES];
} programs[GUEST_MAX_] = {
	[GUEST_INIT] = { RTG_EMIT_ELF, { "init.rtg", "perform.rtg", "common.rtg" } },
	[GUEST_CONTAINER] = { RTG_EMIT_PAYLOAD,
			      { "container.rtg", "mounts.rtg", "net.rtg", "commands.rtg",
				"hold.rtg", "exec.rtg", "child.rtg", "cgroup.rtg", "copy.rtg",
				"home.rtg", "hooks.rtg", "relay.rtg", "payload.rtg",
				"common.rtg", "alone.rtg" } },
	[GUEST_CONTAINER_AHEAD] = { RTG_EMIT_PAYLOAD,
				    { "container.rtg", "mounts.rtg", "net.rtg", "commands.rtg",
				      "hold.rtg", "exec.rtg", "child.rtg", "cgroup.rtg", "copy.rtg",
				      "home.rtg", "hooks.rtg", "relay.rtg", "payload.rtg",
				      "common.rtg", "ahead.rtg", "rehearse.rtg" } },
	[GUEST_NOTHING] = { RTG_EMIT_PAYLOAD, { "nothing.rtg" } },
	[GUEST_CLOCK] = { RTG_EMIT_PAYLOAD, { "clock.rtg", "payload.rtg", "common.rtg" } },
	[GUEST_WRITER] = { RTG_EMIT_PAYLOAD, { "writer.rtg", "payload.rtg", "common.rtg" } },
};

const char *const *guest_program_files(enum guest_program which)
{
	return programs[which].files;
}

static const struct rtg_source *find_source(const char *name)
{
	for (size_t i = 0; i < n_guest_sources; i++)
		if (!strcmp(guest_sources[i].name, name))
			return &guest_sources[i];
	return NULL;
}

/* The caller's values, then defaults for what is left out: the first one found counts. */
static size_t add_configs(struct rtg_config *to, const struct guest_values *v, char text[3][16])
{
	static const struct {
		const char *key;
		uint32_t value;
	} defaults[3] = {
		{ "MAILBOX_PHYS_ADDR", INITX_MAILBOX_PHYS },
		{ "TIMESLICE_PHYS_ADDR", INITX_TIMESLICE_PHYS },
		{ "CONFIG_PHYS_ADDR", INITX_CONFIG_PHYS },
	};
	size_t n = 0;

	for (; v && n < v->n_configs && n < MAX_CONFIGS - 3; n++)
		to[n] = v->configs[n];
	for (size_t i = 0; i < 3; i++) {
		snprintf(text[i], sizeof(text[i]), "0x%x", defaults[i].value);
		to[n++] = (struct rtg_config){ defaults[i].key, text[i] };
	}
	return n;
}

int guest_compile(enum guest_program which, enum rtg_arch arch, const struct guest_values *values,
		  struct rtg_output *ret, struct err *err)
{
	struct rtg_options opt = { .arch = arch,
				   .consts = guest_consts,
				   .n_consts = n_guest_consts };
	struct rtg_source src[MAX_FILES];
	struct rtg_config configs[MAX_CONFIGS];
	char text[3][16];
	size_t n = 0;
	int r;

	*ret = (struct rtg_output){ 0 };
	if ((unsigned)which >= GUEST_MAX_)
		return err_set(err, -EINVAL, "no such guest program");
	for (; n < MAX_FILES && programs[which].files[n]; n++) {
		const struct rtg_source *s = find_source(programs[which].files[n]);

		if (!s)
			return err_set(err, -EINVAL, "guest source '%s' is not built in",
				       programs[which].files[n]);
		src[n] = *s;
	}
	opt.emit = programs[which].emit;
	opt.configs = configs;
	opt.n_configs = add_configs(configs, values, text);
	if (values) {
		opt.flags = values->flags;
		opt.n_flags = values->n_flags;
		opt.blobs = values->blobs;
		opt.n_blobs = values->n_blobs;
	}
	r = rtg_compile(&opt, src, n, ret, err);
	if (r == -EINVAL && ret->n_errors) /* the first line says most */
		err_set(err, r, "guest program: %.*s", (int)strcspn(ret->diagnostics, "\n"),
			ret->diagnostics);
	if (r < 0)
		rtg_output_done(ret);
	return r;
}

void guest_renew_time(uint8_t *config)
{
	uint64_t now = clock_realtime_ns();

	le64_store(config + offsetof(struct initx_program, wall_sec), now / NSEC_PER_SEC);
	le64_store(config + offsetof(struct initx_program, wall_nsec), now % NSEC_PER_SEC);
}

int guest_place_program(uint8_t *config, const struct rtg_output *payload, uint32_t data_len,
			uint32_t *ret_data, struct err *err)
{
	uint64_t code = sizeof(struct initx_program) + 4 * (uint64_t)payload->n_relocs;
	uint64_t data = ALIGN_UP(code + payload->len, (uint64_t)16);

	if (payload->len > INITX_PROGRAM_AREA || data + data_len > INITX_COMMAND_OFFSET)
		return err_set(err, -E2BIG, "program of %zu bytes does not fit the config region",
			       payload->len);
	le32_store(config, 0);
	le32_store(config + offsetof(struct initx_program, code_len), (uint32_t)payload->len);
	le32_store(config + offsetof(struct initx_program, n_relocs), (uint32_t)payload->n_relocs);
	le32_store(config + offsetof(struct initx_program, data_offset),
		   data_len ? (uint32_t)data : 0);
	le32_store(config + offsetof(struct initx_program, data_length), data_len);
	le32_store(config + offsetof(struct initx_program, flags), 0);
	guest_renew_time(config);
	for (size_t i = 0; i < payload->n_relocs; i++)
		le32_store(config + sizeof(struct initx_program) + 4 * i, payload->relocs[i]);
	memcpy(config + code, payload->data, payload->len);
	if (ret_data)
		*ret_data = (uint32_t)data;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	le32_store(config, INITX_PROGRAM_MAGIC);
	return 0;
}
