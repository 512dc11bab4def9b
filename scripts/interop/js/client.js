// The specification's examples with nats.js. Usage: node client.js nats://127.0.0.1:4222
// One line per check, "ok what" or "FAIL what: why"; exit 1 when one failed.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const STREAMS = ["TRANSACTIONS", "COMPLIANCE", "SETTLEMENT", "CLEARING", "NOTIFICATIONS", "REPORTING", "RISK", "AUDIT"];
const CONSUMERS = [
  { stream: "NOTIFICATIONS", name: "notification-engine-consumer", domain: "notifications", ackWaitSeconds: 30 },
  { stream: "REPORTING", name: "reporting-engine-consumer", domain: "reporting", ackWaitSeconds: 300 },
];
const MAX_DELIVER = 3;

// An envelope as the specification's Rust publisher makes it.
const newEvent = () =>
  JSON.stringify({
    event_id: randomUUID(),
    event_type: "transaction.created",
    timestamp: new Date().toISOString(),
    source: "token-engine",
    version: "1.0",
    data: { transaction_id: randomUUID(), amount: 1000.0, currency: "USD" },
  });

const nc = await connect({ servers: process.argv[2] });
const js = jetstream(nc);
const jsm = await jetstreamManager(nc);

async function check(what, body) {
  try {
    await body();
    console.log(`ok ${what}`);
  } catch (err) {
    console.log(`FAIL ${what}: ${String(err.message ?? err).replaceAll("\n", " ")}`);
    process.exitCode = 1;
  }
}

async function fetch(consumer, max_messages, expires) {
  const messages = [];
  for await (const m of await consumer.fetch({ max_messages, expires })) messages.push(m);
  return messages;
}

await check("eight streams stand", async () => {
  const found = [];
  for await (const s of jsm.streams.list()) found.push(s.config.name);
  assert.deepEqual(found.sort(), STREAMS.toSorted());
});

await check("names of three and four parts are stored, each in its stream", async () => {
  for (const stream of STREAMS) {
    for (const name of ["created", "window.opened"]) {
      const subject = `events.${stream.toLowerCase()}.${name}`;
      const ack = await js.publish(subject, newEvent());
      assert.equal(ack.stream, stream, subject);
    }
  }
});

await check("events.clearing.window.opened reads back as it was published", async () => {
  const event = newEvent();
  const ack = await js.publish("events.clearing.window.opened", event);
  const stored = await jsm.streams.getMessage("CLEARING", { seq: ack.seq });
  assert.equal(stored.subject, "events.clearing.window.opened");
  assert.equal(stored.string(), event);
});

await check("a name that no stream holds is refused", async () => {
  await assert.rejects(js.publish("events.unknown.created", newEvent()));
});

for (const { stream, name, domain, ackWaitSeconds } of CONSUMERS) {
  const consumer = await js.consumers.get(stream, name);

  await check(`${name} is declared as specified`, async () => {
    const { config } = await consumer.info();
    assert.equal(config.ack_policy, AckPolicy.Explicit);
    assert.equal(config.max_deliver, MAX_DELIVER);
    assert.equal(config.ack_wait, ackWaitSeconds * 1e9);
  });

  await check(`pull ${name}, both forms, and ack`, async () => {
    const messages = await fetch(consumer, 2, 5000);
    assert.deepEqual(messages.map((m) => m.subject), [`events.${domain}.created`, `events.${domain}.window.opened`]);
    for (const m of messages) assert.ok(await m.ackAck(), "no answer to the ack");
    const info = await consumer.info();
    assert.equal(info.num_ack_pending, 0);
    assert.equal(info.num_pending, 0);
  });

  await check(`${name} delivers three times and no more`, async () => {
    const given = nc.subscribe(`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${stream}.${name}`, { max: 1, timeout: 5000 });
    const { seq } = await js.publish(`events.${domain}.failed`, newEvent());
    for (let delivery = 1; delivery <= MAX_DELIVER; delivery++) {
      const [m] = await fetch(consumer, 1, 5000);
      assert.ok(m, `delivery ${delivery} did not come`);
      assert.deepEqual([m.seq, m.info.deliveryCount], [seq, delivery]);
      m.nak();
    }
    assert.equal((await fetch(consumer, 1, 1000)).length, 0, "delivered a fourth time");
    for await (const m of given) assert.deepEqual([m.json().stream_seq, m.json().deliveries], [seq, MAX_DELIVER]);
  });
}

await nc.close();
