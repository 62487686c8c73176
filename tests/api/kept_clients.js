// Clients of a sandbox as Node's programs are: each asks one request after the other on a connection that it keeps.
//     node kept_clients.js PORT TOKEN CLIENTS REQUESTS
// First without a token; when all have an answer, each asks REQUESTS times with it. Prints {"answers": {STATUS: COUNT},
// "lost": [ERROR, ...], "connections": COUNT}.
'use strict';
const http = require('http');

const [port, token, clients, requests] = process.argv.slice(2);
const result = { answers: {}, lost: [], connections: 0 };

function ask(agent, path, headers, body) {
    return new Promise(resolve => {
        const options = { host: '127.0.0.1', port, path, agent, headers, method: body === undefined ? 'GET' : 'POST' };
        const request = http.request(options, response => {
            response.on('error', error => resolve(error.code));
            response.on('end', () => resolve(response.statusCode));
            response.resume();
        });
        request.on('socket', socket => {
            if (socket.connecting) {
                result.connections++;
            }
        });
        request.on('error', error => resolve(error.code || error.message));
        request.end(body);
    });
}

async function loop(agent) {
    const headers = { Authorization: `Bearer ${token}` };
    for (let i = 0; i < requests; i++) {
        const answer = i % 4 === 0 ? await ask(agent, '/run', headers, '{"cmd":"true"}') : await ask(agent, '/list_processes', headers);
        if (typeof answer === 'number') {
            result.answers[answer] = (result.answers[answer] || 0) + 1;
        } else {
            result.lost.push(answer);
        }
    }
    agent.destroy();
}

async function main() {
    const agents = Array.from({ length: Number(clients) }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
    await Promise.all(agents.map(agent => ask(agent, '/health', {})));
    await Promise.all(agents.map(loop));
    console.log(JSON.stringify(result));
}

main();
