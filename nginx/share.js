// Lets browsers without the token in to a port that is shared (/share_port). A share has a file in the directory of the bound port
// (fcgi-app/ports/shares.h), and is over when that is gone. Its link has a grant, which becomes a cookie; both are signed like the
// grants of files, and say ID, EXPIRES and SIGNATURE. Everything here is about a request to a host that stands for a port.
// Written for njs 0.7.9 and later, which keep nothing between two requests.
import fs from 'fs';
import grants from './grant.js';
import places from './generated/shares.js';   // {NAME: {directory, isPublic}}

const GRANT = /^sandbox-grant=([0-9a-f]{16})\.([0-9]{1,15})\.([A-Za-z0-9_-]{43})$/;

const COOKIES_MOST = 64;   // of a request

const FILE_MOST = 2048;   // bytes; it has fewer (a client can write there, by way of /proc/self/fd)
const LINE = /^([0-9a-f]{16}) ([1-9][0-9]{0,4}) ([0-9]{1,15})((?: [!-~]+)*)\n$/;

// The last grant of a query; null if there is none that looks like one.
function parseQuery(query) {
    const words = query.split('&').filter(word => word.startsWith('sandbox-grant='));
    const found = words.length > 0 ? GRANT.exec(words[words.length - 1]) : null;
    return found === null ? null : { id: found[1], expires: found[2], signature: found[3] };
}

// Each share has a cookie of its own. So those of several sandboxes, which may be at one host with different ports, do not meet.
// Another host of the same domain may have set more of the same name: each counts for itself.
function parseCookies(header) {
    const pattern = /(?:^|;) *(?:__Host-)?sandbox-grant-([0-9a-f]{16})=([0-9]{1,15})\.([A-Za-z0-9_-]{43})(?= *(?:;|$))/g;
    const cookies = [];
    for (let found; cookies.length < COOKIES_MOST && (found = pattern.exec(header)) !== null;) {
        cookies.push({ id: found[1], expires: found[2], signature: found[3] });
    }
    return cookies;
}

// What is signed. It is for one port of one sandbox. No part has a space in it.
function signature(key, sandbox, kind, port, share) {
    return grants.signature(key, sandbox, { kind, method: 'ANY', expires: share.expires, target: `${port} ${share.id}` });
}

// '1', if it is valid; 'expired', if it was once; or nothing. Whether the share has ended before is not looked at.
function judge(keys, sandbox, kind, port, share, now) {
    if (keys.filter(key => grants.same(signature(key, sandbox, kind, port, share), share.signature)).length === 0) {
        return '';
    }
    return Number(share.expires) > now ? '1' : 'expired';
}

// The share that a file has, {id, port, expires, origins}; null if there is none.
function readShare(r, name) {
    try {
        const path = `${places[r.variables.nginx_sandbox].directory}/${name}`;
        const status = fs.lstatSync(path);
        const found = status.isFile() && status.size <= FILE_MOST ? LINE.exec(fs.readFileSync(path, 'utf8')) : null;
        return found === null ? null : { id: found[1], port: found[2], expires: found[3], origins: found[4].trim() };
    } catch (e) {
        return null;
    }
}

// The share of a link, which is as it was when the link was made; null if it has ended.
function linkedShare(r, port, id) {
    const share = readShare(r, `share-${id}`);
    return share !== null && share.id === id && share.port === port ? share : null;
}

function publicShare(r, port, now) {
    const place = places[r.variables.nginx_sandbox];
    const share = place !== undefined && place.isPublic ? readShare(r, `public-${port}`) : null;
    return share !== null && share.port === port && Number(share.expires) > now ? share : null;
}

// Whether the header Host, which a redirect takes, has the host that the request is for: its first line may have another.
function namesHost(r) {
    return (r.headersIn.Host || '').toLowerCase().replace(/\.?(?::[0-9]{1,5})?$/, '') === r.variables.host;
}

