// The specification's examples with the C client. Usage: client nats://127.0.0.1:4222
// One line per check, "ok what" or "FAIL what: why"; exit 1 when one failed.
#include <nats/nats.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *streams[][2] = {
    {"TRANSACTIONS", "transactions"}, {"COMPLIANCE", "compliance"},       {"SETTLEMENT", "settlement"},
    {"CLEARING", "clearing"},         {"NOTIFICATIONS", "notifications"}, {"REPORTING", "reporting"},
    {"RISK", "risk"},                 {"AUDIT", "audit"},
};
#define STREAMS (sizeof streams / sizeof *streams)

static const struct consumer {
    const char *stream, *name, *domain;
    int64_t     ackWait;
} consumers[] = {
    {"NOTIFICATIONS", "notification-engine-consumer", "notifications", 30000000000},
    {"REPORTING", "reporting-engine-consumer", "reporting", 300000000000},
};
#define CONSUMERS (sizeof consumers / sizeof *consumers)
#define MAX_DELIVER 3

// An envelope as the specification's Rust publisher makes it.
static const char event[] =
    "{\"event_id\":\"7f0c8e0e-6f0c-4a31-9a55-3f6f2e6b1c11\",\"event_type\":\"transaction.created\","
    "\"timestamp\":\"2025-11-06T12:00:00Z\",\"source\":\"token-engine\",\"version\":\"1.0\","
    "\"data\":{\"transaction_id\":\"0c1df7b2-52a8-4a0b-9c3b-0c6c6e1f2a77\",\"amount\":1000.00,\"currency\":\"USD\"}}";

static natsConnection *nc;
static jsCtx          *js;
static char            why[512]; // of the check that is under way; empty while nothing is wrong
static int             failed;

static bool wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return false;
}

static bool good(natsStatus s, const char *what) {
    return s == NATS_OK || wrong("%s: %s", what, natsStatus_GetText(s));
}

static void check(bool passed, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf(passed ? "ok " : "FAIL ");
    vprintf(format, args);
    va_end(args);
    if (!passed) {
        printf(": %s", why);
        failed++;
    }
    printf("\n");
    fflush(stdout);
}

static bool publish(const char *subject, const char *stream, uint64_t *seq) {
    jsPubAck *ack = NULL;
    if (!good(js_Publish(&ack, js, subject, event, sizeof event - 1, NULL, NULL), subject))
        return false;
    bool stored = strcmp(ack->Stream, stream) == 0 || wrong("%s went to %s, not %s", subject, ack->Stream, stream);
    if (seq != NULL)
        *seq = ack->Sequence;
    jsPubAck_Destroy(ack);
    return stored;
}

static bool publishAll(void) {
    char subject[64];
    for (size_t i = 0; i < STREAMS; i++) {
        snprintf(subject, sizeof subject, "events.%s.created", streams[i][1]);
        if (!publish(subject, streams[i][0], NULL))
            return false;
        snprintf(subject, sizeof subject, "events.%s.window.opened", streams[i][1]);
        if (!publish(subject, streams[i][0], NULL))
            return false;
    }
    return true;
}

static bool readBack(void) {
    natsMsg *m = NULL;
    if (!good(js_GetLastMsg(&m, js, "CLEARING", "events.clearing.window.opened", NULL, NULL), "last message"))
        return false;
    bool same = (natsMsg_GetDataLength(m) == sizeof event - 1 && memcmp(natsMsg_GetData(m), event, sizeof event - 1) == 0) ||
                wrong("stored as %.*s", natsMsg_GetDataLength(m), natsMsg_GetData(m));
    natsMsg_Destroy(m);
    return same;
}

static bool refused(void) {
    jsPubAck  *ack = NULL;
    natsStatus s = js_Publish(&ack, js, "events.unknown.created", event, sizeof event - 1, NULL, NULL);
    jsPubAck_Destroy(ack);
    return s == NATS_NO_RESPONDERS || wrong("got %s", natsStatus_GetText(s));
}

static bool declared(const struct consumer *c) {
    jsConsumerInfo *ci = NULL;
    if (!good(js_GetConsumerInfo(&ci, js, c->stream, c->name, NULL, NULL), "consumer info"))
        return false;
    bool as = (ci->Config->AckPolicy == js_AckExplicit && ci->Config->MaxDeliver == MAX_DELIVER && ci->Config->AckWait == c->ackWait) ||
              wrong("ack policy %d, max deliver %lld, ack wait %lld", ci->Config->AckPolicy, (long long)ci->Config->MaxDeliver,
                    (long long)ci->Config->AckWait);
    jsConsumerInfo_Destroy(ci);
    return as;
}

