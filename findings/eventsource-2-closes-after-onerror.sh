#!/bin/bash
# npm eventsource 2.0.2, node
#
# Expected: when an answer ends it for good (204, 401, 404), readyState is CLOSED in onerror, as HTML's standard says ("set
# readyState to CLOSED, fire an event named error"). Programs look there for whether they are to wait or to give up.
# Behaviour: readyState is CONNECTING in onerror, as for a cut that is followed by another connection. It becomes CLOSED
# right behind it, and no further event says so. 4.1.0 and 5.1.5 do as the standard says.
#
# Output seen:
#   status 204: in onerror 0, a moment later 2, errors 1, requests 1
#   status 401: in onerror 0, a moment later 2, errors 1, requests 1
#   a cut: in onerror 0, a moment later 0, errors 1, requests 2
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install eventsource@2.0.2

cat >"$work/try.cjs" <<'END_OF_SCRIPT'
const http = require("node:http");
const EventSource = require("eventsource");

const status = Number(process.argv[2]);
let requests = 0;
const server = http.createServer((request, response) => {
  requests += 1;
  if (status !== 200) {
    response.writeHead(status).end();
  } else if (requests === 1) {
    response.writeHead(200, { "content-type": "text/event-stream" }).end("retry: 10\ndata: x\n\n");
  } else {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": open\n\n");
  }
});
server.listen(0, "127.0.0.1", () => {
  const events = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  let errors = 0;
  events.onerror = () => {
    errors += 1;
    const then = events.readyState;
    let later;
    setImmediate(() => { later = events.readyState; });
    setTimeout(() => {
      console.log(`in onerror ${then}, a moment later ${later}, errors ${errors}, requests ${requests}`);
      process.exit();
    }, 2000);
  };
});
END_OF_SCRIPT

for status in 204 401; do
	expect "status $status" "in onerror 0, a moment later 2, errors 1, requests 1" "$(timeout 30 node "$work/try.cjs" $status)"
done
expect "a cut" "in onerror 0, a moment later 0, errors 1, requests 2" "$(timeout 30 node "$work/try.cjs" 200)"
finish
