#!/bin/bash
# nginx 1.22.1 (Debian 12), `map`; the same for `set`, `js_set` and whatever else makes variables
#
# Expected: some dozens of variables of one's own are nothing to nginx, whose table of variables has room for 1024
# (variables_hash_max_size).
# Behaviour: it warns at its start, "could not build optimal variables_hash", by the length of their names. A bucket of 64 bytes
# (variables_hash_bucket_size) has no room for two names of more than 14 characters, so these must never meet, whatever the size of
# the table. The configuration works, but a reader of `nginx -t` finds a warning, and a snippet that
# sets the size itself breaks a configuration that sets it, too ("is duplicate").
#
# Output seen:
#   60 names of 14 characters: silent
#   60 names of 32 characters: warns
#   the same with buckets of 128 bytes: silent
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

# try BEGINNING OF NAMES, DIRECTIVE
try() {
	local number
	{
		echo "events {} error_log stderr; pid $work/pid; http { access_log off; $2"
		for place in client_body proxy fastcgi uwsgi scgi; do
			echo "${place}_temp_path $work/$place;"
		done
		for number in $(seq 100 159); do
			echo "map \"\" \$$1$number { default \"\"; }"
		done
		echo "server { listen unix:$work/front; } }"
	} >"$work/nginx.conf"
	if nginx -t -q -e stderr -p "$work" -c "$work/nginx.conf" 2>&1 | grep -q "could not build optimal variables_hash"; then
		echo warns
	else
		echo silent
	fi
}
expect "60 names of 14 characters" silent "$(try name_of_map "")"
expect "60 names of 32 characters" warns "$(try a_long_name_of_a_map_that_is_ "")"
expect "the same with buckets of 128 bytes" silent "$(try a_long_name_of_a_map_that_is_ "variables_hash_bucket_size 128;")"
finish
