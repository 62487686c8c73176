#!/bin/bash
# nginx 1.22.1 (Debian 12), an upstream with keepalive and one server
#
# Expected: where there is one server there is none to try next, so a request whose connection dies is a 502, and the backend gets
# each request once.
# Behaviour: that holds for a new connection. A GET that was sent on a kept connection which dies before an answer is sent to the same
# server again: the backend gets it twice, and the client hears nothing of it. A POST is a 502.
#
# Output seen:
#   GET, new connection: 502, sent 1 time(s)
#   GET, kept connection: 200, sent 2 time(s)
#   POST, kept connection: 502, sent 1 time(s)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

# Answers /fine and /sent. Closes the connection at the first request for any other path.
start_python backend <<'END'
sent = {}

def serve(peer):
    while True:
        request = b""
        while b"\r\n\r\n" not in request:
            data = peer.recv(65536)
            if not data:
                return
            request += data
        path = request.split()[1].decode()
        name, _, asked = path.partition("?")
        sent[name] = sent.get(name, 0) + 1
        if name not in ("/fine", "/sent") and sent[name] == 1:
            peer.close()
            return
        body = str(sent.get(asked, 0)).encode()
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

while True:
    threading.Thread(target=serve, args=(LISTENER.accept()[0],), daemon=True).start()
END

start_nginx "
upstream kept {
	server unix:$work/backend;
	keepalive 1;
}
server {
	listen unix:$work/front;
	location / { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection ''; }
	location /new { proxy_pass http://unix:$work/backend; }
}"

# ask METHOD PATH: the status, and how often the backend got the request.
ask() {
	local status
	curl -s -m 30 -o /dev/null --unix-socket "$work/front" http://localhost/fine # leaves a connection to be used
	status=$(curl -s -m 30 -o /dev/null -w '%{http_code}' -X "$1" --unix-socket "$work/front" "http://localhost$2")
	echo "$status, sent $(curl -s -m 30 --unix-socket "$work/front" "http://localhost/sent?$2") time(s)"
}
expect "GET, new connection" "502, sent 1 time(s)" "$(ask GET /new)"
expect "GET, kept connection" "200, sent 2 time(s)" "$(ask GET /kept)"
expect "POST, kept connection" "502, sent 1 time(s)" "$(ask POST /post)"
finish
