// An application with WebSockets, by npm's ws: says what it was asked, then echoes, and ends where a message says so.
//     node web_socket_echo.js PORT
// On its standard output: a line for each end, with what the client gave as reason.
'use strict';
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ port: Number(process.argv[2]), host: '127.0.0.1', perMessageDeflate: true, handleProtocols: protocols => [...protocols][0] });

server.on('connection', (socket, request) => {
    socket.send(JSON.stringify({ url: request.url, headers: request.headers }));
    socket.on('message', (data, isBinary) => {
        const text = isBinary ? '' : data.toString();
        if (text === 'close') {
            socket.close(4001, 'as you said');
        } else {
            socket.send(data, { binary: isBinary });
        }
    });
    socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
});
