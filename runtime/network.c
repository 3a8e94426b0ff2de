/* SPDX-License-Identifier: Apache-2.0 */
/* A container's network, from namespace to guest. */
#include "network.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "initx/netmsg.h"
#include "netcfg/netcfg.h"

static_assert(NETCFG_MAX_LINKS <= VM_MAX_NET, "a device for each interface");
static_assert(NETCFG_MAC_LEN == VM_MAC_LEN, "length of a MAC address");

struct network {
	struct netcfg *cfg;
	struct netmsg *msg;
};

/* ---- the message ---- */

static struct netmsg_addr addr_of(const struct netcfg_addr *a)
{
	struct netmsg_addr ret = { .family = a->family, .prefix = a->prefix };

	memcpy(ret.bytes, a->bytes, sizeof(ret.bytes));
	return ret;
}

static int add_link(struct netmsg *m, const struct netcfg_link *link, struct err *err)
{
	int r = netmsg_link(m, link->name, link->mtu, link->mac, err);

	for (unsigned i = 0; r == 0 && i < link->n_addrs; i++) {
		struct netmsg_addr addr = addr_of(&link->addrs[i]);

		r = netmsg_address(m, link->name, &addr, err);
	}
	for (unsigned i = 0; r == 0 && i < link->n_routes; i++) {
		const struct netcfg_route *from = &link->routes[i];
		struct netmsg_addr gateway = addr_of(&from->gateway);
		struct netmsg_route route = { .dst = addr_of(&from->dst),
					      .gateway = from->has_gateway ? &gateway : NULL,
					      .onlink = from->onlink,
					      .metric = from->metric };

		r = netmsg_route(m, link->name, &route, err);
	}
	return r;
}

/* The guest's kernel names them eth0, eth1 in the order of the devices; one may be another's name.
 */
static int add_names(struct netmsg *m, const struct netcfg *cfg, struct err *err)
{
	char given[IFNAMSIZ], between[IFNAMSIZ];
	int r = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; r == 0 && i < cfg->n_links; i++) {
			snprintf(given, sizeof(given), "eth%u", i);
			snprintf(between, sizeof(between), "husk%u", i);
			if (!strcmp(given, cfg->links[i].name))
				continue;
			r = pass ? netmsg_rename(m, between, cfg->links[i].name, err)
				 : netmsg_rename(m, given, between, err);
		}
	}
	return r;
}

static int write_message(struct network *net, struct err *err)
{
	int r = netmsg_new(&net->msg, err);

	if (r == 0)
		r = add_names(net->msg, net->cfg, err);
	for (unsigned i = 0; r == 0 && i < net->cfg->n_links; i++)
		r = add_link(net->msg, &net->cfg->links[i], err);
	return r;
}

const uint8_t *network_records(const struct network *net, size_t *ret_len)
{
	return netmsg_bytes(net->msg, ret_len);
}

/* ---- taking over ---- */

/* Marks of a container that holds a pod's namespaces and does nothing in them. */
static const struct {
	const char *name, *value;
} holder_notes[] = {
	{ "io.kubernetes.cri-o.ContainerType", "sandbox" },
	{ "io.kubernetes.cri.container-type", "sandbox" },
};

/* Podman marks none, but these are what its pods and others' begin with. */
static bool only_waits(const struct oci_strs *args)
{
	const char *slash = args->n ? strrchr(args->v[0], '/') : NULL;
	const char *name = slash ? slash + 1 : args->n ? args->v[0] : "";

	return !strcmp(name, "pause") ||
	       (!strcmp(name, "catatonit") && args->n > 1 && !strcmp(args->v[1], "-P"));
}

static bool is_pod_holder(const struct oci_config *config)
{
	for (unsigned i = 0; i < ARRAY_LEN(holder_notes); i++) {
		const char *value = oci_annotation(config, holder_notes[i].name);

		if (value && !strcmp(value, holder_notes[i].value))
			return true;
	}
	return config->process && only_waits(&config->process->args);
}

void network_warn(const struct oci_config *config)
{
	if (!oci_namespace_find(config, CLONE_NEWNET))
		log_warn("config.json: linux.namespaces: no network namespace: the host's network "
			 "is not given to a guest, which has lo only");
}

