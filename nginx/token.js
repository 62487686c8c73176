// Whether a request has one of the secrets of its sandbox, where a sandbox has several: one that takes the place of another
// overlaps with it. (Of one secret each, nginx's secure_link finds out in less time.) Written for njs 0.7.9 and later.
import crypto from 'crypto';

// Takes the same time wherever the digests differ.
function same(digest, given) {
    let difference = digest.length ^ given.length;
    for (let i = 0; i < given.length; i++) {
        difference |= digest.charCodeAt(i) ^ given.charCodeAt(i);   // beyond the end it is NaN, which counts as 0
    }
    return difference === 0;
}

// $nginx_sandbox_digests are words: a salt, and base64url(sha256(salt + "Bearer " + secret)) of each secret. The token is taken
// as the bytes that it is.
function known(r) {
    const words = r.variables.nginx_sandbox_digests.split(' ');
    const header = r.rawVariables.nginx_sandbox_authorization;
    if (header.length === 0 || words.length < 2) {
        return '';
    }
    const given = crypto.createHash('sha256').update(words[0]).update(header).digest('base64url');
    return words.slice(1).filter(digest => same(digest, given)).length > 0 ? '1' : '';
}

export default { known };
