// Chooses the target of a connection to PROXY_PORT: the bound port on 127.0.0.1, or on ::1 if a program
// listens only there (Node's "localhost"). Written for njs 0.7.9 and later.
import fs from 'fs';

const LISTEN = '0A';      // TCP_LISTEN, include/net/tcp_states.h
// Local addresses as proc_pid_net(5) prints them: little-endian 32-bit words. First 127.0.0.1, then any.
const IPV4_LOCAL = ['0100007F', '00000000'];
const IPV6_LOCAL = ['00000000000000000000000001000000', '00000000000000000000000000000000'];
const READ_SIZE = 1024;   // a few lines: the kernel makes no more than asked for
const MOST_READS = 256;

// The file holds decimal digits and a newline (fcgi-app/ports/bound_port.h). It belongs to the commands' user, who may write anything there: no
// more than the length of a port is read.
function boundPort(path) {
    let file;
    try {
        file = fs.openSync(path);
    } catch (e) {
        return 0;   // no file: nothing is bound
    }
    try {
        const buffer = Buffer.alloc(7);
        const text = buffer.toString('utf8', 0, fs.readSync(file, buffer, 0, buffer.length, null));
        const port = parseInt(text, 10);
        return text === `${port}\n` ? port : 0;
    } finally {
        fs.closeSync(file);
    }
}

// Does a program listen at one of the addresses, on this port? The kernel lists listening sockets before all
// others, so the search ends with the first other one, however many connections there are. It runs for every
// connection, and searches text, because splitting the lines in njs costs ten times as much.
function listens(table, addresses, port) {
    const hex = ('000' + port.toString(16).toUpperCase()).slice(-4);
    const wanted = addresses.map(address => `${address}:${hex} ${'0'.repeat(address.length)}:0000 ${LISTEN} `);
    const file = fs.openSync(table);
    const buffer = Buffer.alloc(READ_SIZE);
    try {
        let text = '';
        for (let i = 0; i < MOST_READS; i++) {
            const count = fs.readSync(file, buffer, 0, buffer.length, null);
            text += buffer.toString('utf8', 0, count);
            if (wanted.some(line => text.indexOf(line) >= 0)) {
                return true;
            }
            const end = text.lastIndexOf('\n');
            const last = text.slice(text.lastIndexOf('\n', end - 1) + 1, end);
            if (count === 0 || last.trim().split(/ +/)[3] !== LISTEN) {   // "sl", local, remote, state
                return false;
            }
            text = text.slice(end + 1);
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
    const port = boundPort(s.variables.nginx_sandbox_port_file);
    const ours = s.variables.nginx_sandbox_proxy_ports.split(' ');
    if (port < 1 || port > 65535 || ours.indexOf(`${port}`) >= 0) {   // not to a PROXY_PORT: it might be a circle
        s.deny();
        return;
    }
    s.variables.nginx_sandbox_target = (prefersIpv6(port) ? '[::1]:' : '127.0.0.1:') + port;
    s.allow();
}

export default { choose };
