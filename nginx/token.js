// Checks the token of a request where nginx's secure_link cannot: that knows one digest for each sandbox, from the last reload.
// Written for njs 0.7.9 and later, which keep nothing between two requests.
import crypto from 'crypto';
import fs from 'fs';

// Takes the same time wherever the digests differ.
function same(digest, given) {
    let difference = digest.length ^ given.length;
    for (let i = 0; i < given.length; i++) {
        difference |= digest.charCodeAt(i) ^ given.charCodeAt(i);   // beyond the end it is NaN, which counts as 0
    }
    return difference === 0;
}

// `words` are a salt, and base64url(sha256(salt + "Bearer " + secret)) of each secret. The token is compared as bytes.
function matches(words, authorization) {
    const given = crypto.createHash('sha256').update(words[0]).update(authorization).digest('base64url');
    return words.slice(1).filter(digest => same(digest, given)).length > 0;
}

// For a sandbox with several secrets, such as an old and a new one. 1, or nothing.
function known(r) {
    const words = r.variables.nginx_sandbox_digests.split(' ');
    const authorization = r.rawVariables.nginx_sandbox_authorization;
    return authorization.length > 0 && words.length > 1 && matches(words, authorization) ? '1' : '';
}

// For a sandbox of a pool. Its one digest comes while nginx runs, in a file that appears whole (launcher/pool/claim_service.h).
// 1; nothing; or `ask` while there is no file: then the claim service decides.
function claimed(r) {
    const authorization = r.rawVariables.nginx_sandbox_authorization;
    if (authorization.length === 0) {
        return '';
    }
    let words;
    try {
        words = fs.readFileSync(r.variables.nginx_sandbox_claim_file, 'utf8').split(' ');
    } catch (e) {
        return 'ask';
    }
    if (words.length < 2) {
        return 'ask';
    }
    return matches(words.slice(0, 2), authorization) ? '1' : '';   // the third is grant.js's
}

export default { known, claimed };
