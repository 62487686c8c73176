#!/bin/bash
# nginx 1.22.1 (Debian 12), the environment variable NGINX
#
# Expected: SIGWINCH does nothing to an nginx with daemon off, so that a terminal that is resized does no harm. It is
# the signal that stops the workers gracefully during an upgrade of the binary.
# Behaviour: with daemon off it is indeed ignored, but not when nginx has inherited its listening sockets by the variable
# NGINX. A supervisor that hands over sockets, and runs nginx in the foreground of a terminal, loses the workers at the
# first resize: the master lives on, accepts nothing, and clients wait in the backlog.
#
# Output seen:
#   own sockets, after SIGWINCH: answers yes, workers 1
#   inherited sockets: answers yes, workers 1
#   inherited sockets, after SIGWINCH: answers no, workers 0
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

cat >"$work/inherit.py" <<'END'
import os, socket, sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen()
listener.set_inheritable(True)
os.environ["NGINX"] = f"{listener.fileno()};"
os.execvp(sys.argv[2], sys.argv[2:])
END

write_conf() {
	cat >"$work/nginx.conf" <<-END
		daemon off;
		pid $work/$1.pid;
		worker_processes 1;
		events {}
		http {
			access_log off;
			client_body_temp_path $work/body;
			proxy_temp_path $work/proxy;
			fastcgi_temp_path $work/fastcgi;
			uwsgi_temp_path $work/uwsgi;
			scgi_temp_path $work/scgi;
			server {
				listen unix:$work/$1;
				return 204;
			}
		}
	END
}
answers() {
	curl -sf -m 2 -o /dev/null --unix-socket "$work/$1" http://localhost/
}
workers() {
	pgrep -c -P "$master" || true
}
# shellcheck disable=SC2317 # wait_for calls it
has_no_child() {
	! pgrep -P "$1" >/dev/null
}
state() {
	echo "answers $(answers "$1" && echo yes || echo no), workers $(workers)"
}

write_conf own
nginx -c "$work/nginx.conf" -e "$work/error.log" &
master=$!
pids+=("$master")
wait_for 10 answers own
kill -WINCH "$master"
wait_for 3 has_no_child "$master" || true
expect "own sockets, after SIGWINCH" "answers yes, workers 1" "$(state own)"

write_conf inherited
/usr/bin/python3 "$work/inherit.py" "$work/inherited" nginx -c "$work/nginx.conf" -e "$work/error.log" &
master=$!
pids+=("$master")
wait_for 10 answers inherited
expect "inherited sockets" "answers yes, workers 1" "$(state inherited)"
kill -WINCH "$master"
wait_for 10 has_no_child "$master" || true
expect "inherited sockets, after SIGWINCH" "answers no, workers 0" "$(state inherited)"
finish
