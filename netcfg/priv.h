/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of netcfg share. */
#ifndef NETCFG_PRIV_H
#define NETCFG_PRIV_H

#include <netlink/socket.h>

#include "netcfg/netcfg.h"

CLEANUP_DEFINE(struct nl_sock, nl_socket_free);

/* A libnl error (negative) as ours. */
int netcfg_nl_err(struct err *err, int nl_error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int netcfg_connect(struct nl_sock **ret, struct err *err);

/* Addresses and routes of interface @index. */
int netcfg_read_addrs(struct nl_sock *sk, int index, struct netcfg_link *link, struct err *err);
int netcfg_read_routes(struct nl_sock *sk, int index, struct netcfg_link *link, struct err *err);

/* Send all that arrives at @from out of @to. */
int netcfg_redirect(struct nl_sock *sk, int from, int to, struct err *err);

struct nl_cache;
/* Take the redirection off @from unless it leads to an interface that is in @links. */
int netcfg_unredirect(struct nl_sock *sk, int from, struct nl_cache *links, struct err *err);

#endif
