#!/bin/bash
# nginx 1.22.1 (Debian 12), proxy_request_buffering off
#
# Expected: a request that error_page or X-Accel-Redirect sends on to a named location keeps its method and its body; or
# nginx refuses, if the body is gone.
# Behaviour: with request buffering off, the second backend gets the method and the Content-Length, but of a body that
# did not fit the first read buffer it gets not a byte, and waits for what never comes. A small body arrives, so a small
# test passes. With request buffering on (the default) all arrives.
#
# Output seen:
#   unbuffered, 10 bytes: POST, length 10, body 10
#   unbuffered, 300000 bytes: POST, length 300000, body 0
#   buffered, 300000 bytes: POST, length 300000, body 300000
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

for name in first second; do
	start_python "$name" <<'END'
import re

name = os.path.basename(sys.argv[1])
while True:
    peer = LISTENER.accept()[0]
    peer.settimeout(3)
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    head, body = request.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    if name == "first":
        # It decides by the head alone, and leaves the body to the other one.
        answer = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: @second\r\nContent-Length: 0\r\n\r\n"
    else:
        try:
            while len(body) < length and (more := peer.recv(65536)):
                body += more
        except TimeoutError:
            pass
        text = f"{head.split()[0].decode()}, length {length}, body {len(body)}"
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    peer.sendall(answer.encode())
    peer.shutdown(socket.SHUT_WR)
    try:
        while peer.recv(65536):
            pass
    except OSError:
        pass
    peer.close()
END
done

start_nginx "
server {
	listen unix:$work/front;
	client_max_body_size 1m;
	location /buffered { proxy_pass http://unix:$work/first; }
	location /unbuffered { proxy_pass http://unix:$work/first; proxy_request_buffering off; }
	location @second { proxy_pass http://unix:$work/second; }
}"

ask() {
	head -c "$2" /dev/zero | curl -s -m 20 -H Expect: --data-binary @- --unix-socket "$work/front" "http://localhost/$1"
}
expect "unbuffered, 10 bytes" "POST, length 10, body 10" "$(ask unbuffered 10)"
expect "unbuffered, 300000 bytes" "POST, length 300000, body 0" "$(ask unbuffered 300000)"
expect "buffered, 300000 bytes" "POST, length 300000, body 300000" "$(ask buffered 300000)"
finish
