/* SPDX-License-Identifier: Apache-2.0 */
/* Says as JSON what a process inside a container finds: the container's pid 1 runs it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CAPS 41

static const char *separator = "";

static void print_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < ' ')
			printf("\\u%04x", (unsigned)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void key(const char *name)
{
	printf("%s\n  \"%s\": ", separator, name);
	separator = ",";
}

static void number(const char *name, long long value)
{
	key(name);
	printf("%lld", value);
}

static void text(const char *name, const char *value)
{
	key(name);
	print_string(value);
}

static void strings(const char *name, char *const *v)
{
	const char *sep = "[";

	key(name);
	for (; *v; v++) {
		printf("%s", sep);
		print_string(*v);
		sep = ", ";
	}
	printf("%s]", sep[0] == '[' ? "[" : "");
}

/* The file's lines, those that begin with @prefix if there is one. */
static void lines(const char *name, const char *path, const char *prefix)
{
	FILE *f = fopen(path, "r");
	const char *sep = "";
	char line[4096];

	key(name);
	putchar('[');
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (prefix && strncmp(line, prefix, strlen(prefix)) != 0)
			continue;
		printf("%s", sep);
		print_string(line);
		sep = ",\n    ";
	}
	putchar(']');
	if (f)
		fclose(f);
}

static void limits(void)
{
	key("rlimits");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l = { 0 };

		getrlimit(i, &l);
		printf("%s[%llu, %llu]", i ? ", " : "[", (unsigned long long)l.rlim_cur,
		       (unsigned long long)l.rlim_max);
	}
	putchar(']');
}

static void identity(void)
{
	gid_t groups[64];
	int n = getgroups(64, groups);
	mode_t mask = umask(0);

	number("pid", getpid());
	number("parent", getppid());
	number("session", getsid(0));
	number("uid", getuid());
	number("euid", geteuid());
	number("gid", getgid());
	number("umask", mask);
	umask(mask);
	key("groups");
	for (int i = 0; i < n; i++)
		printf("%s%u", i ? ", " : "[", groups[i]);
	printf("%s]", n > 0 ? "" : "[");
	lines("status", "/proc/self/status", NULL);
	number("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	key("ambient");
	for (int i = 0; i < CAPS; i++)
		printf("%s%d", i ? ", " : "[",
		       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0));
	putchar(']');
}

static void scheduling(void)
{
	struct sched_param param = { 0 };

	number("policy", sched_getscheduler(0));
	sched_getparam(0, &param);
	number("priority", param.sched_priority);
	number("nice", getpriority(PRIO_PROCESS, 0));
	number("io_priority", syscall(SYS_ioprio_get, 1, 0));
	lines("oom_score_adj", "/proc/self/oom_score_adj", NULL);
}

/* What an open for reading or writing of each path says, and whether reading gives anything. */
static void paths(const char *name, int flags, char **v)
{
	key(name);
	putchar('{');
	for (const char *sep = ""; *v && strcmp(*v, "-") != 0; v++, sep = ", ") {
		int fd = open(*v, flags | O_NONBLOCK);
		int err = fd < 0 ? errno : 0;
		DIR *dir = fd >= 0 ? fdopendir(dup(fd)) : NULL;
		char byte;
		int n = 0;

		if (dir) {
			for (const struct dirent *d; (d = readdir(dir));)
				n += d->d_name[0] != '.';
			closedir(dir);
		} else if (fd >= 0 && flags == O_RDONLY) {
			n = (int)read(fd, &byte, 1);
		}
		printf("%s\n    ", sep);
		print_string(*v);
		printf(": [%d, %d]", err, n);
		close(fd);
	}
	putchar('}');
}

static void nodes(char **v)
{
	key("nodes");
	putchar('{');
	for (const char *sep = ""; *v && strcmp(*v, "-") != 0; v++, sep = ", ") {
		struct stat st = { 0 };
		int r = lstat(*v, &st) < 0 ? errno : 0;

		printf("%s\n    ", sep);
		print_string(*v);
		printf(": [%d, \"%o\", %u, %u, \"%llx\"]", r, st.st_mode, st.st_uid, st.st_gid,
		       (unsigned long long)(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? st.st_rdev
										       : 0));
	}
	putchar('}');
}

static int refused(long r)
{
	return r < 0 ? errno : 0;
}

static void denials(void)
{
	key("denials");
	printf("{\"mkdir\": %d, ", refused(mkdir("/tmp/seccomp", 0700)));
	printf("\"getcpu\": %d, ", refused(syscall(SYS_getcpu, NULL, NULL, NULL)));
	printf("\"dup 77\": %d, ", refused(dup(77)));
	printf("\"dup 78\": %d, ", refused(dup(78)));
	printf("\"unshare\": %d, ", refused(syscall(SYS_unshare, 0x20000)));
	printf("\"chroot\": %d}", refused(chroot("/")));
}

/* usage: report READ... - WRITE... - NODE... - SYSCTL... */
int main(int argc, char **argv)
{
	extern char **environ;
	char **read_from = argv + 1, **write_to = read_from, **node, **sysctl;
	struct utsname names;
	char cwd[4096];

	while (*write_to && strcmp(*write_to++, "-") != 0)
		;
	for (node = write_to; *node && strcmp(*node++, "-") != 0;)
		;
	for (sysctl = node; *sysctl && strcmp(*sysctl++, "-") != 0;)
		;
	printf("{");
	identity();
	strings("args", argv);
	strings("environment", environ);
	text("cwd", getcwd(cwd, sizeof(cwd)) ? cwd : "");
	limits();
	scheduling();
	uname(&names);
	text("hostname", names.nodename);
	text("domainname", names.domainname);
	paths("readable", O_RDONLY, read_from);
	paths("writable", O_WRONLY, write_to);
	nodes(node);
	for (; *sysctl; sysctl++)
		lines(*sysctl, *sysctl, NULL);
	lines("mounts", "/proc/self/mountinfo", NULL);
	lines("pids", "/sys/fs/cgroup/pids.max", NULL);
	lines("hook", "/tmp/hook", NULL);
	number("tty", isatty(0));
	denials();
	puts("\n}");
	return 0;
}
