#!/bin/bash
# nginx 1.22.1 (Debian 12), FastCGI
#
# Expected: with fastcgi_buffering off the head of an answer reaches the client when the backend has sent it, or else never
# before the body begins: how long the head is does not matter.
# Behaviour: it depends on the padding of the FastCGI record that holds the head. FastCGI libraries pad a record to a multiple
# of eight bytes, so one length of head in eight goes out at once, and the other seven wait for the first byte of the body: a
# stream of events that is silent at first opens late. With postpone_output 0 every head goes out at once.
#
# Output seen:
#   no padding: head before the body
#   1 byte of padding: head with the body
#   7 bytes of padding: head with the body
#   7 bytes of padding, postpone_output 0: head before the body
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

# The path says how much padding. The body comes when the client asks for /go on another connection.
start_python backend <<'END'
import struct

END_OF_STDIN = struct.pack("!BBHHBB", 1, 5, 1, 0, 0, 0)
go = threading.Event()


def record(kind, content, padding=0):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), padding, 0) + content + bytes(padding)


def serve(peer):
    request = b""
    while END_OF_STDIN not in request:
        request += peer.recv(65536)
    if b"/go" in request:
        go.set()
        peer.sendall(record(6, b"Status: 204\r\n\r\n") + record(6, b"") + record(3, bytes(8)))
    else:
        padding = int(request.partition(b"/padding/")[2][:1])
        head = b"Content-Type: text/plain\r\nX-Fill: "
        head += b"x" * (-(len(head) + 4 + padding) % 8) + b"\r\n\r\n"
        assert (len(head) + padding) % 8 == 0
        peer.sendall(record(6, head, padding))
        go.wait(20)
        go.clear()
        peer.sendall(record(6, b"body") + record(6, b"") + record(3, bytes(8)))
    peer.close()


while True:
    threading.Thread(target=serve, args=(LISTENER.accept()[0],), daemon=True).start()
END

start_nginx "
server {
	listen unix:$work/front;
	fastcgi_param REQUEST_URI \$request_uri;
	fastcgi_buffering off;
	location / { fastcgi_pass unix:$work/backend; }
	location /now { fastcgi_pass unix:$work/backend; postpone_output 0; }
}"

# Whether the head comes within two seconds while the body is still to come.
ask() {
	: >"$work/head"
	curl -s -m 30 --unix-socket "$work/front" -D "$work/head" -o "$work/body" "http://localhost$1" &
	local client=$! when="with the body"
	if wait_for 2 grep -q X-Fill "$work/head"; then
		when="before the body"
	fi
	curl -s -m 10 --unix-socket "$work/front" "http://localhost/go"
	wait "$client"
	[[ $(cat "$work/body") == body ]] && echo "head $when"
}
expect "no padding" "head before the body" "$(ask /padding/0)"
expect "1 byte of padding" "head with the body" "$(ask /padding/1)"
expect "7 bytes of padding" "head with the body" "$(ask /padding/7)"
expect "7 bytes of padding, postpone_output 0" "head before the body" "$(ask /now/padding/7)"
finish
