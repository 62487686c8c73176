#!/bin/bash
# nginx 1.22.1 (Debian 12)
#
# Expected: whether a client speaks TLS changes nothing about when it gets what nginx has read. With postpone_output 0
# and a chunked answer nginx passes each chunk on as soon as it is there, buffered or not: plain HTTP shows it.
# Behaviour: over TLS the same location sends nothing, not even the head of the answer, until 16 KiB are together or the
# answer ends (ssl_buffer_size): a TLS record goes out early only on a flush, which answers that are buffered never ask
# for. ssl_buffer_size 4k only makes the wait shorter. Unbuffered answers are flushed.
#
# Output seen:
#   event at once, buffered, plain: yes
#   event at once, buffered, TLS: no
#   event at once, unbuffered, TLS: yes
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null

start_python backend <<'END'
def serve(peer):
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"d\r\ndata: first\n\n\r\n")
    time.sleep(20)

while True:
    threading.Thread(target=serve, args=(LISTENER.accept()[0],), daemon=True).start()
END

locations="
	postpone_output 0;
	proxy_http_version 1.1;
	proxy_buffer_size 8k;
	proxy_buffers 2 8k;
	proxy_busy_buffers_size 8k;
	location / { proxy_pass http://unix:$work/backend; }
	location /unbuffered { proxy_pass http://unix:$work/backend; proxy_buffering off; }"
start_nginx "
server {
	listen unix:$work/plain;
	$locations
}
server {
	listen unix:$work/tls ssl;
	ssl_certificate $work/cert.pem;
	ssl_certificate_key $work/key.pem;
	$locations
}"

ask() {
	local body
	body=$(curl -skN -m 3 --unix-socket "$work/$1" "$2") || true
	[[ $body == "data: first"* ]] && echo yes || echo no
}
expect "event at once, buffered, plain" yes "$(ask plain http://localhost/)"
expect "event at once, buffered, TLS" no "$(ask tls https://localhost/)"
expect "event at once, unbuffered, TLS" yes "$(ask tls https://localhost/unbuffered)"
finish
