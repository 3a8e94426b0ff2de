/* SPDX-License-Identifier: Apache-2.0 */
/* Taps, and what an interface is asked by name. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "netcfg/netcfg.h"

#define TUN_PATH "/dev/net/tun"
#define HDR_LEN	 12

static int set_name(struct ifreq *req, const char *name, struct err *err)
{
	if (!*name || strlen(name) >= sizeof(req->ifr_name))
		return err_set(err, -EINVAL, "'%s' is no name of an interface", name);
	strcpy(req->ifr_name, name);
	return 0;
}

int netcfg_tap_open(const char *name, struct err *err)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr_len = HDR_LEN, r = set_name(&req, name, err);

	if (r < 0)
		return r;
	int AUTO_FD fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, errno, "open '" TUN_PATH "' (kernel module tun)");
	if (ioctl(fd, TUNSETIFF, &req) < 0)
		return err_errno(err, errno, "open tap '%s'", name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0)
		return err_errno(err, errno, "tap '%s': size of headers", name);
	return fd_steal(&fd);
}

int netcfg_link_query(const char *name, uint8_t ret_mac[NETCFG_MAC_LEN], unsigned *ret_mtu,
		      struct err *err)
{
	struct ifreq req = { 0 };
	int r = set_name(&req, name, err);

	if (r < 0)
		return r;
	int AUTO_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(err, errno, "socket");
	if (ioctl(fd, SIOCGIFHWADDR, &req) < 0)
		return err_errno(err, errno, "address of interface '%s'", name);
	memcpy(ret_mac, req.ifr_hwaddr.sa_data, NETCFG_MAC_LEN);
	if (ioctl(fd, SIOCGIFMTU, &req) < 0)
		return err_errno(err, errno, "MTU of interface '%s'", name);
	*ret_mtu = (unsigned)req.ifr_mtu;
	return 0;
}
