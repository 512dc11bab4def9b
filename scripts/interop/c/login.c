// Logs in as a service, does what it may, and tries what it may not.
// Usage: login nats://127.0.0.1:4222 CA password USER PASSWORD | nkey PUBLIC SEEDFILE | certificate CERT KEY
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static char            why[256];
static atomic_int      refusals;

static bool good(natsStatus s, const char *what) {
    if (s == NATS_OK)
        return true;
    snprintf(why, sizeof why, "%s: %s (%s)", what, natsStatus_GetText(s), nats_GetLastError(NULL));
    return false;
}

static void onError(natsConnection *nc, natsSubscription *sub, natsStatus err, void *closure) {
    (void)nc, (void)sub, (void)closure;
    if (err == NATS_NOT_PERMITTED)
        atomic_fetch_add(&refusals, 1);
}

static bool options(natsOptions *o, char **argv) {
    if (!good(natsOptions_SetURL(o, argv[1]), "URL") || !good(natsOptions_SetSecure(o, true), "TLS") ||
        !good(natsOptions_LoadCATrustedCertificates(o, argv[2]), "authority") ||
        !good(natsOptions_SetErrorHandler(o, onError, NULL), "error handler") || !good(natsOptions_SetAllowReconnect(o, false), "reconnect"))
        return false;
    if (strcmp(argv[3], "password") == 0)
        return good(natsOptions_SetUserInfo(o, argv[4], argv[5]), "password");
    if (strcmp(argv[3], "nkey") == 0)
        return good(natsOptions_SetNKeyFromSeed(o, argv[4], argv[5]), "nkey");
    return good(natsOptions_LoadCertificatesChain(o, argv[4], argv[5]), "certificate");
}

static bool work(natsConnection *nc, jsCtx *js) {
    jsPubAck *ack = NULL;
    if (!good(js_Publish(&ack, js, "events.notifications.sent", "{}", 2, NULL, NULL), "publish"))
        return false;
    jsPubAck_Destroy(ack);

    natsSubscription *sub = NULL;
    natsMsgList       list = {0};
    bool              done = good(js_PullSubscribe(&sub, js, "events.notifications.*", "notification-engine-consumer", NULL, NULL, NULL), "pull subscribe") &&
                good(natsSubscription_Fetch(&list, sub, 1, 5000, NULL), "fetch") && good(natsMsg_AckSync(list.Msgs[0], NULL, NULL), "ack");
    natsMsgList_Destroy(&list);
    natsSubscription_Destroy(sub);
    if (!done)
        return false;

    jsPubOptions brief;
    jsPubOptions_Init(&brief);
    brief.MaxWait = 300;
    ack = NULL;
    if (js_Publish(&ack, js, "events.settlement.completed", "{}", 2, &brief, NULL) == NATS_OK || natsConnection_Flush(nc) != NATS_OK) {
        jsPubAck_Destroy(ack);
        snprintf(why, sizeof why, "what it may not publish was acknowledged");
        return false;
    }
    for (int i = 0; i < 500 && atomic_load(&refusals) == 0; i++)
        nats_Sleep(10);
    if (atomic_load(&refusals) == 0)
        snprintf(why, sizeof why, "nobody said that it is not permitted");
    return atomic_load(&refusals) > 0;
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 64;
    natsOptions    *o = NULL;
    natsConnection *nc = NULL;
    jsCtx          *js = NULL;
    bool            ok = good(natsOptions_Create(&o), "options") && options(o, argv) && good(natsConnection_Connect(&nc, o), "connect") &&
              good(natsConnection_JetStream(&js, nc, NULL), "JetStream") && work(nc, js);
    if (ok)
        printf("ok by %s\n", argv[3]);
    else
        printf("FAIL by %s: %s\n", argv[3], why);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(o);
    nats_Close();
    return ok ? 0 : 1;
}
