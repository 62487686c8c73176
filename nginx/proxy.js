// Chooses where a connection to PROXY_PORT goes: to the bound port on 127.0.0.1, or on ::1 where only
// that is listened on (Node's "localhost"). Written for njs 0.7.9 and later.
import fs from 'fs';

const TARGET = '/run/nginx-sandbox/port/target';   // decimal digits and a newline; see fcgi-app/port.h
const LISTEN = '0A';                               // TCP_LISTEN, include/net/tcp_states.h
// Local addresses as proc_pid_net(5) prints them: little-endian 32-bit words.
const IPV4_LOCAL = ['0100007F', '00000000'];
const IPV6_LOCAL = ['00000000000000000000000001000000', '00000000000000000000000000000000'];
const MOST_READS = 64;

function boundPort() {
    try {
        return parseInt(fs.readFileSync(TARGET, 'utf8'), 10);
    } catch (e) {
        return 0;   // no file: nothing is bound
    }
}

// Is one of the addresses listened on at the port? The kernel lists listening sockets before all others,
// so that the search ends with the first that is none, however many connections there are.
function listens(table, addresses, port) {
    const wanted = ('000' + port.toString(16).toUpperCase()).slice(-4);
    const file = fs.openSync(table);
    const buffer = Buffer.alloc(4096);
    try {
        let rest = '';
        for (let i = 0; i < MOST_READS; i++) {
            const count = fs.readSync(file, buffer, 0, buffer.length, null);
            if (count === 0) {
                return false;
            }
            const lines = (rest + buffer.toString('utf8', 0, count)).split('\n');
            rest = lines.pop();
            for (let j = 0; j < lines.length; j++) {
                const fields = lines[j].trim().split(/ +/);   // "sl", local address:port, remote, state, ...
                if (fields[0] === 'sl') {
                    continue;
                }
                if (fields[3] !== LISTEN) {
                    return false;
                }
                const local = fields[1].split(':');
                if (local[1] === wanted && addresses.indexOf(local[0]) >= 0) {
                    return true;
                }
            }
        }
        return false;
    } finally {
        fs.closeSync(file);
    }
}

function prefersIpv6(port) {
    try {
        return !listens('/proc/net/tcp', IPV4_LOCAL, port) && listens('/proc/net/tcp6', IPV6_LOCAL, port);
    } catch (e) {
        return false;   // no /proc, or no IPv6
    }
}

function choose(s) {
    const port = boundPort();
    if (!(port >= 1 && port <= 65535)) {
        s.deny();
        return;
    }
    s.variables.nginx_sandbox_target = (prefersIpv6(port) ? '[::1]:' : '127.0.0.1:') + port;
    s.allow();
}

export default { choose };