// Whether a request with a cookie is from a page of this host, or from nobody but the user. A browser adds the cookie by itself,
// whoever makes it send a request: so a page of another host must not do that, except that it may link here (`embeds`: or show
// the port in a frame).
function isOwn(r, embeds) {
    const headers = r.headersIn;
    const site = headers['Sec-Fetch-Site'];
    const origin = headers.Origin;
    const frame = headers['Sec-Fetch-Dest'];
    if (origin !== undefined && origin !== 'null') {
        return origin.toLowerCase().replace(/^https?:\/\//, '') === (headers.Host || '').toLowerCase();
    }
    if (site === 'same-origin' || site === 'none' || (site === undefined && origin === undefined)) {
        return true;
    }
    return origin === undefined && r.method === 'GET' && headers['Sec-Fetch-Mode'] === 'navigate' &&
        (frame === 'document' || (embeds && (frame === 'iframe' || frame === 'frame')));
}

// What one cookie says: `cookie:ID` and the origins of its share; `foreign`, `expired` or nothing.
function byOneCookie(r, keys, port, now, cookie) {
    const judged = judge(keys, r.variables.nginx_sandbox, 'port-cookie', port, cookie, now);
    const share = judged === '1' ? linkedShare(r, port, cookie.id) : null;
    if (share === null) {
        return judged === 'expired' ? judged : '';
    }
    return isOwn(r, share.origins.length > 0) ? `cookie:${share.id} ${share.origins}`.trim() : 'foreign';
}

// The same of all cookies: the first that lets the request in, or why none does.
function byCookie(r, keys, port, now) {
    const said = parseCookies(r.variables.http_cookie || '').map(cookie => byOneCookie(r, keys, port, now, cookie));
    return said.find(one => one.startsWith('cookie:')) || said.find(one => one === 'foreign') || said.find(one => one !== '') || '';
}

// Who is let in, without regard to a grant: `token`, `public:ID` or byCookie().
function withoutGrant(r, keys, port, now) {
    if (r.variables.nginx_sandbox_known === '1') {
        return 'token';
    }
    const open = publicShare(r, port, now);
    return open !== null ? `public:${open.id}` : byCookie(r, keys, port, now);
}

// The same for a request with a grant in its query, which never goes on as it is: `link:ID`, whose cookie is set; `clean` if the
// request comes in without it; `misplaced` where no browser would follow a redirect. Or `expired`, or nothing.
function byGrant(r, keys, port, now, other) {
    const grant = parseQuery(r.variables.args || '');
    const judged = grant === null ? '' : judge(keys, r.variables.nginx_sandbox, 'port', port, grant, now);
    const share = judged === '1' ? linkedShare(r, port, grant.id) : null;
    const comes = share !== null ? `link:${share.id}` : /:|^token$/.test(other) ? 'clean' : '';
    if (comes === '') {
        return judged === 'expired' ? judged : '';
    }
    return (r.method === 'GET' || r.method === 'HEAD') && !r.headersIn.Upgrade && namesHost(r) ? comes : 'misplaced';
}

function visit(r) {
    const port = r.variables.nginx_sandbox_port;
    const keys = grants.keysOf(r);
    const now = Date.now();
    const other = withoutGrant(r, keys, port, now);
    return /(?:^|&)sandbox-grant=/.test(r.variables.args || '') ? byGrant(r, keys, port, now, other) : other;
}

// The cookie for a request that visit() has let in by its grant; nothing for others. A __Host- cookie is this host's alone, but
// needs TLS. Who comes without it can only mislead itself by X-Forwarded-Proto: so that counts from everybody.
function cookie(r) {
    const grant = parseQuery(r.variables.args || '');
    const keys = grants.keysOf(r);
    const port = r.variables.nginx_sandbox_port;
    const share = grant === null ? null : linkedShare(r, port, grant.id);
    if (share === null || keys.length === 0 || !r.variables.nginx_sandbox_port_in.startsWith('link:')) {
        return '';
    }
    const seconds = Math.ceil((Number(grant.expires) - Date.now()) / 1000);
    const secure = r.variables.scheme === 'https' || /^https *(?:,|$)/i.test(r.headersIn['X-Forwarded-Proto'] || '');
    const embeds = share.origins.length > 0;
    return `${secure ? '__Host-' : ''}sandbox-grant-${grant.id}=${grant.expires}.` +
        signature(keys[0], r.variables.nginx_sandbox, 'port-cookie', port, grant) +
        `; Path=/; Max-Age=${seconds}; HttpOnly${secure || embeds ? '; Secure' : ''}; SameSite=${embeds ? 'None; Partitioned' : 'Lax'}`;
}

// The path of a link, from what fcgi-app says: PORT ID EXPIRES PATH, in a header that no client sees.
function link(r, said) {
    const words = said.split(' ');
    const keys = grants.keysOf(r);
    if (words.length !== 4 || keys.length === 0) {
        return '';
    }
    const share = { id: words[1], expires: words[2] };
    const path = words[3];
    return `${path}${path.indexOf('?') < 0 ? '?' : '&'}sandbox-grant=${share.id}.${share.expires}.` +
        signature(keys[0], r.variables.nginx_sandbox, 'port', words[0], share);
}

// What is signed here for a client: a link, in an answer of /share_port, or else a cookie.
function sign(r) {
    const said = r.variables.upstream_http_x_sandbox_grant;
    return said ? link(r, said) : cookie(r);
}

export default { visit, sign, parseQuery, parseCookies, judge, signature };
