/* SPDX-License-Identifier: Apache-2.0 */
/* Making a container. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cgroup.h"
#include "control.h"
#include "foreground.h"
#include "guest.h"
#include "guestcmd.h"
#include "kept.h"
#include "lifecycle.h"
#include "network.h"
#include "oci/hooks.h"
#include "program.h"
#include "snapmaker.h"
#include "vmmproc.h"

#define CONFIG_NAME  "config.json"
#define CONSOLE_TAIL 1000 /* bytes */
#define END_WAIT_MS  1000

/* What create has made so far; taken back when it fails. */
struct making {
	const struct create_options *opt;
	struct oci_config *config;
	char *config_text;
	size_t config_len;
	char bundle[PATH_MAX], rootfs[PATH_MAX];
	struct statedir dir;
	struct oci_state state;
	int vmm_fd;	 /* our end of the pair */
	int terminal_fd; /* where a terminal's master comes from, in the foreground */
	pid_t vmm;
	enum snapshot_mode snapshot;
	bool has_maker; /* the VMM, of a snapshot */
	int restore_fd; /* of the directory with a checkpoint, or -1 */
	int claim;	/* to the cgroup, until the VMM is in it */
	struct created result;
};

/* ---- before anything is made ---- */

static int find_paths(struct making *m, struct err *err)
{
	const char *bundle = m->opt->bundle ? m->opt->bundle : ".";
	const char *path = m->config->root->path;
	struct stat st;

	if (path[0] == '/')
		snprintf(m->rootfs, sizeof(m->rootfs), "%s", path);
	else if (snprintf(m->rootfs, sizeof(m->rootfs), "%s/%s", m->bundle, path) >=
		 (int)sizeof(m->rootfs))
		return err_set(err, -ENAMETOOLONG, "root.path in bundle '%s'", bundle);
	if (stat(m->rootfs, &st) < 0)
		return err_advise(err,
				  err_errno(err, errno, "config.json: root.path: '%s'", m->rootfs),
				  "unpack the container's files there, or name their directory");
	if (!S_ISDIR(st.st_mode))
		return err_set(
			err, -ENOTDIR,
			"config.json: root.path: '%s' is not a directory: unpack or mount an "
			"image, and name the directory",
			m->rootfs);
	return 0;
}

static int read_config(struct making *m, struct err *err)
{
	const char *bundle = m->opt->bundle ? m->opt->bundle : ".";
	char path[PATH_MAX];
	int r;

	if (!realpath(bundle, m->bundle))
		return err_advise(err, err_errno(err, errno, "bundle '%s'", bundle),
				  "name the directory with config.json by --bundle");
	if (snprintf(path, sizeof(path), "%s/" CONFIG_NAME, m->bundle) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "bundle '%s'", bundle);
	if (m->opt->config)
		snprintf(path, sizeof(path), "%s", m->opt->config);
	r = oci_file_read(AT_FDCWD, path, &m->config_text, &m->config_len, err);
	if (r == 0)
		r = oci_config_parse(m->config_text, m->config_len, CONFIG_NAME, &m->config, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->config->warnings.n; i++)
		log_warn("%s", m->config->warnings.v[i]);
	network_warn(m->config);
	guestcmd_warn(m->config);
	return find_paths(m, err);
}

