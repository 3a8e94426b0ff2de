/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a container after its creation, from the side of the verbs. */
#include "lifecycle.h"
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "cgroup.h"
#include "control.h"
#include "oci/hooks.h"

#define CONFIG_NAME	"config.json"
#define KILL_TIMEOUT_MS 10000

int signal_parse(const char *text)
{
	const char *name = !strncasecmp(text, "SIG", 3) ? text + 3 : text;
	char *end;
	long n = strtol(text, &end, 10);

	if (text[0] >= '0' && text[0] <= '9' && !*end)
		return n >= 0 && n <= SIGRTMAX ? (int)n : -EINVAL;
	for (int sig = 1; sig < 32; sig++) {
		const char *abbrev = sigabbrev_np(sig);

		if (abbrev && !strcasecmp(abbrev, name))
			return sig;
	}
	if (!strcasecmp(name, "CLD"))
		return SIGCHLD;
	if (!strcasecmp(name, "IOT"))
		return SIGABRT;
	if (!strcasecmp(name, "POLL"))
		return SIGPOLL;
	/* In the guest the numbers are the kernel's: 34 is the first that libraries leave free. */
	if (!strncasecmp(name, "RTMIN", 5)) {
		n = strtol(name + 5, &end, 10);
		return !*end && n >= 0 && n <= 30 ? 34 + (int)n : -EINVAL;
	}
	if (!strncasecmp(name, "RTMAX", 5)) {
		n = strtol(name + 5, &end, 10);
		return !*end && n <= 0 && n >= -30 ? 64 + (int)n : -EINVAL;
	}
	return -EINVAL;
}

int pid_file_write(const char *path, pid_t pid, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);
	int r = fd_write_file(path, 0644, text, (size_t)n);

	return r < 0 ? err_errno(err, -r, "write pid file '%s'", path) : 0;
}

int container_load(const char *root, const char *id, bool lock, struct statedir *ret_dir,
		   struct oci_state *ret, struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	int r = statedir_open(root, id, lock, &dir, err);

	if (r < 0)
		return r;
	r = statedir_load(&dir, ret, err);
	if (r == -ENOENT)
		err_set(err, r, "container does not exist: '%s'", id);
	if (r < 0)
		statedir_close(&dir);
	else
		*ret_dir = dir;
	return r;
}

/* Hooks after creation come from the copy of the configuration in the state directory. */
static int load_config(const struct statedir *dir, struct oci_config **ret, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = oci_file_read(dir->fd, CONFIG_NAME, &text, &len, err);

	return r < 0 ? r : oci_config_parse(text, len, CONFIG_NAME, ret, err);
}

static int run_hooks(const struct oci_config *config, const struct oci_state *state,
		     enum oci_hook_kind kind, struct err *err)
{
	AUTO_FREE char *input = NULL;
	int r = oci_state_print(state, false, &input, err);

	return r < 0 ? r : oci_hooks_run(config, kind, state->bundle, input, err);
}

/* ---- start ---- */

static int check_startable(const struct oci_state *state, struct err *err)
{
	switch (state->status) {
	case OCI_STATUS_CREATED: return 0;
	case OCI_STATUS_STOPPED:
		return err_set(err, -EINVAL, "cannot start a container that has stopped");
	case OCI_STATUS_RUNNING:
		return err_set(err, -EINVAL, "cannot start an already running container");
	case OCI_STATUS_CREATING:
	case OCI_STATUS_PAUSED:
	case OCI_STATUS_MAX_: break;
	}
	return err_set(err, -EINVAL, "cannot start a container in the %s state",
		       oci_status_str(state->status));
}

