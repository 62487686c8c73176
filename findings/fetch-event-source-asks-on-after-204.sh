#!/bin/bash
# npm @microsoft/fetch-event-source 2.0.1
#
# Expected: a server ends an event source for good with 204. The HTML standard says so, and EventSource obeys.
# Behaviour: a 204 is an error here ("Expected content-type to be text/event-stream"), after which the library asks again
# each second, for ever. Only an exception of the application's own onerror, or of its signal, ends it.
#
# Output seen:
#   requests until the fourth: 204,204,204,204
#   an onerror that throws: 204 and rejected
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

fetch_event_source 2.0.1

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { fetchEventSource } from "./fetch-event-source.mjs";

const answers = [];
const server = http.createServer((request, response) => {
  answers.push(204);
  response.writeHead(204).end();
  if (answers.length === 4) {
    console.log(answers.join());
    process.exit();
  }
});
server.listen(0, "127.0.0.1", () => {
  const options = { openWhenHidden: true };
  if (process.argv[2] === "throws") {
    options.onerror = (error) => {
      throw error;
    };
  }
  fetchEventSource(`http://127.0.0.1:${server.address().port}/`, options).catch(() => {
    console.log(`${answers.join()} and rejected`);
    process.exit();
  });
});
END

ask() {
	timeout 30 node "$work/client.mjs" "$1"
}
expect "requests until the fourth" "204,204,204,204" "$(ask on)"
expect "an onerror that throws" "204 and rejected" "$(ask throws)"
finish
