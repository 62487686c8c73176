#!/bin/bash
# nginx 1.22.1 (Debian 12), two of them in a row
#
# Expected: an application that answers X-Accel-Buffering: no has its events sent at once, whatever number of nginx
# servers stands in front of it.
# Behaviour: the first nginx obeys the header and does not pass it on. The second one does not see it and buffers: the
# event waits there until the answer ends. proxy_pass_header X-Accel-Buffering in the first one passes it on.
#
# Output seen:
#   event at once, through one nginx: yes
#   event at once, through two: no
#   event at once, through two with proxy_pass_header: yes
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

start_python backend <<'END'
def serve(peer):
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"
                 b"Connection: close\r\n\r\ndata: first\n\n")
    time.sleep(20)

while True:
    threading.Thread(target=serve, args=(LISTENER.accept()[0],), daemon=True).start()
END

start_nginx "
server {
	listen unix:$work/inner;
	location / { proxy_pass http://unix:$work/backend; }
	location /passed { proxy_pass http://unix:$work/backend; proxy_pass_header X-Accel-Buffering; }
}
server {
	listen unix:$work/outer;
	location / { proxy_pass http://unix:$work/inner; }
}"

ask() {
	local body
	body=$(curl -sN -m 3 --unix-socket "$work/$1" "http://localhost$2") || true
	[[ $body == "data: first"* ]] && echo yes || echo no
}
expect "event at once, through one nginx" yes "$(ask inner /)"
expect "event at once, through two" no "$(ask outer /)"
expect "event at once, through two with proxy_pass_header" yes "$(ask outer /passed)"
finish
