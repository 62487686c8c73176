// A client of WebSockets, by npm's ws, that a test steers by lines of JSON:
//     node web_socket_client.js URL HEADERS PROTOCOL
// {"text"}, {"bytes": how many}, {"ping"} are sent, {"close": [code, reason]} ends. It prints {"open": {"protocol", "extensions"}},
// {"text"}, {"bytes", "whole"}, {"pong"}, {"close": [code, reason]}, and for an answer that is none {"status"}.
'use strict';
const readline = require('readline');
const WebSocket = require('ws');

const [url, headers, protocol] = process.argv.slice(2);
const say = what => console.log(JSON.stringify(what));
const pattern = size => Buffer.alloc(size, 'a pattern of no length that divides');
const socket = new WebSocket(url, protocol ? [protocol] : [], { headers: JSON.parse(headers) });

socket.on('open', () => say({ open: { protocol: socket.protocol, extensions: socket.extensions } }));
socket.on('message', (data, isBinary) => say(isBinary ? { bytes: data.length, whole: data.equals(pattern(data.length)) } : { text: data.toString() }));
socket.on('pong', data => say({ pong: data.toString() }));
socket.on('unexpected-response', (request, response) => {
    say({ status: response.statusCode });
    process.exit();
});
socket.on('error', error => say({ error: error.message }));
socket.on('close', (code, reason) => {
    say({ close: [code, reason.toString()] });
    process.exit();
});
readline.createInterface({ input: process.stdin }).on('line', line => {
    const what = JSON.parse(line);
    if (what.text !== undefined) {
        socket.send(what.text);
    } else if (what.bytes !== undefined) {
        socket.send(pattern(what.bytes));
    } else if (what.ping !== undefined) {
        socket.ping(what.ping);
    } else {
        socket.close(...what.close);
    }
});
