// Logs in as a service, does what it may, and tries what it may not.
// Usage: node login.js nats://127.0.0.1:4222 CA password USER PASSWORD | nkey SEEDFILE | certificate CERT KEY
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";

const [servers, caFile, way, first, second] = process.argv.slice(2);
const options = { servers, reconnect: false, tls: { caFile } };
if (way === "password") Object.assign(options, { user: first, pass: second });
if (way === "nkey") options.authenticator = nkeyAuthenticator(new TextEncoder().encode(readFileSync(first, "utf8").trim()));
if (way === "certificate") Object.assign(options.tls, { certFile: first, keyFile: second });

try {
  const nc = await connect(options);
  const refused = [];
  (async () => {
    for await (const s of nc.status()) if (s.type === "error") refused.push(String(s.error));
  })();
  const js = jetstream(nc);
  const ack = await js.publish("events.notifications.sent", "{}");
  assert.equal(ack.stream, "NOTIFICATIONS");
  const consumer = await js.consumers.get("NOTIFICATIONS", "notification-engine-consumer");
  const messages = [];
  for await (const m of await consumer.fetch({ max_messages: 1, expires: 5000 })) messages.push(m);
  assert.equal(messages.length, 1);
  assert.equal(await messages[0].ackAck(), true);
  await assert.rejects(js.publish("events.settlement.completed", "{}", { timeout: 300, retries: 0 }));
  assert.match(refused.join(), /permissions violation/i);
  await nc.close();
  console.log(`ok by ${way}`);
} catch (err) {
  console.log(`FAIL by ${way}: ${String(err.message ?? err).replaceAll("\n", " ")}`);
  process.exitCode = 1;
}
