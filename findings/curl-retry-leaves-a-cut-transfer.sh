#!/bin/bash
# curl 7.88.1 (Debian 12)
#
# Expected: --retry is for what passes, as a connection that broke in the middle of a download.
# Behaviour: a transfer that was cut (error 18) is not tried again: it is not among the errors that --retry holds for
# transient, which are timeouts and a few statuses. A 503 is tried again. --retry-all-errors tries the cut again, too.
#
# Output seen:
#   503, --retry: exit status 0, requests 2
#   cut, --retry: exit status 18, requests 1
#   cut, --retry-all-errors: exit status 0, requests 2
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need curl curl 7.88.1

start_python server <<'END'
import os, socket, sys

asked = {}
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    peer = listener.accept()[0]
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    path = request.split()[1]
    asked[path] = asked.get(path, 0) + 1
    with open(sys.argv[1] + path.decode().replace("/", "."), "w") as count:
        count.write(str(asked[path]))
    if asked[path] > 1:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
    elif b"/busy" in path:
        answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    else:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234"
    peer.sendall(answer)
    peer.close()
END

ask() {
	local status=0
	curl -sS -m 20 --retry 3 --retry-delay 1 "${@:2}" -o "$work/out" --unix-socket "$work/server" "http://localhost/$1" \
		2>>"$work/errors" || status=$?
	echo "exit status $status, requests $(cat "$work/server.$1")"
}
expect "503, --retry" "exit status 0, requests 2" "$(ask busy)"
expect "cut, --retry" "exit status 18, requests 1" "$(ask cut1)"
expect "cut, --retry-all-errors" "exit status 0, requests 2" "$(ask cut2 --retry-all-errors)"
finish
