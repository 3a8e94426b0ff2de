/* SPDX-License-Identifier: Apache-2.0 */
/* What of a configuration becomes which item of the command for the guest's init. */
#include "test.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/checked.h"
#include "guest.h"
#include "guestcmd.h"
#include "initx/proto.h"

/* Not used here; the library wants one. */
const struct guest_ops *const guest_backend_ops = NULL;

#define MANY 64

struct built {
	struct oci_config *config;
	struct command *command;
	struct {
		uint16_t type;
		const uint8_t *payload;
		uint32_t len;
	} items[MANY];
	size_t n;
};

/* A command from a configuration whose mounts and linux are the given JSON. */
static void build(struct built *b, const char *mounts, const char *lnx, const char *more,
		  uint32_t init_id)
{
	struct guestcmd gc = { .id = 1, .init_id = init_id, .hook_state = "{}" };
	struct command_view view;
	struct err err = { 0 };
	const uint8_t *bytes;
	char text[4096];
	size_t len, at = 0;

	*b = (struct built){ 0 };
	snprintf(text, sizeof(text),
		 "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/"
		 "\",\"args\":[\"a\"]},"
		 "\"mounts\":[%s],\"linux\":{%s}%s}",
		 mounts, lnx, more);
	if (oci_config_parse(text, strlen(text), "config.json", &b->config, &err) < 0)
		fail_msg("%s", err.msg);
	gc.config = b->config;
	gc.process = b->config->process;
	if (guestcmd_build(&gc, &b->command, &err) < 0)
		fail_msg("%s", err.msg);
	bytes = command_bytes(b->command, &len);
	assert_int_equal(command_parse(bytes, len, &view, &err), 0);
	while (b->n < MANY && command_next_item(&view, &at, &b->items[b->n].type,
						&b->items[b->n].payload, &b->items[b->n].len))
		b->n++;
}

static void done(struct built *b)
{
	command_free(b->command);
	oci_config_free(b->config);
}

/* The payload of the @nth item of a type; NULL when there are fewer. */
static const uint8_t *item(const struct built *b, uint16_t type, unsigned nth)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->items[i].type == type && nth-- == 0)
			return b->items[i].payload;
	}
	return NULL;
}

static void is_mount(const uint8_t *p, uint64_t flags, const char *source, const char *target,
		     const char *type, const char *data)
{
	const char *want[] = { source, target, type, data };
	const char *s = (const char *)p + 8;

	assert_non_null(p);
	assert_int_equal(le64_load(p), flags);
	for (unsigned i = 0; i < 4; i++, s += strlen(s) + 1)
		assert_string_equal(s, want[i]);
}

static void changes_what_init_has_made(void **state)
{
	struct built b;

	build(&b,
	      "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"options\":[\"nosuid\",\"size=1m\"]},"
	      "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"options\":[\"ro\"]},"
	      "{\"destination\":\"/proc\",\"type\":\"proc\"}",
	      "", "", 0);
	is_mount(item(&b, INITX_ITEM_MOUNT, 0), MS_REMOUNT | MS_NOSUID, "", "/dev", "", "size=1m");
	is_mount(item(&b, INITX_ITEM_MOUNT, 1), MS_REMOUNT | MS_BIND | MS_RDONLY, "", "/sys", "",
		 "");
	is_mount(item(&b, INITX_ITEM_MOUNT, 2), 0, "proc", "/proc", "proc", "");
	done(&b);
}

