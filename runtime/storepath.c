/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's directories are. */
#include "storepath.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int fits(int n, size_t len, const char *name, struct err *err)
{
	if (n < 0 || (size_t)n >= len)
		return err_set(err, -ENAMETOOLONG, "the path of the store of %s is too long", name);
	return 0;
}

bool store_is_root(void)
{
	struct stat st;

	/* Of an owner outside of the namespace the kernel says that it is nobody. */
	return geteuid() == 0 && stat("/run", &st) == 0 && st.st_uid == 0;
}

int store_path(const char *variable, const char *name, char *buf, size_t len, struct err *err)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	const char *store = getenv(variable);

	if (store && store[0] == '/')
		return fits(snprintf(buf, len, "%s", store), len, name, err);
	if (store_is_root())
		return fits(snprintf(buf, len, STORE_PATH_ROOT "/%s", name), len, name, err);
	if (data && data[0] == '/')
		return fits(snprintf(buf, len, "%s/husk/%s", data, name), len, name, err);
	if (home && home[0] == '/')
		return fits(snprintf(buf, len, "%s/.local/share/husk/%s", home, name), len, name,
			    err);
	return err_set(err, -ENOENT, "no store of %s: neither XDG_DATA_HOME nor HOME is set", name);
}
