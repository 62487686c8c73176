// An EventSource of npm's package, any version from 2 on, that prints a line of JSON for each thing that happens to it:
//     node event_source.js URL HEADERS EVENT...
// {"open": true}, {"error": the status of an answer or null, "closed": whether it has given up}, {"event", "data", "id"}.
'use strict';
const { EventSource = require('eventsource') } = require('eventsource');

const [url, headers, ...names] = process.argv.slice(2);
const ours = JSON.parse(headers);
const say = what => console.log(JSON.stringify(what));
const source = new EventSource(url, { headers: ours, fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...ours } }) });

source.onopen = () => say({ open: true });
// Some versions give up only after they have said it.
source.onerror = error => setImmediate(() => say({ error: error.code || error.status || null, closed: source.readyState === 2 }));
for (const name of names) {
    source.addEventListener(name, event => say({ event: name, data: JSON.parse(event.data), id: event.lastEventId }));
}
process.stdin.on('end', () => process.exit()).resume(); // which keeps node alive while the client waits to connect again