static void binds_again_what_its_own_mounts_cover(void **state)
{
	struct built b;

	build(&b,
	      "{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/"
	      "x\",\"options\":[\"rbind\",\"ro\"]},"
	      "{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/"
	      "y\",\"options\":[\"bind\"]},"
	      "{\"destination\":\"/sys\",\"type\":\"bind\",\"source\":\"/"
	      "sys\",\"options\":[\"rbind\"]}",
	      "", "", 0);
	is_mount(item(&b, INITX_ITEM_MOUNT, 0), MS_BIND | MS_RDONLY, "/data", "/data", "", "");
	is_mount(item(&b, INITX_ITEM_MOUNT, 1), MS_BIND, "/", "/dev/.husk-root", "", "");
	is_mount(item(&b, INITX_ITEM_MOUNT, 2), MS_BIND, "/dev/.husk-root/dev/shm", "/dev/shm", "",
		 "");
	assert_null(item(&b, INITX_ITEM_MOUNT, 3));
	assert_string_equal((const char *)item(&b, INITX_ITEM_UNMOUNT, 0), "/dev/.husk-root");
	done(&b);
}

static void copies_up(void **state)
{
	struct built b;

	build(&b,
	      "{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"tmpcopyup\",\"ro\"]},"
	      "{\"destination\":\"/"
	      "b\",\"type\":\"tmpfs\",\"options\":[\"tmpcopyup\",\"mode=700\",\"rshared\"]}",
	      "", "", 0);
	is_mount(item(&b, INITX_ITEM_COPY_UP, 0), (uint64_t)INITX_COPY_UP_OWNER << 32, "tmpfs",
		 "/a", "tmpfs", "");
	is_mount(item(&b, INITX_ITEM_MOUNT, 0), MS_REMOUNT | MS_BIND | MS_RDONLY, "", "/a", "", "");
	is_mount(item(&b, INITX_ITEM_COPY_UP, 1), 0, "tmpfs", "/b", "tmpfs", "mode=700");
	is_mount(item(&b, INITX_ITEM_MOUNT, 1), MS_SHARED | MS_REC, "", "/b", "", "");
	done(&b);
}

static void limits_processes(void **state)
{
	struct built b;

	build(&b, "", "\"resources\":{\"pids\":{\"limit\":9}}", "", 0);
	assert_memory_equal(item(&b, INITX_ITEM_CGROUP, 0), "pids.max\0009", 11);
	done(&b);
	build(&b, "", "\"resources\":{\"pids\":{\"limit\":-1}}", "", 0);
	assert_memory_equal(item(&b, INITX_ITEM_CGROUP, 0), "pids.max\0max", 13);
	done(&b);
	/* What is executed later joins, and changes nothing. */
	build(&b, "", "\"resources\":{\"pids\":{\"limit\":9}}", "", 1);
	assert_memory_equal(item(&b, INITX_ITEM_CGROUP, 0), "\0", 2);
	done(&b);
	/* More than any kernel has. */
	build(&b, "", "\"resources\":{\"pids\":{\"limit\":4194305}}", "", 0);
	assert_memory_equal(item(&b, INITX_ITEM_CGROUP, 0), "pids.max\0max", 13);
	done(&b);
	/* A limit may come later. */
	build(&b, "", "", "", 0);
	assert_memory_equal(item(&b, INITX_ITEM_CGROUP, 0), "\0", 2);
	done(&b);
}

static void sends_hooks_for_the_first_process_only(void **state)
{
	static const char hooks[] = ",\"hooks\":{\"startContainer\":[{\"path\":\"/"
				    "p\",\"args\":[\"x\",\"y\"],\"env\":[\"A=b\"],"
				    "\"timeout\":5},{\"path\":\"/q\"}]}";
	const uint8_t *p;
	struct built b;

	build(&b, "", "", hooks, 0);
	p = item(&b, INITX_ITEM_HOOK, 0);
	assert_non_null(p);
	assert_int_equal(le32_load(p), 5);
	assert_int_equal(le32_load(p + 4), 2);
	assert_int_equal(le32_load(p + 8), 1);
	assert_memory_equal(p + 16, "/p\0x\0y\0A=b", 11);
	/* Without arguments the path is the first. */
	p = item(&b, INITX_ITEM_HOOK, 1);
	assert_int_equal(le32_load(p + 4), 1);
	assert_memory_equal(p + 16, "/q\0/q", 6);
	assert_memory_equal(item(&b, INITX_ITEM_HOOK_STATE, 0), "{}", 2);
	done(&b);
	build(&b, "", "", hooks, 1);
	assert_null(item(&b, INITX_ITEM_HOOK, 0));
	done(&b);
}

