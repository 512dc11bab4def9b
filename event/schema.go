package event

import _ "embed"

//go:embed schema.json
var schema string

// Schema is the envelope as a JSON Schema of draft 2020-12, for programs in other languages. It accepts what Decode
// accepts, and refuses what Decode refuses, but for what no schema can see: an object that has a member twice.
// Validators have to assert formats to refuse a 30th of February.
func Schema() string { return schema }
