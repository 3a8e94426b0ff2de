# SPDX-License-Identifier: Apache-2.0
# Shared by the suites that run engines: what checks.sh has, a kernel, a wrapper of husk, an image. Source
# it from bash with $husk set; it makes $tmp, which the caller's finish() removes.

. "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
needs_machines

# None of this program's machines is there; others may run husk meanwhile.
no_machines() {
	local pid file=$(stat -Lc %d:%i "$husk")
	for pid in $(pgrep -f '^husk: '); do
		[ "$(stat -Lc %d:%i "/proc/$pid/exe" 2>/dev/null)" != "$file" ] || return 1
	done
}

tmp=$(mktemp -d)
mkdir -p "$tmp/bin" "$tmp/root/bin" "$tmp/root/etc" "$tmp/share"
# Engines hand no environment on, and go by the name.
cat >"$tmp/bin/husk" <<END
#!/bin/sh
export HUSK_KERNEL_STORE=$store
export HUSK_SNAPSHOT_STORE=$tmp/snapshots
exec $husk ${HUSK_STATE:+--root $tmp/state} "\$@"
END
chmod +x "$tmp/bin/husk"

# A file system of busybox, and an image of it that every engine loads: localhost/bb:1.
cp "$busybox" "$tmp/root/bin/busybox"
for name in sh cat echo env id ls mount ps pwd hostname kill sleep head wc grep test stty touch true tty nproc; do
	ln -s busybox "$tmp/root/bin/$name"
done
tar -C "$tmp/root" -cf "$tmp/layer.tar" .
make_image() { # FILE
	local layer
	layer=$(sha256sum "$tmp/layer.tar" | cut -d' ' -f1)
	cat >"$tmp/image.json" <<END
{ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [ "sha256:$layer" ] },
  "config": { "Cmd": [ "sh" ], "Env": [ "PATH=/usr/bin:/bin" ] } }
END
	echo '[{"Config":"image.json","RepoTags":["localhost/bb:1"],"Layers":["layer.tar"]}]' >"$tmp/manifest.json"
	tar -C "$tmp" -cf "$1" manifest.json image.json layer.tar
}
