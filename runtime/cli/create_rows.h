/* SPDX-License-Identifier: Apache-2.0 */
/* The options that create, run and restore share, as rows of their tables. */
#ifndef RUNTIME_CLI_CREATE_ROWS_H
#define RUNTIME_CLI_CREATE_ROWS_H

#include "cli/options.h"

/* @at: macro that gives the offset of a member of struct create_options in the verb's own. */
/* clang-format off */
#define CLI_CONTAINER_ROWS(at)                                                                     \
	{ "bundle", 'b', CLI_STRING, at(bundle), "DIR", "the bundle (default: this directory)" },  \
	{ "console-socket", 0, CLI_STRING, at(console_socket), "PATH",                             \
	  "send the terminal's master to this socket" },                                           \
	{ "pid-file", 0, CLI_STRING, at(pid_file), "FILE", "write the container's pid here" },     \
	{ "no-pivot", 0, CLI_IGNORED_FLAG, 0, NULL,                                                \
	  "accepted: the guest has a root of its own" },                                           \
	{ "no-subreaper", 0, CLI_IGNORED_FLAG, 0, NULL, NULL }

/* Of run and restore; @of: the same for struct run_options. */
#define CLI_STAY_ROWS(of)                                                                          \
	{ "detach", 'd', CLI_FLAG, of(detach), NULL, "leave the container running" },              \
	{ "keep", 0, CLI_FLAG, of(keep), NULL, "do not delete the container when it has ended" }

#define CLI_CREATE_ROWS(at)                                                                        \
	CLI_CONTAINER_ROWS(at),                                                                    \
	{ "config", 'f', CLI_STRING, at(config), "FILE",                                           \
	  "its configuration (BUNDLE/config.json)" },                                              \
	{ "snapshot", 0, CLI_STRING, at(snapshot), "MODE",                                         \
	  "auto (default), off, early or late: begin with a snapshot, make one" },                 \
	{ "preserve-fds", 0, CLI_UINT, at(n_preserve_fds), "N",                                    \
	  "pass descriptors 3 to 2+N on" },                                                        \
	{ "no-new-keyring", 0, CLI_IGNORED_FLAG, 0, NULL,                                          \
	  "accepted: the guest has keyrings of its own" },                                         \
	{ "pidfd-socket", 0, CLI_IGNORED_STRING, 0, "PATH", NULL }
/* clang-format on */

#endif
