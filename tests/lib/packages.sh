# SPDX-License-Identifier: Apache-2.0
# Debian packages that building and testing need; sourced by ./test and ./quickstart.

HUSK_BUILD_PACKAGES="meson ninja-build pkg-config gcc libc6-dev liblz4-dev libzstd-dev liblzma-dev zlib1g-dev libcmocka-dev libcap-dev libseccomp-dev libcjson-dev libnl-3-dev libnl-route-3-dev"
HUSK_TEST_PACKAGES="clang-14 libclang-rt-14-dev lld-14 llvm-14 python3 binutils acpica-tools qemu-user qemu-system-x86 binutils-aarch64-linux-gnu binutils-riscv64-linux-gnu openssl grub-common grub-pc-bin xorriso mtools crun podman conmon catatonit containernetworking-plugins uidmap slirp4netns iptables iproute2 containerd docker.io busybox-static cpio rsync attr git sqlite3 make"

# husk_packages PACKAGE...: installs what is missing, or says what is and how to get it.
husk_packages() {
	missing=
	for package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "Packages are missing. As root: apt-get install$missing" >&2
		return 1
	fi
	echo "installing:$missing"
	# A fresh machine has no package lists, an old one may have stale ones: fetch them on failure.
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 && return 0
	apt-get update -q >/dev/null &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
}
