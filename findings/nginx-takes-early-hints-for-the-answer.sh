#!/bin/bash
# nginx 1.22.1 (Debian 12), an application that sends 103 Early Hints before its answer
#
# Expected: RFC 9110, 15.2: an answer of 1xx comes before the final one. A proxy passes it on or drops it, and then does with the final
# answer what it is told.
# Behaviour: to nginx the 103 is the answer. What follows passes as bytes without a length, on a connection that nginx keeps: no
# header of the final answer is hidden, and an application can put a second answer behind it, which is then the answer to the client's
# next request.
#
# Output seen:
#   a header that is to be hidden, after nothing: hidden
#   a header that is to be hidden, after 103: passed
#   the next request on the connection is answered with: evil
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1

start_python backend <<'END'
FINAL = b"HTTP/1.1 200 OK\r\nX-Hidden: yes\r\nContent-Length: 4\r\n\r\n"

def serve(peer):
    request = peer.recv(65536).split()
    if not request:   # a look whether somebody listens
        return
    path = request[1]
    hints = b"" if path == b"/plain" else b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    try:
        peer.sendall(hints + FINAL + b"good" + (FINAL + b"evil" if path == b"/two" else b""))
    except BrokenPipeError:   # nginx has ended
        pass
    peer.close()

while True:
    threading.Thread(target=serve, args=(LISTENER.accept()[0],), daemon=True).start()
END

start_nginx "
server {
	listen unix:$work/front;
	location / { proxy_pass http://unix:$work/backend; proxy_http_version 1.1; proxy_hide_header X-Hidden; }
}"

# hidden PATH: whether the client reads the header.
hidden() {
	local heads
	heads=$(curl -s -m 30 -D - --unix-socket "$work/front" "http://localhost$1")
	if [[ $heads == *X-Hidden* ]]; then echo passed; else echo hidden; fi
}
expect "a header that is to be hidden, after nothing" hidden "$(hidden /plain)"
expect "a header that is to be hidden, after 103" passed "$(hidden /hints)"
# Two requests on one connection, and the last four bytes of the second answer that the client reads.
expect "the next request on the connection is answered with" evil "$(/usr/bin/python3 - "$work/front" <<'END'
import http.client, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
connection = http.client.HTTPConnection("localhost")
connection.sock = client
client.sendall(b"GET /two HTTP/1.1\r\nHost: localhost\r\n\r\n")
answers = client.makefile("rb")
def read_answer():
    while True:
        head = []
        while (line := answers.readline()) not in (b"\r\n", b""):
            head.append(line)
        if not head[0].startswith(b"HTTP/1.1 1"):
            return answers.read(4).decode()
read_answer()
client.sendall(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
print(read_answer())
END
)"
finish
