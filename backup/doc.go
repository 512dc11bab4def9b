// Package backup takes streams out of a NATS into one archive, proves archives, and brings streams back.
//
// An archive is a gzipped tar: for each stream a folder as natscli writes and reads it, and a manifest at the end with a
// checksum of every part and a digest over every message; behind it stands a seal over the whole file. docs/backup.md
// describes it byte by byte. It is not encrypted, whatever the store that it was taken from.
//
//	Create, CreateFile   from a running NATS, publishers going on
//	Verify, VerifyDeep   everything against its checksums; and rebuilt in a throwaway bus, message by message
//	Restore              all or nothing: rebuilt and compared here first, handed over whole
//	List, Schedule       a folder of archives, written at intervals
//
// It talks to nats-server 2.15 or later by JetStream's own API, as natscli does, and imports nothing of ours.
package backup
