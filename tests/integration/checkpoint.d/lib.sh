# SPDX-License-Identifier: Apache-2.0
# What the tests of checkpoints share; sourced with $husk set. Skips (77) without a kernel.
. "$(dirname "${BASH_SOURCE[0]}")/../checks.sh"
needs_machines
tmp=$(mktemp -d)
export HUSK_SNAPSHOT_STORE=$tmp/store
h() { $patience "$husk" --root "$tmp/state" "$@"; }
finish() {
	for id in $(h list -q 2>/dev/null); do
		[ "$failed" = 0 ] || h logs "$id" | tail -n 30
		h delete --force "$id"
	done
	rm -rf "$tmp"
}
trap finish EXIT
root=$tmp/b/rootfs
mkdir -p "$root/bin" "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for name in sh cat echo date sleep head md5sum mkfifo rm ps grep wc kill seq dd sync stty; do
	ln -s busybox "$root/bin/$name"
done
bundle() { # SCRIPT-FILE [MORE of process]
	cp "$1" "$root/script"
	cat >"$tmp/b/config.json" <<JSON
{ "ociVersion": "1.0.2", "root": { "path": "rootfs" }, "annotations": { ${annotations:-} },
  "process": { "cwd": "/", "args": ["/bin/sh", "/script"], "env": [ "PATH=/bin" ]${2:+, $2} },
  "linux": { "namespaces": [ { "type": "network" } ], "resources": { "memory": { "limit": ${memory:-134217728} } } } }
JSON
}
waits_for() { # TEXT FILE
	until_true grep -qs "$1" "$2" || fail "no '$1' in $2: $(tail -n 3 "$2")"
}
