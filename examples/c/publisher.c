// Publishes one event. Build: cc -o publisher publisher.c -lnats; usage: publisher [nats://127.0.0.1:4222]
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// uuid writes a random UUID, version 4.
static int uuid(char text[37])
{
    unsigned char b[16];
    FILE *random = fopen("/dev/urandom", "rb");
    if (random == NULL)
        return 0;
    size_t n = fread(b, 1, sizeof b, random);
    fclose(random);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
             b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return n == sizeof b;
}

static natsStatus publish(jsCtx *js)
{
    char id[37], transaction[37], correlation[37], at[32], event[1024];
    time_t now = time(NULL);
    struct tm utc;
    if (!uuid(id) || !uuid(transaction) || !uuid(correlation) || gmtime_r(&now, &utc) == NULL)
        return NATS_ERR;
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc);
    // An amount is text: as a number it would pass through a float in one of the consumers.
    int size = snprintf(event, sizeof event,
                        "{\"event_id\":\"%s\",\"event_type\":\"transaction.created\",\"timestamp\":\"%s\","
                        "\"source\":\"token-engine-c\",\"version\":\"1.0\","
                        "\"data\":{\"transaction_id\":\"%s\",\"amount\":\"1000.00\",\"currency\":\"USD\"},"
                        "\"metadata\":{\"correlation_id\":\"%s\"}}",
                        id, at, transaction, correlation);

    // With its id a stream stores an event once within its duplicate window, however often it is sent.
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MsgId = id;
    jsPubAck *ack = NULL;
    natsStatus s = js_Publish(&ack, js, "events.transactions.created", event, size, &options, NULL);
    if (s == NATS_OK) { // it is on the disk
        printf("%s #%" PRIu64 "  %s\n", ack->Stream, ack->Sequence, id);
        jsPubAck_Destroy(ack);
    }
    return s;
}

int main(int argc, char **argv)
{
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    natsStatus s = natsConnection_ConnectTo(&nc, argc > 1 ? argv[1] : "nats://127.0.0.1:4222");
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, nc, NULL);
    if (s == NATS_OK)
        s = publish(js);
    if (s != NATS_OK)
        fprintf(stderr, "publisher: %s\n", natsStatus_GetText(s));
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    nats_Close();
    return s == NATS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
