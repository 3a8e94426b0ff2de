# SPDX-License-Identifier: Apache-2.0
# The names of network namespaces are mounts: this script begins anew in a mount namespace with a /run/netns of
# its own, so that they end with its last process, also when it is killed. Source it from bash, first of all.
if [ "$(id -u)" = 0 ] && [ -z "${HUSK_OWN_NETNS:-}" ] && unshare -m true 2>/dev/null; then
	HUSK_OWN_NETNS=1 exec unshare -m --propagation private sh -c \
		'mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && exec "$0" "$@"' "$(realpath "$0")" "$@"
fi