/* @fd: of the connection that has asked, or -1. By now the process may have ended again. */
static int start_loaded(const struct statedir *dir, struct oci_state *state, int fd,
			struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err hook_err = { 0 };
	int r = fd >= 0 ? 0 : check_startable(state, err);

	if (r == 0)
		r = fd >= 0 ? control_answer(fd, dir->id, NULL, err)
			    : control_call(dir, &(struct control_msg){ .op = CONTROL_START }, NULL,
					   err);
	if (r < 0)
		return r;
	state->status = OCI_STATUS_RUNNING;
	r = statedir_save(dir, state, err);
	if (r < 0)
		return r;
	/* Ref: runtime-spec v1.2 runtime.md: a failure here is only logged. */
	if (load_config(dir, &config, &hook_err) < 0 ||
	    run_hooks(config, state, OCI_HOOK_POSTSTART, &hook_err) < 0)
		log_warn("%s, ignoring", hook_err.msg);
	return 0;
}

int container_started(const char *root, const char *id, int fd, struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	int r = container_load(root, id, true, &dir, &state, err);

	if (r == 0)
		r = start_loaded(&dir, &state, fd, err);
	oci_state_done(&state);
	statedir_close(&dir);
	fd_close(fd);
	return r;
}

int container_start(const char *root, const char *id, struct err *err)
{
	return container_started(root, id, -1, err);
}

/* ---- kill ---- */

/* A descriptor of the VMM. Return: it; -ESRCH it has ended, or was never there; negative errno. */
static int open_vmm(const struct oci_state *state)
{
	int AUTO_FD fd = state->pid > 0 ? (int)syscall(SYS_pidfd_open, state->pid, 0) : -1;

	if (state->pid <= 0)
		return -ESRCH;
	if (fd < 0)
		return -errno;
	/* The descriptor is of that pid now: is it still that process? */
	return pid_alive(state->pid, state->pid_start) ? fd_steal(&fd) : -ESRCH;
}

static bool wait_vmm(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd_wait(&p, 1, KILL_TIMEOUT_MS) > 0;
}

/* A machine that nobody reaches any more is ending. Who is told so looks at the state next. */
static void wait_unreachable(const struct statedir *dir, const struct oci_state *state)
{
	int AUTO_FD socket_fd = control_connect(dir, NULL);
	int AUTO_FD fd = socket_fd < 0 ? open_vmm(state) : -1;

	if (fd >= 0)
		(void)wait_vmm(fd);
}

int container_kill(const char *root, const char *id, int sig, bool all, struct err *err)
{
	struct control_msg m = { .op = CONTROL_KILL,
				 .arg0 = sig,
				 .arg1 = all ? CONTROL_KILL_ALL : 0 };
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	int r = container_load(root, id, false, &dir, &state, err);

	if (r < 0)
		return r;
	if (state.status == OCI_STATUS_STOPPED || state.status == OCI_STATUS_CREATING)
		/* With --all there may be nothing left to end, which is fine. */
		r = all ? 0 : err_set(err, -ESRCH, "container not running");
	else if (sig == SIGKILL && state.status == OCI_STATUS_PAUSED)
		/* A guest that stands still cannot end its processes. */
		r = kill(state.pid, SIGKILL) < 0 ? err_errno(err, errno, "kill") : 0;
	else
		r = control_call(&dir, &m, NULL, err);
	if (r == -ESRCH) {
		wait_unreachable(&dir, &state);
		err_set(err, r, "container not running");
	}
	oci_state_done(&state);
	statedir_close(&dir);
	return r;
}

/* ---- delete ---- */

/* End the VMM and wait for it; whoever is its parent collects it. */
static int end_vmm(const struct oci_state *state, struct err *err)
{
	int AUTO_FD fd = open_vmm(state);

	if (fd < 0)
		return fd == -ESRCH ? 0 : err_errno(err, -fd, "pidfd_open");
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_errno(err, errno, "kill process %d", (int)state->pid);
	if (!wait_vmm(fd))
		return err_set(err, -ETIMEDOUT, "process %d does not end", (int)state->pid);
	return 0;
}

