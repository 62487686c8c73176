#!/bin/bash
# nginx 1.22.1 (Debian 12), FastCGI
#
# Expected: a FastCGI backend that dies in the middle of an answer leaves the client with a cut answer. HTTP/1.1 has a
# sign for it: the last chunk is missing.
# Behaviour: nginx sends the last chunk, as if the answer were whole. The client cannot know. Only with both
# fastcgi_keep_conn on and buffering does nginx close the connection without the last chunk, and curl reports error 18.
# X-Accel-Buffering: no of the backend turns the buffering off here, unless fastcgi_ignore_headers names it.
#
# Output seen:
#   unbuffered: curl exits 0 with: half
#   unbuffered, keep_conn: curl exits 0 with: half
#   buffered: curl exits 0 with: half
#   buffered, keep_conn: curl exits 18 with: half
#   the same, the backend says X-Accel-Buffering: curl exits 0 with: half
#   the same with fastcgi_ignore_headers: curl exits 18 with: half
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

start_python backend <<'END'
import struct

END_OF_STDIN = struct.pack("!BBHHBB", 1, 5, 1, 0, 0, 0)
while True:
    peer = LISTENER.accept()[0]
    request = b""
    while END_OF_STDIN not in request:
        request += peer.recv(65536)
    head = b"X-Accel-Buffering: no\r\n" if b"/says" in request else b""
    answer = head + b"Content-Type: text/plain\r\n\r\nhalf"
    # One STDOUT record, then no end of the stream and no END_REQUEST: what a killed process leaves.
    peer.sendall(struct.pack("!BBHHBB", 1, 6, 1, len(answer), 0, 0) + answer)
    peer.close()
END

start_nginx "
server {
	listen unix:$work/front;
	fastcgi_param REQUEST_URI \$request_uri;
	fastcgi_buffering off;
	fastcgi_keep_conn on;
	location /unbuffered { fastcgi_pass unix:$work/backend; fastcgi_keep_conn off; }
	location /unbuffered/keep { fastcgi_pass unix:$work/backend; }
	location /buffered { fastcgi_pass unix:$work/backend; fastcgi_buffering on; fastcgi_keep_conn off; }
	location /buffered/keep { fastcgi_pass unix:$work/backend; fastcgi_buffering on; }
	location /says { fastcgi_pass unix:$work/backend; fastcgi_buffering on; }
	location /says/ignored {
		fastcgi_pass unix:$work/backend;
		fastcgi_buffering on;
		fastcgi_ignore_headers X-Accel-Buffering;
	}
}"

ask() {
	local body status=0
	body=$(curl -s -m 10 --unix-socket "$work/front" "http://localhost$1") || status=$?
	echo "curl exits $status with: $body"
}
expect "unbuffered" "curl exits 0 with: half" "$(ask /unbuffered)"
expect "unbuffered, keep_conn" "curl exits 0 with: half" "$(ask /unbuffered/keep)"
expect "buffered" "curl exits 0 with: half" "$(ask /buffered)"
expect "buffered, keep_conn" "curl exits 18 with: half" "$(ask /buffered/keep)"
expect "the same, the backend says X-Accel-Buffering" "curl exits 0 with: half" "$(ask /says)"
expect "the same with fastcgi_ignore_headers" "curl exits 18 with: half" "$(ask /says/ignored)"
finish
