#!/bin/bash
# GNU tar 1.34 (Debian 12), `tar -x` and `tar -t`; bsdtar takes some of them, too
#
# Expected: an archive ends with blocks of zeros, so tar fails, or says something at least, if an archive stops before them.
# Behaviour: it fails only if the content of a file is cut. An archive that stops between two members, or within a header, extracts
# with status 0 and not a word: what is behind the cut is missing. `tar -tRv` alone shows the difference, in its last line. Who
# takes archives from a connection that may break needs another sign of their end.
#
# Output seen:
#   cut between two files: status 0, says nothing, extracts a
#   cut in a header: status 0, says nothing, extracts a
#   cut in a content: status 2, says "Unexpected EOF in archive", extracts a b
#   the last line of tar -tRv, whole: block 6: ** Block of NULs **
#   the last line of tar -tRv, cut: block 2: ** End of File **
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need tar tar 1.34+dfsg

# Three files of 512 bytes: each has a header of 512 bytes before it.
mkdir "$work/files"
for name in a b c; do
	head -c 512 /dev/zero | tr '\0' "$name" >"$work/files/$name"
done
tar -cf "$work/whole.tar" -C "$work/files" a b c

# try BYTES: what tar does with that many bytes of the archive.
try() {
	local status=0 said="nothing"
	rm -rf "$work/out"
	mkdir "$work/out"
	head -c "$1" "$work/whole.tar" >"$work/cut.tar"
	LC_ALL=C tar -xf "$work/cut.tar" -C "$work/out" 2>"$work/said" || status=$?
	if [[ -s $work/said ]]; then
		said="\"$(sed -n '1s/^tar: //p' "$work/said")\""
	fi
	echo "status $status, says $said, extracts $(cd "$work/out" && echo *)"
}
expect "cut between two files" "status 0, says nothing, extracts a" "$(try 1024)"
expect "cut in a header" "status 0, says nothing, extracts a" "$(try 1124)"
expect "cut in a content" 'status 2, says "Unexpected EOF in archive", extracts a b' "$(try 1636)"

last_line() {
	head -c "$1" "$work/whole.tar" | LC_ALL=C tar -tRvf - | tail -n 1
}
expect "the last line of tar -tRv, whole" "block 6: ** Block of NULs **" "$(last_line 10240)"
expect "the last line of tar -tRv, cut" "block 2: ** End of File **" "$(last_line 1024)"
finish
