#!/bin/bash
# npm eventsource 4.1.0
#
# Expected: an exception that onmessage throws is an error of the application: it is reported as uncaught, and the
# connection goes on. So browsers do.
# Behaviour: the client swallows the exception, reports an error event as for a broken network, and opens another
# connection. The old one stays open: the server sees one stream more for each exception.
#
# Output seen:
#   after one exception: uncaught 0, error events 1, requests 2, streams still open 2
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install eventsource@4.1.0

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { EventSource } from "eventsource";

let requests = 0, open = 0, uncaught = 0, errors = 0, thrown = false;
process.on("uncaughtException", () => (uncaught += 1));
const server = http.createServer((request, response) => {
  requests += 1;
  open += 1;
  response.on("close", () => (open -= 1));
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(`retry: 10\nid: ${requests}\ndata: ${requests}\n\n`);
});
server.listen(0, "127.0.0.1", () => {
  const events = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  events.onerror = () => (errors += 1);
  events.onmessage = () => {
    if (thrown) return;
    thrown = true;
    throw new Error("of the application");
  };
});
setTimeout(() => {
  console.log(`uncaught ${uncaught}, error events ${errors}, requests ${requests}, streams still open ${open}`);
  process.exit();
}, 4000);
END

expect "after one exception" "uncaught 0, error events 1, requests 2, streams still open 2" \
	"$(timeout 30 node "$work/client.mjs")"
finish
