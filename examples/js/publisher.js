// Publishes one event. Usage: npm ci && node publisher.js [nats://127.0.0.1:4222]
import { randomUUID } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";

const nc = await connect({ servers: process.argv[2] ?? "nats://127.0.0.1:4222", name: "token-engine" });
try {
  const js = jetstream(nc);
  const event = {
    event_id: randomUUID(),
    event_type: "transaction.created",
    timestamp: new Date().toISOString(),
    source: "token-engine-js",
    version: "1.0",
    // An amount is text: as a number it would be a float here already.
    data: { transaction_id: randomUUID(), amount: "1000.00", currency: "USD" },
    metadata: { correlation_id: randomUUID() },
  };
  // With its id a stream stores an event once within its duplicate window, however often it is sent. When this returns,
  // the event is on the disk.
  const ack = await js.publish("events.transactions.created", JSON.stringify(event), { msgID: event.event_id });
  console.log(`${ack.stream} #${ack.seq}  ${event.event_id}`);
} finally {
  await nc.drain();
}
