#!/bin/bash
# nginx 1.22.1 (Debian 12), proxy_buffering off
#
# Expected: limit_rate slows every answer of its location.
# Behaviour: an answer that is not buffered has no limit, neither by limit_rate nor by X-Accel-Limit-Rate of the backend.
# 600,000 bytes at 100,000 bytes a second are there at once; the buffered answer takes seconds.
#
# Output seen:
#   buffered, limit_rate: slow
#   unbuffered, limit_rate: fast
#   buffered, X-Accel-Limit-Rate: slow
#   unbuffered, X-Accel-Limit-Rate: fast
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

start_python backend <<'END'
while True:
    peer = LISTENER.accept()[0]
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    limit = b"X-Accel-Limit-Rate: 100000\r\n" if b"/says" in request else b""
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n" + limit + b"\r\n" + bytes(600000))
    peer.close()
END

start_nginx "
server {
	listen unix:$work/front;
	location /buffered { proxy_pass http://unix:$work/backend; limit_rate 100000; }
	location /unbuffered { proxy_pass http://unix:$work/backend; limit_rate 100000; proxy_buffering off; }
	location /says/buffered { proxy_pass http://unix:$work/backend; }
	location /says/unbuffered { proxy_pass http://unix:$work/backend; proxy_buffering off; }
}"

ask() {
	curl -s -m 30 -o /dev/null -w '%{time_total}\n' --unix-socket "$work/front" "http://localhost$1" |
		awk '{ print ($1 > 3 ? "slow" : "fast") }'
}
expect "buffered, limit_rate" slow "$(ask /buffered)"
expect "unbuffered, limit_rate" fast "$(ask /unbuffered)"
expect "buffered, X-Accel-Limit-Rate" slow "$(ask /says/buffered)"
expect "unbuffered, X-Accel-Limit-Rate" fast "$(ask /says/unbuffered)"
finish
