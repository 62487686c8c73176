#!/bin/bash
# npm eventsource 2.0.2
#
# Expected: when the connection ends in the middle of an event, the client drops what it has of it, as the HTML standard
# says, and the server sends the event again.
# Behaviour: the data lines that had come stay, and go before the data of the next event on the new connection. The
# application gets one event whose data is the fragment, a newline, and the whole. Data of one line is not safe either:
# it is enough that the cut comes between the line and the blank line.
#
# Output seen:
#   second event: "{\"n\": 2}\n{\"n\": 2}", asked for behind 1
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install eventsource@2.0.2

cat >"$work/client.cjs" <<'END'
const http = require("node:http");
const EventSource = require("eventsource");

let cut, resumedBehind;
const server = http.createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (cut === undefined) {
    cut = () => response.write('data: {"n": 2}\n', () => setTimeout(() => response.destroy(), 300));
    response.write('id: 1\nretry: 10\ndata: {"n": 1}\n\n');
    return;
  }
  resumedBehind = request.headers["last-event-id"];
  response.write('data: {"n": 2}\nid: 2\n\n');
});
server.listen(0, "127.0.0.1", () => {
  const events = new EventSource(`http://127.0.0.1:${server.address().port}/`);
  events.onmessage = ({ data }) => {
    if (data === '{"n": 1}') return cut();
    console.log(`${JSON.stringify(data)}, asked for behind ${resumedBehind}`);
    process.exit();
  };
});
END

# shellcheck disable=SC2028 # \n is what JSON writes
expect "second event" '"{\"n\": 2}\n{\"n\": 2}", asked for behind 1' "$(timeout 30 node "$work/client.cjs")"
finish
