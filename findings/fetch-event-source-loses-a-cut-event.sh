#!/bin/bash
# npm @microsoft/fetch-event-source 2.0.1
#
# Expected: a client that resumes sends the id of the last event that it delivered. The HTML standard says so: an id
# counts once the blank line behind the event has come.
# Behaviour: the id counts as soon as its line is read. A connection that is cut between the id line and the blank line
# is resumed behind an event that the application never got: a server that replays properly cannot help. A server
# avoids it if it writes the id line last in its events.
#
# Output seen:
#   id first: Last-Event-ID 2, delivered one, three
#   id last: Last-Event-ID 1, delivered one, two, three
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

fetch_event_source 2.0.1

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { fetchEventSource } from "./fetch-event-source.mjs";

const forms = {
  first: (id, data) => `id: ${id}\ndata: ${data}\n\n`,
  last: (id, data) => `data: ${data}\nid: ${id}\n\n`,
};
const form = forms[process.argv[2]];
const words = ["one", "two", "three"];
const delivered = [];
let cut, resumedBehind;

const server = http.createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const last = request.headers["last-event-id"];
  if (last === undefined) {
    response.write("retry: 10\n" + form(1, "one"));
    // The first line of the second event, then the end of the connection.
    cut = () => response.write(form(2, "two").replace(/\n.*/s, "\n"), () => setTimeout(() => response.destroy(), 300));
    return;
  }
  resumedBehind = last;
  words.forEach((word, at) => at + 1 > Number(last) && response.write(form(at + 1, word)));
});
server.listen(0, "127.0.0.1", () => {
  const stop = new AbortController();
  fetchEventSource(`http://127.0.0.1:${server.address().port}/`, {
    signal: stop.signal,
    openWhenHidden: true,
    onmessage({ data }) {
      delivered.push(data);
      if (data === "one") cut();
      if (data === "three") {
        console.log(`Last-Event-ID ${resumedBehind}, delivered ${delivered.join(", ")}`);
        process.exit();
      }
    },
  });
});
END

expect "id first" "Last-Event-ID 2, delivered one, three" "$(timeout 30 node "$work/client.mjs" first)"
expect "id last" "Last-Event-ID 1, delivered one, two, three" "$(timeout 30 node "$work/client.mjs" last)"
finish
