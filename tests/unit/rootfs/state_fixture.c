/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/wire.h"
#include "state_fixture.h"

struct fuse_client c;
uint64_t dir, file, fh, dfh, other, other_fh;
void *saved;
size_t saved_len;
uint32_t lost;
uint8_t *content;
size_t content_len;
uint64_t content_max;

const char *at(const char *rel)
{
	static char buf[4][128];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/root/%s", c.dir, rel);
	return buf[i];
}

int setup(void **state)
{
	struct fuse_mkdir_in mk = { .mode = 0755 };

	saved = NULL;
	content_len = 0;
	content_max = UINT64_MAX;
	if (fc_open(&c, NULL) < 0 || fc_init(&c) < 0 ||
	    fc_call(&c, FUSE_MKDIR, 1, &mk, sizeof(mk), "dir", 4) < 0)
		return -1;
	dir = fc_lookup(&c, 1, "dir", NULL);
	if (fc_create(&c, dir, "file", O_RDWR, 0644, &file, &fh) < 0 ||
	    fc_write(&c, file, fh, 0, "content", 7) < 0 ||
	    fc_open_node(&c, dir, O_DIRECTORY, &dfh) < 0 ||
	    fc_create(&c, 1, "other", O_RDWR, 0644, &other, &other_fh) < 0)
		return -1;
	return 0;
}

int teardown(void **state)
{
	free(saved);
	free(content);
	content = NULL;
	fc_close(&c);
	return 0;
}

static int on_content(void *opaque, const void *p, size_t len, struct err *err)
{
	if (*(int *)opaque < 0)
		return err_set(err, *(int *)opaque, "no");
	content = realloc(content, content_len + len);
	assert_non_null(content);
	memcpy(content + content_len, p, len);
	content_len += len;
	return 0;
}

int try_to_save(int answer)
{
	const struct fuse_sink sink = { .write = on_content,
					.opaque = &answer,
					.max = content_max };
	struct err err = { 0 };
	int r;

	fuse_server_quiesce(c.srv);
	r = fuse_server_save(c.srv, &sink, &saved, &saved_len, &lost, &err);
	fuse_server_resume(c.srv);
	assert_true(r == 0 || err.msg[0]);
	return r;
}

void save(void)
{
	assert_int_equal(try_to_save(0), 0);
}

int take(const void *p, size_t len, const void *stream, size_t stream_len, enum fuse_verify verify,
	 struct fuse_restore_result *res)
{
	const struct fuse_saved s = { p, len, stream, stream_len, verify };
	struct err err = { 0 };
	int r = fuse_server_restore(c.srv, &s, res, &err);

	assert_true(r == 0 || err.msg[0]);
	return r;
}

int restore(enum fuse_verify verify, struct fuse_restore_result *res)
{
	assert_int_equal(fc_restart(&c, NULL), 0);
	return take(saved, saved_len, content, content_len, verify, res);
}

void change(const char *how)
{
	char text[512];

	snprintf(text, sizeof(text), "cd %s/root && %s", c.dir, how);
	if (system(text) != 0)
		fail_msg("%s", how);
}
