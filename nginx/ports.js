// Looks at the head of an application's answer. nginx takes what does not begin as one of HTTP/1 for HTTP/0.9, and would pass it on
// without a head on a connection that it keeps: whoever shares that connection could take the rest for another answer. So the
// connection is closed instead. So it is where a head of 1xx comes first, which nginx 1.22 takes for the whole answer: what follows
// would pass without a length (findings/nginx-takes-early-hints-for-the-answer.sh). Written for njs 0.7.9 and later.
function check(r) {
    const isUpgrade = r.status === 101 && r.headersIn.Upgrade !== undefined;
    if (r.httpVersion === '0.9' || (r.status < 200 && !isUpgrade)) {
        throw new Error('the application gave no answer of HTTP/1');
    }
}

export default { check };