// The specification's PullSubscribe: by subject, bound to the durable that stands.
static natsSubscription *pull(const struct consumer *c) {
    char              subject[64];
    natsSubscription *sub = NULL;
    snprintf(subject, sizeof subject, "events.%s.*", c->domain);
    good(js_PullSubscribe(&sub, js, subject, c->name, NULL, NULL, NULL), "pull subscribe");
    return sub;
}

static bool expect(natsMsg *m, const char *domain, const char *name) {
    char subject[64];
    snprintf(subject, sizeof subject, "events.%s.%s", domain, name);
    return (strcmp(natsMsg_GetSubject(m), subject) == 0 || wrong("got %s, want %s", natsMsg_GetSubject(m), subject)) &&
           good(natsMsg_AckSync(m, NULL, NULL), "ack");
}

static bool settled(const struct consumer *c) {
    jsConsumerInfo *ci = NULL;
    if (!good(js_GetConsumerInfo(&ci, js, c->stream, c->name, NULL, NULL), "consumer info"))
        return false;
    bool none = (ci->NumAckPending == 0 && ci->NumPending == 0) ||
                wrong("%lld unacknowledged, %llu pending", (long long)ci->NumAckPending, (unsigned long long)ci->NumPending);
    jsConsumerInfo_Destroy(ci);
    return none;
}

static bool pullBoth(const struct consumer *c, natsSubscription *sub) {
    natsMsgList list = {0};
    for (int got = 0; got < 2; got += list.Count, natsMsgList_Destroy(&list)) {
        if (!good(natsSubscription_Fetch(&list, sub, 2 - got, 5000, NULL), "fetch"))
            return false;
        for (int i = 0; i < list.Count; i++)
            if (!expect(list.Msgs[i], c->domain, got + i == 0 ? "created" : "window.opened")) {
                natsMsgList_Destroy(&list);
                return false;
            }
    }
    return settled(c);
}

static bool deliverAndRefuse(natsSubscription *sub, uint64_t seq, uint64_t delivery) {
    natsMsgList    list = {0};
    jsMsgMetaData *meta = NULL;
    bool           passed = good(natsSubscription_Fetch(&list, sub, 1, 5000, NULL), "fetch") &&
                  good(natsMsg_GetMetaData(&meta, list.Msgs[0]), "metadata") &&
                  ((meta->Sequence.Stream == seq && meta->NumDelivered == delivery) ||
                   wrong("sequence %llu, delivery %llu; want %llu, %llu", (unsigned long long)meta->Sequence.Stream,
                         (unsigned long long)meta->NumDelivered, (unsigned long long)seq, (unsigned long long)delivery)) &&
                  good(natsMsg_Nak(list.Msgs[0], NULL), "nak");
    jsMsgMetaData_Destroy(meta);
    natsMsgList_Destroy(&list);
    return passed;
}

static bool threeDeliveries(const struct consumer *c, natsSubscription *sub) {
    char              subject[128];
    uint64_t          seq = 0;
    natsSubscription *advisories = NULL;
    natsMsg          *advisory = NULL;
    natsMsgList       list = {0};

    snprintf(subject, sizeof subject, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.%s.%s", c->stream, c->name);
    if (!good(natsConnection_SubscribeSync(&advisories, nc, subject), "advisories"))
        return false;
    snprintf(subject, sizeof subject, "events.%s.failed", c->domain);
    bool passed = publish(subject, c->stream, &seq);
    for (uint64_t delivery = 1; passed && delivery <= MAX_DELIVER; delivery++)
        passed = deliverAndRefuse(sub, seq, delivery);
    passed = passed && (natsSubscription_Fetch(&list, sub, 1, 1000, NULL) == NATS_TIMEOUT || wrong("delivered a fourth time")) &&
             good(natsSubscription_NextMsg(&advisory, advisories, 5000), "advisory");
    natsMsg_Destroy(advisory);
    natsMsgList_Destroy(&list);
    natsSubscription_Destroy(advisories);
    return passed;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: client URL\n");
        return 64;
    }
    natsStatus s = natsConnection_ConnectTo(&nc, argv[1]);
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, nc, NULL);
    if (s != NATS_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], natsStatus_GetText(s));
        return 1;
    }

    check(publishAll(), "names of three and four parts are stored, each in its stream");
    check(readBack(), "events.clearing.window.opened reads back as it was published");
    check(refused(), "a name that no stream holds is refused");
    for (const struct consumer *c = consumers; c < consumers + CONSUMERS; c++) {
        check(declared(c), "%s is declared as specified", c->name);
        natsSubscription *sub = pull(c);
        check(sub != NULL, "PullSubscribe events.%s.* binds to %s", c->domain, c->name);
        if (sub == NULL)
            continue;
        check(pullBoth(c, sub), "pull %s, both forms, and ack", c->name);
        check(threeDeliveries(c, sub), "%s delivers three times and no more", c->name);
        natsSubscription_Destroy(sub);
    }

    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    nats_Close();
    return failed > 0;
}
