package monitor

import (
	"runtime"
	"time"

	"github.com/deltran/deltran-bus/audit"
	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// The deltran_bus_* series: what the exporter cannot know or does not say. Base units: seconds, bytes, Unix time.

var (
	buildInfo = gauge("deltran_bus_build_info", "Always 1; what the bus is made of.")
	ready     = gauge("deltran_bus_ready", "1 when /readyz answers 200: the declared layout stands and clients can connect.")
	phase     = gauge("deltran_bus_phase", "1 for the phase that the bus is in, 0 for the others.")
	phaseFrom = gauge("deltran_bus_phase_start_timestamp_seconds", "When the phase began.")

	layoutHeld       = gauge("deltran_bus_layout_held_changes", "Streams and consumers of which the boot held a change back: they run on the old setting.")
	layoutUndeclared = gauge("deltran_bus_layout_undeclared", "Streams and consumers that are there and not declared.")
	layoutMissing    = gauge("deltran_bus_layout_missing", "Streams and consumers that are declared and not there.")

	findings = gauge("deltran_bus_findings", "What is wrong with the store, by kind: something lost, damaged, or less durable than promised.")

	backupEvery    = gauge("deltran_bus_backup_interval_seconds", "How often a backup is due; the backup series are there only with a schedule.")
	backupLast     = gauge("deltran_bus_backup_last_success_timestamp_seconds", "The moment that the last good backup stands for; 0 before the first one.")
	backupDuration = gauge("deltran_bus_backup_last_duration_seconds", "How long the last good backup took.")
	backupSize     = gauge("deltran_bus_backup_last_size_bytes", "How large the last good backup is.")
	backupFailures = gauge("deltran_bus_backup_failures", "Backups that have failed in a row since the last good one.")
	letters        = gauge("deltran_bus_dead_letters", "Messages in DEADLETTERS, by the consumer that gave up on them. The dead letter series are there only while the bus makes dead letters.")
	auditRecords   = counter("deltran_bus_audit_records_total", "Records of the audit trail that the bus has stored since it started.")
	auditWaiting   = gauge("deltran_bus_audit_waiting", "What happened and is not stored in AUDIT yet.")
	auditMissed    = counter("deltran_bus_audit_missed_total", "What happened since the bus started and has no record: there was no room for it to wait.")
	auditFailing   = gauge("deltran_bus_audit_failing", "1 while records of the audit trail cannot be stored.")

	lettersWaiting = gauge("deltran_bus_dead_letter_advisories_waiting", "Messages that a consumer gave up on and that are not in DEADLETTERS yet.")
	lettersFailing = gauge("deltran_bus_dead_letter_failing", "1 while dead letters cannot be stored; the log says why.")

	scrubRead = counter("deltran_bus_scrub_read_bytes_total", "Bytes of the store that were read again since the start, to find damage.")
	scrubFrom = gauge("deltran_bus_scrub_oldest_timestamp_seconds", "Every message of the store was read again since then; absent before the first time.")

	storeUsed     = gauge("deltran_bus_store_used_bytes", "Bytes of file storage in use.")
	storeLimit    = gauge("deltran_bus_store_limit_bytes", "Bytes of file storage that all streams together may use (max_file_store).")
	storeReserved = gauge("deltran_bus_store_reserved_bytes", "Bytes of file storage that the streams' quotas (max_bytes) add up to.")
	storeFree     = gauge("deltran_bus_store_disk_free_bytes", "Bytes that are free on the disk of the store; below limit minus used, publishes are refused before the limit is reached.")
	storeKeep     = gauge("deltran_bus_store_min_free_bytes", "Bytes that have to be free on the disk of the store for publishing to go on (min_free).")
	storeRefusing = gauge("deltran_bus_store_refusing", "1 while publishes to file streams are refused, because the disk has too little room or could not be written.")
	writeErrors   = counter("deltran_bus_store_write_errors_total", "What nats-server could not write to the disk.")
	restarts      = counter("deltran_bus_nats_restarts_total", "How often nats-server was started anew within the process.")
)

var certExpiry = gauge("deltran_bus_certificate_expiry_timestamp_seconds", "When the certificate of a listener expires; no series without TLS.")

// certificates are the series of the certificates in use.
func (c *collector) certificates(out sink, v *natsserver.Varz) {
	for listener, expires := range map[string]time.Time{
		"client": v.TLSCertNotAfter, "cluster": v.Cluster.TLSCertNotAfter, "gateway": v.Gateway.TLSCertNotAfter, "leafnodes": v.LeafNode.TLSCertNotAfter,
		"mqtt": v.MQTT.TLSCertNotAfter, "websocket": v.Websocket.TLSCertNotAfter, "monitor": c.m.guard.expires(),
	} {
		if !expires.IsZero() {
			out(sample{certExpiry, labels([]string{"listener"}, listener), seconds(expires)})
		}
	}
}

var phases = []server.Phase{server.Opening, server.Recovering, server.Holding, server.Applying, server.Standing, server.Serving, server.Restarting, server.Closing, server.Closed}

// bus are the series that are there in every phase, NATS or not.
func (c *collector) bus(out sink, now Readiness) {
	out(sample{buildInfo, labels([]string{"version", "nats_version", "go_version"}, c.m.opts.Version, natsserver.VERSION, runtime.Version()), 1})

	out(sample{ready, nil, oneIf(now.Ready)})
	for _, p := range phases {
		out(sample{phase, labels([]string{"phase"}, string(p)), oneIf(p == now.Phase)})
	}
	if !now.Since.IsZero() {
		out(sample{phaseFrom, nil, seconds(now.Since)})
	}
	out(sample{layoutHeld, nil, float64(len(now.Held))})
	out(sample{layoutUndeclared, nil, float64(len(now.Undeclared))})
	space := c.m.bus.State().Space
	out(sample{storeKeep, nil, float64(space.Keep)})
	out(sample{storeRefusing, nil, oneIf(space.Refusing != "")})
	out(sample{writeErrors, nil, float64(space.WriteErrors)})
	out(sample{restarts, nil, float64(space.Restarts)})
	found := map[ledger.Kind]int{}
	for _, f := range now.Findings {
		found[f.Kind]++
	}
	for _, k := range ledger.Kinds {
		out(sample{findings, labels([]string{"kind"}, string(k)), float64(found[k])})
	}
	backups(out, now.Backup)
	if c.m.opts.Audit != nil {
		audited(out, c.m.opts.Audit())
	}
	if c.m.opts.DeadLetters != nil {
		deadLetters(out, c.m.opts.DeadLetters())
	}
	if scrub := c.m.bus.Scrub(); scrub.Bytes > 0 || scrub.Streams > 0 {
		out(sample{scrubRead, nil, float64(scrub.Bytes)})
		if !scrub.Oldest.IsZero() {
			out(sample{scrubFrom, nil, seconds(scrub.Oldest)})
		}
	}
	if now.Phase == server.Serving { // before, what is missing is still being made
		out(sample{layoutMissing, nil, float64(len(now.Missing))})
	}
}

// backups are the series of the schedule.
func backups(out sink, b *backup.Status) {
	if b == nil {
		return
	}
	out(sample{backupEvery, nil, b.Every})
	failures := 0
	if b.Failed != nil {
		failures = b.Failed.Times
	}
	out(sample{backupFailures, nil, float64(failures)})
	if b.Last == nil {
		out(sample{backupLast, nil, 0}) // so that an alert on its age knows of it
	} else {
		out(sample{backupLast, nil, seconds(b.Last.Moment)})
		out(sample{backupDuration, nil, b.Last.Seconds})
		out(sample{backupSize, nil, float64(b.Last.Size)})
	}
}

// audited is how the bus's own records stand.
func audited(out sink, s *audit.Status) {
	if s == nil {
		return
	}
	out(sample{auditRecords, nil, float64(s.Stored)})
	out(sample{auditWaiting, nil, float64(s.Waiting)})
	out(sample{auditMissed, nil, float64(s.Missed)})
	out(sample{auditFailing, nil, oneIf(s.Failing != "")})
}

// deadLetters are as of some seconds ago.
func deadLetters(out sink, s *deadletter.Status) {
	if s == nil {
		return
	}
	for _, c := range s.Letters {
		out(sample{letters, labels([]string{"stream", "consumer"}, c.Stream, c.Consumer), float64(c.Letters)})
	}
	out(sample{lettersWaiting, nil, float64(s.Waiting)})
	out(sample{lettersFailing, nil, oneIf(s.Failing != "")})
}

// store are the series of the file store. What a stream reserves without a quota is nothing.
func (c *collector) store(out sink, js *natsserver.JetStreamVarz) {
	if js.Config == nil || js.Stats == nil {
		return
	}
	out(sample{storeUsed, nil, float64(js.Stats.Store)})
	out(sample{storeLimit, nil, float64(js.Config.MaxStore)})
	out(sample{storeReserved, nil, float64(js.Stats.ReservedStore)})
	if free, err := server.FreeSpace(js.Config.StoreDir); err == nil { // not known everywhere: then there is no series
		out(sample{storeFree, nil, float64(free)})
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