/* The option, else the annotation. */
static int read_snapshot_mode(struct making *m, struct err *err)
{
	static const char *const names[SNAPSHOT_MODE_MAX_] = { "auto", "off", "early", "late" };
	const char *note = oci_annotation(m->config, "dev.husk.snapshot");
	const char *word = m->opt->snapshot ? m->opt->snapshot : note ? note : names[0];

	for (unsigned i = 0; i < SNAPSHOT_MODE_MAX_; i++) {
		if (!strcmp(word, names[i])) {
			m->snapshot = (enum snapshot_mode)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "snapshot: '%s' is not auto, off, early or late", word);
}

static int check_console(const struct making *m, struct err *err)
{
	bool terminal = m->config->process->terminal;
	if (terminal && !m->opt->console_socket && !m->opt->foreground)
		return err_set(err, -EINVAL,
			       "cannot allocate tty if husk will detach without setting console "
			       "socket");
	if (!terminal && m->opt->console_socket)
		return err_set(err, -EINVAL,
			       "cannot use console socket if husk will not detach or allocate tty");
	return 0;
}

/* ---- the directory ---- */

static int fill_state(struct making *m, struct err *err)
{
	const struct oci_map *notes = &m->config->annotations;
	struct oci_state *s = &m->state;

	s->id = strdup(m->opt->id);
	s->bundle = strdup(m->bundle);
	s->rootfs = strdup(m->rootfs);
	s->config_path = strdup(CONFIG_NAME);
	s->created_ns = clock_realtime_ns();
	s->owner_uid = geteuid();
	s->annotations = calloc(notes->n + 1, sizeof(*s->annotations));
	if (!s->id || !s->bundle || !s->rootfs || !s->config_path || !s->annotations)
		return err_set(err, -ENOMEM, "create: no memory");
	for (size_t i = 0; i < notes->n; i++) {
		struct oci_pair *pair = &s->annotations[s->n_annotations++];

		pair->key = strdup(notes->v[i].key);
		pair->value = strdup(notes->v[i].value);
		if (!pair->key || !pair->value)
			return err_set(err, -ENOMEM, "create: no memory");
	}
	return 0;
}

static int fill_directory(struct making *m, struct err *err)
{
	int AUTO_FD fd =
		openat(m->dir.fd, CONFIG_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, m->config_text, m->config_len);

	if (r < 0)
		return err_errno(err, -r, "write '%s/%s'", m->dir.path, CONFIG_NAME);
	return statedir_save(&m->dir, &m->state, err);
}

/* ---- the process ---- */

/* Those of the machine's process; the container's are the guest's. */
static int namespaces(const struct making *m)
{
	const struct oci_namespace *net = oci_namespace_find(m->config, CLONE_NEWNET);
	int flags = net && !net->path ? CLONE_NEWNET : 0;

	if (guest_backend_ops->sandboxed)
		flags |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	return flags;
}

static int fork_vmm(struct making *m, struct err *err)
{
	int AUTO_FD cgroup_fd = cgroup_open(m->state.cgroup);
	struct sandbox_namespaces ns = { .flags = namespaces(m), .cgroup_fd = cgroup_fd };
	int pair[2], term[2] = { -1, -1 };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, errno, "socketpair");
	if (m->opt->foreground && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, term) < 0) {
		int r = err_errno(err, errno, "socketpair");

		fd_close(pair[0]);
		fd_close(pair[1]);
		return r;
	}
	m->vmm = sandbox_fork(&ns, err);
	if (m->vmm == 0) {
		const struct vmmproc_config config = {
			.namespaces = &ns,
			.dir = &m->dir,
			.config = m->config,
			.state = &m->state,
			.bundle = m->bundle,
			.rootfs = m->rootfs,
			.console_socket = m->opt->console_socket,
			.terminal_master_to = term[1],
			.n_preserve_fds = m->opt->n_preserve_fds,
			.parent_fd = pair[1],
			.snapshot = m->snapshot,
			.restore_fd = m->restore_fd,
			.snapshot_wait = m->opt->snapshot_wait,
		};

		fd_close(pair[0]);
		fd_close(term[0]);
		vmmproc_main(&config);
	}
	fd_close(pair[1]);
	fd_close(term[1]);
	/* They are the VMM's now. */
	for (unsigned i = 0; i < m->opt->n_preserve_fds; i++)
		close(KEPT_FIRST + (int)i);
	m->vmm_fd = pair[0];
	m->terminal_fd = term[0];
	if (m->vmm < 0)
		return m->vmm;
	/* One that has ended already has said why: that is read next. */
	if (pid_start_time(m->vmm, &m->state.pid_start) < 0)
		m->state.pid_start = 0;
	m->state.pid = m->vmm;
	return 0;
}

