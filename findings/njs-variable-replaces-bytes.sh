#!/bin/bash
# njs 0.7.9 (libnginx-mod-http-js of Debian 12) in nginx 1.22.1, `js_set`
#
# Expected: a Buffer is bytes. A function that returns one gives its variable these bytes, as r.return() gives them to the client and
# as nginx's own variables hold any bytes.
# Behaviour: the variable gets the Buffer as text in UTF-8: each byte that is none becomes U+FFFD, three bytes, without an error. A
# character above 0x7f of a string is two bytes in the variable. So a key, a digest or a path that njs has computed as bytes reaches a
# variable only by String.bytesFrom(), whose place Buffer has taken.
#
# Output seen:
#   r.return() of the bytes 61 e9 ff: 61e9ff
#   js_set of the same Buffer: 61efbfbdefbfbd
#   js_set of the characters of that number: 61c3a9c3bf
#   js_set of String.bytesFrom(): 61e9ff
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

need nginx nginx 1.22.1
unpack "libnginx-mod-http-js=0.7.9-*"

cat >"$work/bytes.js" <<'END'
const BYTES = [0x61, 0xe9, 0xff];
function answer(r) { r.return(200, Buffer.from(BYTES)); }
function buffer() { return Buffer.from(BYTES); }
function text() { return BYTES.map((byte) => String.fromCharCode(byte)).join(""); }
function bytes() { return String.bytesFrom(BYTES); }
export default { answer, buffer, text, bytes };
END
start_nginx "
js_path $work;
js_import bytes.js;
js_set \$from_buffer bytes.buffer;
js_set \$from_text bytes.text;
js_set \$from_bytes bytes.bytes;
server {
	listen unix:$work/front;
	location /answer { js_content bytes.answer; }
	location /buffer { return 200 \$from_buffer; }
	location /text { return 200 \$from_text; }
	location /bytes { return 200 \$from_bytes; }
}" "load_module $work/root/usr/lib/nginx/modules/ngx_http_js_module.so;"

seen() {
	curl -s -m 30 --unix-socket "$work/front" "http://localhost$1" | od -An -tx1 | tr -d ' \n'
}
expect "r.return() of the bytes 61 e9 ff" 61e9ff "$(seen /answer)"
expect "js_set of the same Buffer" 61efbfbdefbfbd "$(seen /buffer)"
expect "js_set of the characters of that number" 61c3a9c3bf "$(seen /text)"
expect "js_set of String.bytesFrom()" 61e9ff "$(seen /bytes)"
finish
