package scripts

import (
	"errors"
	"unicode/utf8"
)

var errBroken = errors.New("no record of this format")

// Longest texts that a record may hold, in bytes.
const (
	mostID   = 128
	mostName = 256
)

// Entry is an attribute or extension; empty JSON removes it, in a list of changes.
type Entry struct {
	Kind string `json:"kind"`
	Key  string `json:"key"`
	JSON string `json:"json"`
}

// Freezing is how a session is frozen by a migration.
type Freezing struct {
	Header    FreezeHeader
	Status    string
	Direction string
	Place     string
	Node      string
}

// hasEnded tells whether the session has the status but for this. That of an incoming copy does not end by itself; one
// that would last longer than it is long began by a clock that was set back since.
func (freeze *Freezing) hasEnded(now int64) bool {
	until := freeze.Header.FrozenUntil
	switch freeze.Direction {
	case "outgoing":
		return until <= now || until-now > freeze.Header.Span
	default:
		return freeze.Direction == "over"
	}
}

// Record is a record, field by field.
type Record struct {
	Header                 RecordHeader
	Kind, Status           string
	User, Connection, Node string
	// Entries are those of a live session: what the changes in its body come to, in order.
	Entries []Entry
	// NewID is where a session went, and from which login it was left.
	NewID string
	// Freeze is that of a migrating one.
	Freeze *Freezing
	// Task and Place are of a departed one.
	Task, Place string
}

// DecodeRecord reads a record; it is an error if what is there is none of this format.
func DecodeRecord(raw string) (*Record, error) {
	if len(raw) < RecordHeaderBytes {
		return nil, errBroken
	}
	header := readRecordHeader(raw)
	texts, left, whole := readRecordTexts(header, raw[RecordHeaderBytes:])
	record := &Record{
		Header: header, Kind: kinds[header.Kind], Status: statuses[header.Status],
		User: texts.User, Connection: texts.Connection, Node: texts.Node,
	}
	if !whole || left != "" || header.Format != recordFormat || record.Kind == "" || record.Status == "" {
		return nil, errBroken
	}
	if !isName(texts.User) || !isName(texts.Connection) || !isName(texts.Node) {
		return nil, errBroken
	}
	body := texts.Body
	if record.Status == "migrating" {
		if record.Freeze, body = readFreeze(body); record.Freeze == nil {
			return nil, errBroken
		}
	}
	if !record.readBody(body) {
		return nil, errBroken
	}
	return record, nil
}

func (record *Record) readBody(body string) bool {
	switch record.Kind {
	case "live":
		entries, err := DecodeEntries(body)
		record.Entries = entries
		return err == nil && record.Header.StoredUntil >= record.Header.ExpiresAt
	case "moved":
		record.NewID = body
		return isID(body)
	case "departed":
		task, place, whole := cut(body, taskBytes)
		record.Task, record.Place = task, place
		return whole && utf8.ValidString(place)
	default:
		record.NewID = body
		return true
	}
}

func readFreeze(body string) (*Freezing, string) {
	if len(body) < FreezeHeaderBytes {
		return nil, ""
	}
	header := readFreezeHeader(body)
	texts, left, whole := readFreezeTexts(header, body[FreezeHeaderBytes:])
	freeze := &Freezing{
		Header: header, Status: statuses[header.Status], Direction: directions[header.Direction],
		Place: texts.Place, Node: texts.Node,
	}
	isKnown := freeze.Status != "" && freeze.Status != "migrating" && freeze.Direction != ""
	if !whole || !isKnown || !utf8.ValidString(texts.Place) || !utf8.ValidString(texts.Node) {
		return nil, ""
	}
	return freeze, left
}

// UnlessOver is the record at a time: nil if its session has expired or it no longer counts; without its freeze if that
// has ended.
func (record *Record) UnlessOver(now int64) *Record {
	until := record.Header.ExpiresAt
	if record.Kind != "live" {
		until = record.speaksUntil()
	}
	if until <= now {
		return nil
	}
	if record.Freeze != nil && record.Freeze.hasEnded(now) {
		thawed := *record
		thawed.Status, thawed.Freeze = record.Freeze.Status, nil
		return &thawed
	}
	return record
}

// speaksUntil is until when what is no session counts. It is stored longer where a copy may wait in another store.
func (record *Record) speaksUntil() int64 {
	if record.Freeze != nil && record.Freeze.Direction == "over" {
		return record.Freeze.Header.FrozenUntil
	}
	return record.Header.StoredUntil
}

// ToldStatus is the status as a script tells it: it has looked at the time.
func (record *Record) ToldStatus() string {
	if record.Freeze != nil && record.Freeze.Direction == "over" {
		return record.Freeze.Status
	}
	return record.Status
}

// ReadHead reads the head of a record by its beginning; an empty one of what is no session, or broken.
func ReadHead(id, raw string) Head {
	head := Head{ID: id, ExpiresAtMs: Of(0)}
	if len(raw) < RecordHeaderBytes {
		return head
	}
	header := readRecordHeader(raw)
	if header.Format != recordFormat || kinds[header.Kind] != "live" {
		return head
	}
	texts, _, _ := readRecordTexts(header, raw[RecordHeaderBytes:])
	head.User, head.Connection, head.Node = texts.User, texts.Connection, texts.Node
	head.ExpiresAtMs = Of(header.ExpiresAt)
	head.Size = RecordHeaderBytes + header.UserSize + header.ConnectionSize + header.NodeSize + header.BodySize
	return head
}

// ReadUsage reads the header of a session that is not frozen; false for anything else.
func ReadUsage(raw string) (RecordHeader, bool) {
	if len(raw) < RecordHeaderBytes {
		return RecordHeader{}, false
	}
	header := readRecordHeader(raw)
	status := statuses[header.Status]
	isOpen := kinds[header.Kind] == "live" && (status == "active" || status == "suspended")
	return header, isOpen && header.Format == recordFormat && header.StoredUntil >= header.ExpiresAt
}

func isID(text string) bool { return len(text) >= 1 && len(text) <= mostID && utf8.ValidString(text) }

func isName(text string) bool { return len(text) <= mostName && utf8.ValidString(text) }

// number is a number of a header, big-endian.
func number(raw string) int64 {
	var value int64
	for at := 0; at < len(raw); at++ {
		value = value<<8 | int64(raw[at])
	}
	return value
}

// cut takes so many bytes from the front; false: there are not so many.
func cut(raw string, size int64) (string, string, bool) {
	if size > int64(len(raw)) {
		return raw, "", false
	}
	return raw[:size], raw[size:], true
}
