// Uploads a file by tus-js-client, as an application would, and asks before each request whether it may go on:
//     node tus_upload.js ENDPOINT TOKEN FILE TARGET
// Prints "may I" before each request and waits for a line; at the end {"sent": bytes of all connections, "url": of the upload}.
const fs = require('fs');
const http = require('http');
const readline = require('readline');
const tus = require('tus-js-client');

const [endpoint, token, file, target] = process.argv.slice(2);
const sockets = [];

class CountingAgent extends http.Agent {
    createConnection(options, callback) {
        const socket = super.createConnection(options, callback);
        sockets.push(socket);
        return socket;
    }
}

const waiting = [];
readline.createInterface({ input: process.stdin }).on('line', () => waiting.shift()());

function allowed() {
    return new Promise(resolve => {
        waiting.push(resolve);
        console.log('may I');
    });
}

const upload = new tus.Upload(fs.createReadStream(file), {
    endpoint,
    headers: { Authorization: `Bearer ${token}` },
    metadata: { path: target, filename: 'a name of the client' },
    retryDelays: [0, 100, 200, 400, 800, 1600],
    httpStack: new tus.DefaultHttpStack({ agent: new CountingAgent({ keepAlive: true }) }),
    onBeforeRequest: allowed,
    onError(error) {
        console.error(String(error));
        process.exit(1);
    },
    onSuccess() {
        console.log(JSON.stringify({ sent: sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0), url: upload.url }));
        process.exit(0);
    },
});
upload.start();