static void sets_the_propagation_of_the_root(void **state)
{
	struct built b;

	build(&b, "", "\"rootfsPropagation\":\"rslave\"", "", 0);
	is_mount(item(&b, INITX_ITEM_MOUNT, 0), MS_SLAVE | MS_REC, "", "/", "", "");
	done(&b);
	build(&b, "", "\"rootfsPropagation\":\"private\"", "", 0);
	assert_null(item(&b, INITX_ITEM_MOUNT, 0));
	done(&b);
}

/* The items of a command before the mark, or NULL without one. */
static const uint8_t *ahead_of(struct command *c, size_t *ret_len)
{
	const uint8_t *payload, *bytes;
	struct command_view view;
	struct err err = { 0 };
	size_t len, at = 0, before = 0;
	uint16_t type;
	uint32_t n;

	bytes = command_bytes(c, &len);
	assert_int_equal(command_parse(bytes, len, &view, &err), 0);
	for (; command_next_item(&view, &at, &type, &payload, &n); before = at) {
		if (type == INITX_ITEM_AHEAD) {
			*ret_len = before;
			return view.items;
		}
	}
	return NULL;
}

static void begins_with_what_was_done_ahead(void **state)
{
	static const char mounts[] = "{\"destination\":\"/t\",\"type\":\"tmpfs\"}",
			  copy[] = "{\"destination\":\"/t\",\"type\":\"tmpfs\",\"options\":["
				   "\"tmpcopyup\"]}",
			  lnx[] = "\"maskedPaths\":[\"/m\"],\"resources\":{\"pids\":{\"limit\":"
				  "7}}";
	struct guestcmd gc = { .id = 1, .hook_state = "{}", .ahead = true };
	const char files[] = "/a\0/b";
	struct command *c, *ahead;
	const uint8_t *p, *q;
	struct err err = { 0 };
	size_t len, other_len;
	struct built b;

	build(&b, mounts, lnx, ",\"hostname\":\"h\"", 0);
	gc.config = b.config;
	gc.process = b.config->process;
	assert_null(ahead_of(b.command, &len)); /* it was not allowed */
	assert_int_equal(guestcmd_build(&gc, &c, &err), 0);
	assert_int_equal(guestcmd_build_ahead(b.config, files, sizeof(files), &ahead, &err), 0);
	p = ahead_of(c, &len);
	q = ahead_of(ahead, &other_len);
	assert_true(p && q && len > 60);
	assert_int_equal(len, other_len);
	assert_memory_equal(p, q, len);
	command_free(c);
	command_free(ahead);
	done(&b);

	/* What would be copied may have changed by then. */
	build(&b, copy, "", "", 0);
	gc.config = b.config;
	gc.process = b.config->process;
	assert_int_equal(guestcmd_build(&gc, &c, &err), 0);
	assert_null(ahead_of(c, &len));
	command_free(c);
	done(&b);
}

static void names_the_steps(void **state)
{
	assert_string_equal(guestcmd_step_str(INITX_STEP_HOOK), "hooks.startContainer");
	assert_string_equal(guestcmd_step_str(INITX_STEP_EXEC), "");
	assert_string_equal(guestcmd_step_str(4000000000U), "start");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_what_init_has_made),
		cmocka_unit_test(binds_again_what_its_own_mounts_cover),
		cmocka_unit_test(copies_up),
		cmocka_unit_test(limits_processes),
		cmocka_unit_test(sends_hooks_for_the_first_process_only),
		cmocka_unit_test(sets_the_propagation_of_the_root),
		cmocka_unit_test(begins_with_what_was_done_ahead),
		cmocka_unit_test(names_the_steps),
	};

	return cmocka_run_group_tests_name("runtime/guestcmd", tests, NULL, NULL);
}
