#!/bin/bash
# npm eventsource 5.1.5, node
#
# Expected: an open EventSource keeps the process alive until it is closed, as a timer or a server does. A stream that
# ends is asked for again after the time that retry: gave.
# Behaviour: while the client waits to reconnect nothing keeps node alive. A program that does nothing but listen ends
# in that gap, with status 0 and without a word; the second request is never made. With a timer of its own it goes on.
#
# Output seen:
#   alone: exit status 0, requests 1, readyState at the exit 0
#   with a timer: exit status 3, requests 2, readyState at the exit 1
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install eventsource@5.1.5

cat >"$work/server.mjs" <<'END'
import fs from "node:fs";
import http from "node:http";

let requests = 0;
const server = http.createServer((request, response) => {
  requests += 1;
  response.writeHead(200, { "content-type": "text/event-stream", "x-request": requests });
  response.end(`retry: 500\nid: ${requests}\ndata: ${requests}\n\n`);
  fs.writeFileSync(process.argv[2] + ".requests", String(requests));
});
server.listen(0, "127.0.0.1", () => {
  fs.writeFileSync(process.argv[2] + ".new", String(server.address().port));
  fs.renameSync(process.argv[2] + ".new", process.argv[2]);
});
END
cat >"$work/client.mjs" <<'END'
import { EventSource } from "eventsource";

const events = new EventSource(`http://127.0.0.1:${process.argv[2]}/`);
events.onmessage = ({ data }) => {
  if (data === "2") process.exit(3);
};
process.on("exit", () => console.log(events.readyState));
if (process.argv[3] === "timer") setInterval(() => {}, 1000);
END

ask() {
	timeout 60 node "$work/server.mjs" "$work/$1" &
	pids+=($!)
	wait_for 10 test -s "$work/$1"
	local status=0 state
	state=$(timeout 30 node "$work/client.mjs" "$(cat "$work/$1")" "$1") || status=$?
	seen="exit status $status, requests $(cat "$work/$1.requests"), readyState at the exit $state"
}
ask alone
expect "alone" "exit status 0, requests 1, readyState at the exit 0" "$seen"
ask timer
expect "with a timer" "exit status 3, requests 2, readyState at the exit 1" "$seen"
finish
