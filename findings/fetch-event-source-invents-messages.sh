#!/bin/bash
# npm @microsoft/fetch-event-source 2.0.1
#
# Expected: a comment (a keepalive) or a block with nothing but retry: is no event. The HTML standard drops what has no
# data.
# Behaviour: each of them reaches onmessage as an event with empty data. An application that parses data as JSON throws at
# the first keepalive. A server avoids it if it writes comments without a blank line, and retry: within an event.
#
# Output seen:
#   comment and blank line: ["","one"]
#   retry and blank line: ["","one"]
#   the same without the blank line: ["one"]
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

fetch_event_source 2.0.1

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { fetchEventSource } from "./fetch-event-source.mjs";

const messages = [];
const server = http.createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(JSON.parse(`"${process.argv[2]}"`) + "data: one\n\n");
});
server.listen(0, "127.0.0.1", () => {
  fetchEventSource(`http://127.0.0.1:${server.address().port}/`, {
    openWhenHidden: true,
    onmessage({ data }) {
      messages.push(data);
      if (data === "one") {
        console.log(JSON.stringify(messages));
        process.exit();
      }
    },
  });
});
END

ask() {
	timeout 30 node "$work/client.mjs" "$1"
}
expect "comment and blank line" '["","one"]' "$(ask ':keepalive\n\n')"
expect "retry and blank line" '["","one"]' "$(ask 'retry: 1000\n\n')"
expect "the same without the blank line" '["one"]' "$(ask ':keepalive\nretry: 1000\n')"
finish
