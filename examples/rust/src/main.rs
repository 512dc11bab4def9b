//! Publishes one event. Usage: cargo run -- [nats://127.0.0.1:4222]
use async_nats::jetstream;
use chrono::{SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

#[tokio::main]
async fn main() -> Result<(), async_nats::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    let client = async_nats::connect(url).await?;
    let jetstream = jetstream::new(client.clone());

    let event_id = Uuid::now_v7().to_string();
    let event = json!({
        "event_id": event_id,
        "event_type": "transaction.created",
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "source": "token-engine-rust",
        "version": "1.0",
        // An amount is text: as a number it would pass through a float in one of the consumers.
        "data": { "transaction_id": Uuid::now_v7().to_string(), "amount": "1000.00", "currency": "USD" },
        "metadata": { "correlation_id": Uuid::now_v7().to_string() },
    });

    // By the header a stream stores an event once within its duplicate window, however often it is sent.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", event_id.as_str());

    // The first await sends, the second waits until the event is on the disk.
    let ack = jetstream
        .publish_with_headers("events.transactions.created", headers, event.to_string().into())
        .await?
        .await?;
    println!("{} #{}  {}", ack.stream, ack.sequence, event_id);
    client.drain().await?;
    Ok(())
}
