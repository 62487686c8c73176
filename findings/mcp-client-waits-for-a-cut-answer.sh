#!/bin/bash
# npm @modelcontextprotocol/sdk 1.32.2, Streamable HTTP client
#
# Expected: when the server dies while it answers tools/call, the call fails at once, whatever form the answer had.
# Behaviour: of an answer in JSON it does. If the answer is an event stream (without ids) that ends too early, the call
# waits for its timeout (60 seconds, unless set; 3 here) and reports that, not the cut. A server that does not need to
# send progress does better with JSON.
#
# Output seen:
#   cut JSON: fails before the timeout
#   cut event stream: -32001 after the timeout
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh"

npm_install @modelcontextprotocol/sdk@1.32.2

cat >"$work/client.mjs" <<'END'
import http from "node:http";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const types = { json: "application/json", events: "text/event-stream" };
const starts = { json: '{"jsonrpc": "2.0", ', events: ": working\n" };
const form = process.argv[2];
const TIMEOUT = 3000;

const server = http.createServer(async (request, response) => {
  if (request.method !== "POST") return response.writeHead(405).end();
  let body = "";
  for await (const chunk of request) body += chunk;
  const { id, method, params } = JSON.parse(body);
  if (id === undefined) return response.writeHead(202).end();
  if (method === "initialize") {
    const result = {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "cut", version: "1" },
    };
    response.writeHead(200, { "content-type": types.json });
    return response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  }
  response.writeHead(200, { "content-type": types[form] });
  response.write(starts[form], () => setTimeout(() => response.destroy(), 200));
});
server.listen(0, "127.0.0.1", async () => {
  const client = new Client({ name: "finding", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${server.address().port}/mcp`)));
  const start = Date.now();
  try {
    await client.callTool({ name: "any", arguments: {} }, undefined, { timeout: TIMEOUT });
    console.log("succeeds");
  } catch (error) {
    const late = Date.now() - start >= TIMEOUT;
    console.log(late ? `${error.code} after the timeout` : "fails before the timeout");
  }
  process.exit();
});
END

expect "cut JSON" "fails before the timeout" "$(timeout 30 node "$work/client.mjs" json)"
expect "cut event stream" "-32001 after the timeout" "$(timeout 30 node "$work/client.mjs" events)"
finish