/* The end of a log of the container: its directory is taken back. */
static void read_tail(const struct making *m, const char *name, char *buf, size_t len)
{
	int AUTO_FD fd = openat(m->dir.fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n = end <= 0 ? 0 : pread(fd, buf, len - 1, MAX(0, end - (off_t)len + 1));

	buf[MAX(n, 0)] = '\0';
}

/* The last lines that the guest's kernel and init said. */
static void show_console(const struct making *m)
{
	char text[CONSOLE_TAIL + 1], *save = NULL;

	read_tail(m, VMMPROC_CONSOLE_LOG, text, sizeof(text));
	/* From the guest, to a person's terminal. */
	for (char *c = text; *c; c++)
		*c = *c == '\n' || (*c >= ' ' && *c < 0x7f) ? *c : *c == '\r' ? '\n' : '?';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_warn("guest: %s", line);
}

/* The last line that the VMM process said: what it crashed of. "" when there is none. */
static void last_words(const struct making *m, char *buf, size_t len)
{
	const char *line;

	read_tail(m, VMMPROC_LOG, buf, len);
	buf[strlen(buf) - (buf[0] && buf[strlen(buf) - 1] == '\n')] = '\0';
	line = strrchr(buf, '\n');
	if (line)
		memmove(buf, line + 1, strlen(line));
}

/* Which it may not say itself. It is collected later. */
static void how_it_ended(const struct making *m, char *buf, size_t len)
{
	int AUTO_FD fd = (int)syscall(SYS_pidfd_open, m->vmm, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	siginfo_t si = { 0 };

	if (fd >= 0)
		(void)fd_wait(&p, 1, END_WAIT_MS);
	if (waitid(P_PID, (id_t)m->vmm, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
		snprintf(buf, len, "it closed its connection");
	else if (si.si_code == CLD_EXITED)
		snprintf(buf, len, "status %d", si.si_status);
	else
		snprintf(buf, len, "killed by SIG%s", sigabbrev_np(si.si_status));
}

/* Who publishes a snapshot outlives both: a child of this process. Without one the container starts
 * too. */
static int send_maker(const struct making *m)
{
	struct control_msg msg = { .op = CONTROL_REPLY, .fds = { snapmaker_fork(NULL) } };
	int r;

	msg.n_fds = msg.fds[0] >= 0;
	r = control_send(m->vmm_fd, &msg);
	if (msg.n_fds)
		fd_close(msg.fds[0]);
	return r;
}

static int leave_cgroup(struct making *m, struct err *err)
{
	cgroup_remove(m->state.cgroup, NULL);
	free(m->state.cgroup);
	m->state.cgroup = NULL;
	return statedir_save(&m->dir, &m->state, err);
}

/* What the VMM may say on the way to a note that is waited for, each once. */
static int serve_note(struct making *m, char note, enum vmmproc_note want, struct err *err)
{
	if (note == VMMPROC_NO_CGROUP && want == VMMPROC_NAMESPACES && m->state.cgroup)
		return leave_cgroup(m, err);
	if (note == VMMPROC_MAKER && want == VMMPROC_READY && !m->has_maker) {
		m->has_maker = true;
		return send_maker(m);
	}
	return err_set(err, -EPROTO, "VMM process: unexpected note");
}

/* Wait for one note of the VMM. Return: 0; its error. */
static int wait_note(struct making *m, enum vmmproc_note want, struct err *err)
{
	char text[2 + ERR_MSG_MAX], why[ERR_MSG_MAX], how[80];
	ssize_t n;
	int r;

	do
		n = recv(m->vmm_fd, text, sizeof(text) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		how_it_ended(m, how, sizeof(how));
		last_words(m, why, sizeof(why));
		return err_set(
			err, -ESRCH,
			"the VMM process of container '%s' ended before it was ready (%s)%s%s",
			m->opt->id, how, why[0] ? ": " : "", why);
	}
	text[n] = '\0';
	if (text[0] == VMMPROC_ERROR)
		return err_set(err, -EIO, "%s", text + 1);
	if (text[0] == (char)want)
		return 0;
	r = serve_note(m, text[0], want, err);
	return r < 0 ? r : wait_note(m, want, err);
}

static int run_create_hooks(struct making *m, struct err *err)
{
	static const enum oci_hook_kind kinds[] = { OCI_HOOK_PRESTART, OCI_HOOK_CREATE_RUNTIME,
						    OCI_HOOK_CREATE_CONTAINER };
	AUTO_FREE char *input = NULL;
	int r = oci_state_print(&m->state, false, &input, err);

	for (unsigned i = 0; r == 0 && i < ARRAY_LEN(kinds); i++)
		r = oci_hooks_run(m->config, kinds[i], m->bundle, input, err);
	return r;
}

static int receive_terminal(struct making *m, struct err *err)
{
	struct control_msg msg = { 0 };

	if (!m->config->process->terminal || !m->opt->foreground)
		return 0;
	if (control_receive(m->terminal_fd, &msg) != 1 || msg.n_fds != 1) {
		control_msg_done(&msg);
		return err_set(err, -EPROTO, "the terminal did not come");
	}
	m->result.terminal = fd_steal(&msg.fds[0]);
	msg.n_fds = 0;
	control_msg_done(&msg);
	/* The first look at the size shall be the right one. */
	foreground_size(m->result.terminal);
	return 0;
}

/* Its name is on record by now, as the pid will be: delete finds what a killed create leaves. */
static int make_cgroup(struct making *m, struct err *err)
{
	int r = m->state.cgroup ? cgroup_create(m->config, m->state.cgroup, &m->claim, err) : 1;

	/* Not ours: there is nothing of it to be removed. */
	if (r <= 0) {
		free(m->state.cgroup);
		m->state.cgroup = NULL;
	}
	return MIN(r, 0);
}

/* The VMM takes it for the moment when the guest is ready. */
static int ask_start(struct making *m, struct err *err)
{
	int r;

	if (!m->opt->start)
		return 0;
	m->result.start_fd = control_connect(&m->dir, err);
	if (m->result.start_fd < 0)
		return m->result.start_fd;
	r = control_send(m->result.start_fd, &(struct control_msg){ .op = CONTROL_START });
	return r < 0 ? err_set(err, -ESRCH, "the VMM process ended") : 0;
}

static int bring_up(struct making *m, struct err *err)
{
	char go = VMMPROC_GO;
	int r = make_cgroup(m, err);

	if (r == 0)
		r = fork_vmm(m, err);
	if (r == 0)
		r = statedir_save(&m->dir, &m->state, err);
	if (r == 0)
		r = wait_note(m, VMMPROC_NAMESPACES, err);
	if (r == 0)
		cgroup_unclaim(fd_steal(&m->claim));
	if (r == 0)
		r = receive_terminal(m, err);
	if (r == 0)
		r = run_create_hooks(m, err);
	if (r == 0 && send(m->vmm_fd, &go, 1, MSG_NOSIGNAL) != 1)
		r = err_set(err, -ESRCH, "the VMM process ended");
	if (r == 0)
		r = ask_start(m, err);
	if (r == 0) {
		r = wait_note(m, VMMPROC_READY, err);
		if (r < 0)
			show_console(m);
	}
	if (r < 0)
		return r;
	m->state.status = OCI_STATUS_CREATED;
	r = statedir_save(&m->dir, &m->state, err);
	if (r == 0 && m->opt->pid_file)
		r = pid_file_write(m->opt->pid_file, m->vmm, err);
	return r;
}

static void take_back(struct making *m)
{
	if (m->vmm > 0) {
		kill(m->vmm, SIGKILL);
		while (waitpid(m->vmm, NULL, 0) < 0 && errno == EINTR)
			;
	}
	cgroup_remove(m->state.cgroup, NULL);
	cgroup_unclaim(fd_steal(&m->claim));
	if (m->vmm > 0)
		network_release(m->config, NULL);
	if (m->dir.fd >= 0)
		statedir_remove(&m->dir, NULL);
}

int container_create(const struct create_options *opt, struct created *ret, struct err *err)
{
	struct making m = { .opt = opt,
			    .dir = STATEDIR_NONE,
			    .vmm_fd = -1,
			    .terminal_fd = -1,
			    .restore_fd = -1,
			    .vmm = -1,
			    .claim = -1,
			    .result = { .terminal = -1, .start_fd = -1 } };
	/* First: what is opened here would take the place of a descriptor that is not there. */
	int r = kept_check(opt->n_preserve_fds, err);

	if (r == 0)
		r = statedir_check_id(opt->id, err);
	if (r == 0)
		r = read_config(&m, err);
	if (r == 0)
		r = read_snapshot_mode(&m, err);
	if (r == 0)
		r = check_console(&m, err);
	if (r == 0 && guest_backend_ops->real_root)
		r = program_check(m.config, m.rootfs, err);
	if (r == 0)
		r = fill_state(&m, err);
	if (r == 0 && opt->restore_from)
		r = m.restore_fd = snap_store_open(opt->restore_from, false, err);
	if (r >= 0)
		r = statedir_create(opt->root, opt->id, &m.dir, err);
	/* The name is ours from here on: a container that is there already may have the same. */
	if (r == 0 && !opt->cgroups_disabled)
		r = cgroup_name(m.config, &m.dir, &m.state.cgroup, err);
	if (r == 0)
		r = fill_directory(&m, err);
	if (r == 0)
		r = bring_up(&m, err);
	if (r == -ENOSPC || r == -EDQUOT)
		err_advise(err, r, "make room there, or keep containers elsewhere with --root");
	if (r < 0) {
		take_back(&m);
		fd_close(m.result.terminal);
		fd_close(m.result.start_fd);
	} else {
		m.result.pid = m.vmm;
		*ret = m.result;
	}
	fd_close(m.vmm_fd);
	fd_close(m.terminal_fd);
	fd_close(m.restore_fd);
	statedir_close(&m.dir);
	oci_state_done(&m.state);
	oci_config_free(m.config);
	free(m.config_text);
	return r;
}