/* What is on record only matters to a second delete where there are hooks to run. */
static bool has_poststop(const struct oci_config *config, const struct oci_state *state)
{
	return config->hooks && config->hooks->of[OCI_HOOK_POSTSTOP].n && !state->poststop_done &&
	       state->status != OCI_STATUS_CREATING;
}

static int remove_all(struct statedir *dir, struct oci_state *state, struct err *err)
{
	CLEANUP(oci_config_freep) struct oci_config *config = NULL;
	struct err later = { 0 };

	/* What was begun is finished, whatever fails on the way. */
	if (state->pid <= 0)
		cgroup_remove_unused(state->cgroup);
	else if (cgroup_remove(state->cgroup, &later) < 0)
		log_warn("%s, ignoring", later.msg);
	if (load_config(dir, &config, &later) < 0 || network_release(config, &later) < 0)
		log_warn("%s, ignoring", later.msg);
	if (config && has_poststop(config, state)) {
		state->poststop_done = true;
		state->status = OCI_STATUS_STOPPED;
		statedir_save(dir, state, NULL);
		if (run_hooks(config, state, OCI_HOOK_POSTSTOP, &later) < 0)
			log_warn("%s, ignoring", later.msg);
	}
	return statedir_remove(dir, err);
}

static int delete_loaded(struct statedir *dir, struct oci_state *state, bool force, struct err *err)
{
	int r = 0;

	if (state->status == OCI_STATUS_RUNNING || state->status == OCI_STATUS_PAUSED) {
		if (!force)
			return err_set(err, -EBUSY,
				       "cannot delete container %s that is not stopped: %s",
				       dir->id, oci_status_str(state->status));
	}
	if (state->status != OCI_STATUS_STOPPED)
		r = end_vmm(state, err);
	return r < 0 ? r : remove_all(dir, state, err);
}

int container_delete(const char *root, const char *id, bool force, struct err *err)
{
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	int r = statedir_open(root, id, true, &dir, err);

	if (r == -ENOENT && force)
		return 0;
	if (r < 0)
		return r;
	r = statedir_load(&dir, &state, err);
	if (r == 0)
		r = delete_loaded(&dir, &state, force, err);
	/* A create that was killed before it wrote, or a damaged state. */
	else if (r == -ENOENT || force)
		r = statedir_remove(&dir, err);
	oci_state_done(&state);
	statedir_close(&dir);
	return r;
}

/* ---- pause and resume ---- */

static int change_pace(const char *root, const char *id, enum control_op op, struct err *err)
{
	bool pausing = op == CONTROL_PAUSE;
	struct statedir dir = STATEDIR_NONE;
	struct oci_state state = { 0 };
	int r = container_load(root, id, true, &dir, &state, err);

	if (r < 0)
		return r;
	if (pausing && state.status == OCI_STATUS_PAUSED)
		r = err_set(err, -EINVAL, "container already paused");
	else if (pausing && state.status != OCI_STATUS_RUNNING &&
		 state.status != OCI_STATUS_CREATED)
		r = err_set(err, -ESRCH, "container not running");
	else if (!pausing && state.status != OCI_STATUS_PAUSED)
		r = err_set(err, -EINVAL, "container not paused");
	else if (pausing && state.status == OCI_STATUS_CREATED)
		r = err_set(err, -EINVAL, "cannot pause a container that was not started");
	if (r == 0)
		r = control_call(&dir, &(struct control_msg){ .op = op }, NULL, err);
	if (r == 0) {
		state.status = pausing ? OCI_STATUS_PAUSED : OCI_STATUS_RUNNING;
		r = statedir_save(&dir, &state, err);
	}
	oci_state_done(&state);
	statedir_close(&dir);
	return r;
}

int container_pause(const char *root, const char *id, struct err *err)
{
	return change_pace(root, id, CONTROL_PAUSE, err);
}

int container_resume(const char *root, const char *id, struct err *err)
{
	return change_pace(root, id, CONTROL_RESUME, err);
}