int network_take(const struct oci_config *config, struct network **ret, struct err *err)
{
	const struct oci_namespace *ns = oci_namespace_find(config, CLONE_NEWNET);
	CLEANUP(network_freep) struct network *net = NULL;
	int r;

	*ret = NULL;
	/* Without a path it may be hooks that put interfaces into it. */
	if (!ns || is_pod_holder(config))
		return 0;
	net = calloc(1, sizeof(*net));
	if (!net)
		return err_set(err, -ENOMEM, "network");
	r = netcfg_take(&net->cfg, err);
	if (r == 0)
		r = write_message(net, err);
	if (r < 0)
		return err_wrap(err, r, "config.json: linux.namespaces: network '%s'",
				ns->path ? ns->path : "of its own");
	if (net->cfg->skipped[0])
		log_warn("network interface '%s' is no Ethernet: the guest does not get it",
			 net->cfg->skipped);
	if (net->cfg->n_links)
		*ret = STEAL_PTR(net);
	return 0;
}

void network_free(struct network *net)
{
	if (!net)
		return;
	netcfg_free(net->cfg);
	netmsg_free(net->msg);
	free(net);
}

void network_devices(const struct network *net, struct vm_config *vc)
{
	for (unsigned i = 0; net && i < net->cfg->n_links; i++) {
		const struct netcfg_link *link = &net->cfg->links[i];
		/* The MTU comes by message: a snapshot serves any. */
		struct vm_net *to = &vc->net[vc->n_net++];

		*to = (struct vm_net){ .tap_fd = link->tap_fd };
		memcpy(to->mac, link->mac, sizeof(to->mac));
	}
}

/* ---- afterwards ---- */

/* In a process of its own: it never comes back from the namespace. */
static int release_in(int ns_fd)
{
	struct err err = { 0 };

	if (setns(ns_fd, CLONE_NEWNET) < 0)
		err_errno(&err, errno, "enter a container's network namespace");
	else if (netcfg_release(&err) == 0)
		return 0;
	log_warn("%s, ignoring", err.msg);
	return 1;
}

int network_release(const struct oci_config *config, struct err *err)
{
	const struct oci_namespace *ns = oci_namespace_find(config, CLONE_NEWNET);
	int AUTO_FD fd = ns && ns->path ? open(ns->path, O_RDONLY | O_CLOEXEC) : -1;
	pid_t pid;

	if (fd < 0)
		return 0;
	pid = fork();
	if (pid == 0)
		_exit(release_in(fd));
	if (pid < 0)
		return err_errno(err, errno, "fork");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* ---- husk vm ---- */

static bool parse_mac(const char *text, uint8_t mac[VM_MAC_LEN])
{
	int end = 0;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		      &mac[3], &mac[4], &mac[5], &end) == VM_MAC_LEN &&
	       !text[end] && !(mac[0] & 1);
}

int network_open(const char *spec, struct vm_net *ret, struct err *err)
{
	const char *name = spec + strlen("tap="), *comma = strchr(spec, ',');
	char tap[IFNAMSIZ];
	uint8_t tap_mac[NETCFG_MAC_LEN];
	unsigned mtu;
	int r;

	if (strncmp(spec, "tap=", strlen("tap=")) ||
	    snprintf(tap, sizeof(tap), "%.*s", comma ? (int)(comma - name) : IFNAMSIZ, name) >=
		    (int)sizeof(tap))
		return err_set(err, -EINVAL, "--net: '%s' is not tap=NAME[,mac=MAC]", spec);
	if (comma && (strncmp(comma, ",mac=", 5) || !parse_mac(comma + 5, ret->mac)))
		return err_set(err, -EINVAL, "--net: '%s': no MAC address of an interface", spec);
	if (!comma) {
		if (getrandom(ret->mac, VM_MAC_LEN, 0) != VM_MAC_LEN)
			return err_errno(err, errno, "random MAC address");
		ret->mac[0] = (uint8_t)((ret->mac[0] | 2) & ~1); /* local, of one interface */
	}
	int AUTO_FD fd = netcfg_tap_open(tap, err);

	if (fd < 0)
		return fd;
	r = netcfg_link_query(tap, tap_mac, &mtu, err);
	if (r < 0)
		return r;
	ret->mtu = (uint16_t)mtu;
	ret->tap_fd = fd_steal(&fd);
	return 0;
}
