#!/bin/bash
# GNU tar 1.34 (Debian 12), `tar -c` with --files-from (-T)
#
# Expected: a file that is removed while tar packs its directory is a warning, status 1 ("some files differ"), whether tar found its
# name or got it from a list that somebody made a moment ago.
# Behaviour: a name that tar found itself is status 1, "File removed before we read it". The same name from --files-from is status 2,
# a "fatal error", though tar goes on and packs the rest. Who lists a tree that changes, and lets tar pack the list, cannot tell
# a vanished file from a failure by the status; --ignore-failed-read makes both of them 0.
#
# Output seen:
#   tar found the name: status 1, "directory/b: File removed before we read it", packs a c
#   --files-from had the name: status 2, "directory/b: Cannot stat: No such file or directory", packs a c
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need tar tar 1.34+dfsg

# try OPTION...: packs a, b and c. At its first checkpoint, the first 10 KiB of a, tar removes b.
try() {
	local status=0
	rm -rf "$work/directory"
	mkdir "$work/directory"
	head -c 1M /dev/zero >"$work/directory/a"
	touch "$work/directory/b" "$work/directory/c"
	(cd "$work" && LC_ALL=C tar -cf packed.tar --checkpoint=1 --checkpoint-action="exec=rm -f directory/b" "$@" 2>said) || status=$?
	echo "status $status, \"$(sed -n '1s/^tar: //p' "$work/said")\", packs $(tar -tf "$work/packed.tar" | sed -n 's|^directory/\(.\)$|\1|p' | xargs)"
}
printf 'directory/%s\n' a b c >"$work/list"
expect "tar found the name" 'status 1, "directory/b: File removed before we read it", packs a c' "$(try --sort=name directory)"
expect "--files-from had the name" 'status 2, "directory/b: Cannot stat: No such file or directory", packs a c' "$(try --files-from=list)"
finish
