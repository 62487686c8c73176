#!/bin/bash
# npm @modelcontextprotocol/sdk 1.32.2, Streamable HTTP client
#
# Expected: a call that the application aborts (or that times out) closes its HTTP request, so a server that notices
# closed connections can end the work.
# Behaviour: the request stays open as long as the server likes. The client tells by notifications/cancelled, in a
# request of its own. A server that hands out no Mcp-Session-Id cannot know whose call that names: every client counts
# its ids from 0.
#
# Output seen:
#   after abort: call failed, closed no, then notifications/cancelled of request 1
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install @modelcontextprotocol/sdk@1.32.2

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const stop = new AbortController();
let closed = "no", cancelled = "nothing", outcome = "call pending";

const server = http.createServer(async (request, response) => {
  if (request.method !== "POST") return response.writeHead(405).end();
  let body = "";
  for await (const chunk of request) body += chunk;
  const { id, method, params } = JSON.parse(body);
  if (method === "notifications/cancelled") cancelled = `${method} of request ${params.requestId}`;
  if (id === undefined) return response.writeHead(202).end();
  if (method === "initialize") {
    const result = {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "slow", version: "1" },
    };
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  }
  response.on("close", () => (closed = "yes"));
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": working\n", () => setTimeout(() => stop.abort(), 200));
});
server.listen(0, "127.0.0.1", async () => {
  const client = new Client({ name: "finding", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${server.address().port}/mcp`)));
  client
    .callTool({ name: "any", arguments: {} }, undefined, { signal: stop.signal })
    .then(() => (outcome = "call succeeded"), () => (outcome = "call failed"));
  stop.signal.addEventListener("abort", () =>
    setTimeout(() => {
      console.log(`${outcome}, closed ${closed}, then ${cancelled}`);
      process.exit();
    }, 3000));
});
END

expect "after abort" "call failed, closed no, then notifications/cancelled of request 1" \
	"$(timeout 30 node "$work/client.mjs")"
finish
