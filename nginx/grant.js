// Signs grants, and checks them. A grant lets a request in that has no token: for one method, one target and its parameters, until it
// expires. It is the last parameter of a link's query, `grant=EXPIRES.SIGNATURE`, and covers all that stands before it, byte for byte
// as the client sends it. So nothing of the target is ever decoded here, and another spelling of it is another target.
// Written for njs 0.7.9 and later, which keep nothing between two requests.
import crypto from 'crypto';
import fs from 'fs';

// What a grant may be for, and the targets of each kind with their parameters, up to the one of the grant.
const KINDS = [{ name: 'file', target: /^\/files\/[^?#]*\?(?:[^#]*&)?$/ }];
// A ticket is for a WebSocket, and comes as a subprotocol. It covers the path and the whole query.
const SOCKET = /^\/(?:attach|tcp\/[0-9]+)(?:\?[!-~]*)?$/;
const TICKET = /(?:^|[, \t])nginx-sandbox\.ticket\.([0-9]{1,15})\.([A-Za-z0-9_-]{43})(?:[, \t]|$)/;

const METHODS = ['GET', 'PUT', 'DELETE'];
const LINK = /^([!-~]*[?&])grant=([0-9]{1,15})\.([A-Za-z0-9_-]{43})$/;

// Takes the same time wherever the signatures differ.
function same(signature, given) {
    let difference = signature.length ^ given.length;
    for (let i = 0; i < given.length; i++) {
        difference |= signature.charCodeAt(i) ^ given.charCodeAt(i);   // beyond the end it is NaN, which counts as 0
    }
    return difference === 0;
}

// The grant of a link as a client sends it, {kind, method, expires, target, signature}; null if there is none. `expires` is in
// milliseconds since 1970, in digits.
function parse(asked, link) {
    const method = asked === 'HEAD' ? 'GET' : asked;
    const found = LINK.exec(link);
    if (found === null || METHODS.indexOf(method) < 0) {
        return null;
    }
    const kinds = KINDS.filter(kind => kind.target.test(found[1]));
    return kinds.length === 0 ? null
        : { kind: kinds[0].name, method, expires: found[2], target: found[1], signature: found[3] };
}

// The same of a ticket.
function parseTicket(method, target, protocols) {
    const found = method === 'GET' && SOCKET.test(target) ? TICKET.exec(protocols) : null;
    return found === null ? null : { kind: 'ticket', method, expires: found[1], target, signature: found[2] };
}

// No part has a newline in it.
function signature(key, sandbox, grant) {
    const text = ['nginx-sandbox-grant-1', sandbox, grant.kind, grant.method, grant.expires, grant.target].join('\n');
    return crypto.createHmac('sha256', key).update(text).digest('base64url');
}

// '1', if it is valid; 'expired', if it was once; or nothing.
function judge(keys, sandbox, grant, now) {
    if (grant === null || keys.filter(key => same(signature(key, sandbox, grant), grant.signature)).length === 0) {
        return '';
    }
    return Number(grant.expires) > now ? '1' : 'expired';
}

// The keys of the request's sandbox, the current one first. That of a sandbox of a pool comes with the claim, while nginx runs.
function keysOf(r) {
    const file = r.variables.nginx_sandbox_claim_file;
    try {
        const words = file ? fs.readFileSync(file, 'utf8').split(' ').slice(2) : r.variables.nginx_sandbox_keys.split(' ');
        return words.filter(key => key.length > 0);
    } catch (e) {
        return [];   // nobody has claimed it
    }
}

// What $nginx_sandbox_granted is; `late` for a ticket that has expired.
function check(r) {
    const asked = r.variables.nginx_sandbox_raw_uri || '';
    const ticket = parseTicket(r.method, asked, r.headersIn['Sec-WebSocket-Protocol'] || '');
    const grant = ticket || parse(r.method, asked);
    const judged = grant === null ? '' : judge(keysOf(r), r.variables.nginx_sandbox, grant, Date.now());
    return ticket !== null && judged === 'expired' ? 'late' : judged;
}

// A ticket, if it will be read as one.
function signTicket(r, grant, key) {
    const ticket = `${grant.expires}.${signature(key, r.variables.nginx_sandbox, grant)}`;
    return parseTicket(grant.method, grant.target, `nginx-sandbox.ticket.${ticket}`) === null ? '' : ticket;
}

// The path of a link, or a ticket, from what fcgi-app grants: KIND METHOD EXPIRES TARGET, in a header that no client sees.
function sign(r) {
    const words = (r.variables.upstream_http_x_sandbox_grant || '').split(' ');
    const keys = keysOf(r);
    if (words.length !== 4 || keys.length === 0) {
        return '';
    }
    const grant = { kind: words[0], method: words[1], expires: words[2], target: words[3] };
    if (grant.kind === 'ticket') {
        return signTicket(r, grant, keys[0]);
    }
    const link = `${grant.target}grant=${grant.expires}.${signature(keys[0], r.variables.nginx_sandbox, grant)}`;
    const read = parse(grant.method, link);   // as it will be read
    return read !== null && read.kind === grant.kind ? link : '';
}

export default { check, sign, parse, judge, signature, same, keysOf };
