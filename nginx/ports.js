// Looks at the head of an application's answer. nginx takes what does not begin as one of HTTP/1 for HTTP/0.9, and would pass it on
// without a head on a connection that it keeps: whoever shares that connection could take the rest for another answer. So the
// connection is closed instead. Written for njs 0.7.9 and later.
function check(r) {
    if (r.httpVersion === '0.9') {
        throw new Error('the application gave no answer of HTTP/1');
    }
}

export default { check };
