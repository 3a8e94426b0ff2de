# SPDX-License-Identifier: Apache-2.0
# A tree with one of everything, and the comparison of it with what went through tar; for other
# scripts to read. Needs rsync, setfattr, setcap, cpio.

# The whole of /usr as a Debian base system has it: each file of its packages.
debian_base_usr() {
	dpkg-query -Wf '${Priority} ${binary:Package}\n' | sed -n 's/^\(required\|important\) //p' |
		xargs dpkg -L | sed -n 's,^/usr/,,p' | sort -u |
		while IFS= read -r f; do [ ! -e "/usr/$f" ] && [ ! -L "/usr/$f" ] || printf '%s\n' "$f"; done
}

# Names below /usr, a line each, to a directory, with all but extended attributes.
tree_copy() { # DIRECTORY
	(cd /usr && cpio -pdm --quiet "$1")
}

# Files that each carry one attribute, made beforehand, so that each is really there.
make_special() { # DIRECTORY
	mkdir "$1"
	(
		cd "$1"
		echo data > file; ln file hard; ln -s file soft; ln -s /nowhere/at/all dangling
		chown 1234:5678 file; chmod 4751 file
		ln -s old linked; ln linked linked.hard
		mkdir sticky; chmod 3777 sticky; chown 7:8 sticky
		echo far > far; chown 4294967000:4294967001 far
		mkfifo fifo; mknod null c 1 3; mknod disk b 7 99
		truncate -s 100M sparse; echo middle | dd of=sparse bs=1M seek=50 conv=notrunc status=none
		echo x > attrs; setfattr -n user.color -v blue attrs; setcap cap_net_raw+ep attrs
		setfattr -n user.color -v red sticky
		echo old > old; touch -d '1999-12-31 23:59:59.123456789' old sticky
		echo older > older; touch -d '1961-04-12 06:07:00' older
		touch -h -d '1987-06-05 04:03:02.1' dangling
		touch "$(printf 'odd \n\tname')"
	)
}

# What differs, one line each; nothing else is printed.
tree_differ() { # TREE COPY
	rsync -aHAXcn --delete -i "$1/" "$2/"
}

sparse_is_kept() { # SPECIAL-DIRECTORY
	[ "$(stat -c %s "$1/sparse")" = 104857600 ] && [ "$(stat -c %b "$1/sparse")" -lt 2048 ]
}

# Change one attribute of the copy at a time: a comparison that is silent then proves nothing.
differences_are_seen() { # SPECIAL-DIRECTORY ITS-COPY
	seen=0
	while IFS='|' read -r mark name change; do
		(cd "$2" && eval "$change") || return 1
		tree_differ "$1" "$2" > "$2.differ"
		grep -qE "^$mark $name( |\$)" "$2.differ" || {
			echo "not seen by rsync: $change"
			cat "$2.differ"
			return 1
		}
		rsync -aHAXc --delete "$1/" "$2/"
		[ -z "$(tree_differ "$1" "$2")" ] || return 1
		seen=$((seen + 1))
	done <<'CHANGES'
.f..t.{6}|older|touch -d '1961-04-12 06:07:01' older
.f.{4}o.{4}|file|chown 1235 file; chmod 4751 file
.f.{5}g.{3}|far|chgrp 4294967002 far
.f...p.{5}|file|chmod 751 file
.d...p.{5}|sticky/|chmod 777 sticky
>fc.{8}|old|printf 'odd\n' > old; touch -r old linked; touch -d '1999-12-31 23:59:59.123456789' old
hf.{9}|hard|cp -a file other; mv other hard
.f.{8}x|attrs|setfattr -n user.color -v green attrs
.f.{8}x|attrs|setcap -r attrs
.d.{8}x|sticky/|setfattr -x user.color sticky
cL.{9}|soft|ln -sfn other soft
.L..t.{6}|dangling|touch -h -d '1987-06-05 04:03:01' dangling
cD.{9}|null|rm null; mknod null c 1 5
cS.{9}|fifo|rm fifo
\*deleting  |more|touch more
CHANGES
}

# The whole judgement. TREE holds what make_special makes.
round_trip_is_exact() { # TREE COPY
	tree_differ "$1" "$2" > "$2.differ"
	head -20 "$2.differ"
	[ ! -s "$2.differ" ] && sparse_is_kept "$2/special" || return 1
	echo "ok tar round trip of $(find "$1" | wc -l) files, $(du -sm "$1" | cut -f1) MB: seen from the host nothing differs"
	differences_are_seen "$1/special" "$2/special" || return 1
	echo "ok each of $seen changes to it is seen"
}
