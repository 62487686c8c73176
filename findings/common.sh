# shellcheck shell=bash
# What the findings share; each sources it first.
#
# $work is a temporary folder that is removed at the end. Put the pids of background processes into $pids: these are
# ended with the script.
set -euo pipefail

work=$(mktemp -d)
chmod 755 "$work" # the workers of nginx are another user
pids=()
failed=0

clean() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait_for 10 ended || true
	rm -rf "$work"
}
# shellcheck disable=SC2317 # wait_for calls it
ended() {
	local pid
	for pid in "${pids[@]}"; do
		! kill -0 "$pid" || return 1
	done
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# need COMMAND PACKAGE VERSION: the Debian package in that upstream version, installed or else unpacked into $work.
need() {
	local installed
	# shellcheck disable=SC2016 # a format of dpkg-query
	installed=$(dpkg-query -W -f '${Version}' "$2" 2>/dev/null || true)
	if [[ $installed != "$3"-* ]] || ! command -v "$1" >/dev/null; then
		unpack "$2=$3-*"
		installed="$3, unpacked"
	fi
	echo "$2 $installed"
}

# unpack NAME=VERSION...: Debian packages, into $work/root.
unpack() {
	if ! (cd "$work" && apt-get -qq download "$@" >apt.log 2>&1); then
		echo "cannot run: no Debian package $*" >&2
		exit 2
	fi
	local package
	for package in "$work"/*.deb; do
		dpkg -x "$package" "$work/root"
	done
	export PATH="$work/root/usr/sbin:$work/root/usr/bin:$PATH"
}

# npm_install NAME@VERSION...: npm packages, into $work/node_modules, where scripts in $work find them.
npm_install() {
	if ! npm install --silent --no-audit --no-fund --prefix "$work" "$@" >"$work/npm.log" 2>&1; then
		echo "cannot run: npm installs no $*" >&2
		exit 2
	fi
	echo "$* on node $(node --version)"
}

# fetch_event_source VERSION: npm's @microsoft/fetch-event-source, for scripts in $work that import ./fetch-event-source.mjs.
fetch_event_source() {
	npm_install "@microsoft/fetch-event-source@$1"
	cat >"$work/fetch-event-source.mjs" <<-'END'
		import { createRequire } from "node:module";

		// What the library takes from a browser.
		globalThis.window = globalThis;
		globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
		export const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");
	END
}

# wait_for SECONDS COMMAND...: whether the command succeeds within that time.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" 2>/dev/null; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

# start_nginx CONF [MAIN]: nginx with these lines in its http block, and those in front. They listen on sockets in $work.
start_nginx() {
	mkdir "$work/temp"
	cat >"$work/nginx.conf" <<-END
		${2-}
		pid $work/nginx.pid;
		error_log $work/error.log;
		events {}
		http {
			access_log off;
			client_body_temp_path $work/temp/body;
			proxy_temp_path $work/temp/proxy;
			fastcgi_temp_path $work/temp/fastcgi;
			uwsgi_temp_path $work/temp/uwsgi;
			scgi_temp_path $work/temp/scgi;
			$1
		}
	END
	nginx -c "$work/nginx.conf" -e "$work/error.log"
	wait_for 10 test -s "$work/nginx.pid"
	pids+=("$(cat "$work/nginx.pid")")
}

# start_python SOCKET: the program on standard input, which accepts connections from LISTENER: that socket in $work, which is
# named only once it listens.
start_python() {
	{
		cat <<-'END'
			import os, socket, sys, threading, time

			LISTENER = socket.socket(socket.AF_UNIX)
			LISTENER.bind(sys.argv[1] + ".new")
			os.chmod(sys.argv[1] + ".new", 0o666)  # the workers of nginx are another user
			LISTENER.listen()
			os.rename(sys.argv[1] + ".new", sys.argv[1])
		END
		cat
	} >"$work/$1.py"
	timeout 120 /usr/bin/python3 "$work/$1.py" "$work/$1" &
	pids+=($!)
	wait_for 10 test -S "$work/$1"
}

# expect WHAT WANTED SEEN: prints what was seen, and fails the script at its end if it is not what was wanted.
expect() {
	echo "$1: $3"
	if [[ $2 != "$3" ]]; then
		echo "  CHANGED: it was $2"
		failed=1
	fi
}

finish() {
	exit "$failed"
}
