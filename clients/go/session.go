package cloakroom

import (
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Status is the state of a session.
type Status string

const (
	// Active is a session in use.
	Active Status = "active"
	// Suspended is one that is kept and not connected.
	Suspended Status = "suspended"
	// Migrating is one that a migration has frozen.
	Migrating Status = "migrating"
)

// Values are attributes or extensions: the JSON texts of what a session holds, by their keys. A text that nobody changed
// here is saved as it was, with numbers that no float64 can hold and lists that are empty.
type Values map[string]json.RawMessage

// Get reads a value into what `into` points at, and tells whether there is one.
func (values Values) Get(key string, into any) (bool, error) {
	raw, isThere := values[key]
	if !isThere {
		return false, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return true, invalid(field("value", key), "is of another type: %v", err)
	}
	return true, nil
}

// Set sets a value.
func (values Values) Set(key string, value any) error {
	name := field("value", key)
	raw, err := textOf(name, value)
	if err == nil {
		err = checkValue(name, raw)
	}
	if err == nil {
		values[key] = raw
	}
	return err
}

// Format shows the keys: the values may be secret.
func (values Values) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "%q", sortedKeys(values))
}

// routing is where a session is indexed.
type routing struct{ user, connection, node string }

// Session is one session, as it was when it was read: a copy in hand, which Update saves. Its times are the server's.
type Session struct {
	ID ID `json:"-"`
	// User, Connection and Node are empty where there is none.
	User, Connection, Node string
	Status                 Status
	// Version is 1 at first, and one more with each change other than a refresh.
	Version                          int64
	TTL                              time.Duration
	CreatedAt, LastActive, ExpiresAt time.Time
	// Deadline is the end of its life, however much it is used; the zero time: none.
	Deadline time.Time
	// Attributes belong to the application, Extensions to layers around it.
	Attributes, Extensions Values `json:"-"`

	// stored is what is indexed, as far as this copy knows, whatever was set on it since.
	stored routing
}

// Format shows no id and no values.
func (session *Session) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "%v of %q at version %d", session.ID, session.User, session.Version)
}

// sessionOf is a session as it is stored under an id.
func sessionOf(id ID, record *scripts.Record) (*Session, error) {
	if record == nil || record.Kind != "live" {
		return nil, &CorruptError{Key: "record"}
	}
	header := record.Header
	session := &Session{
		ID: id, User: record.User, Connection: record.Connection, Node: record.Node,
		Status: Status(record.ToldStatus()), Version: header.Version,
		TTL:       time.Duration(header.Ttl) * time.Millisecond,
		CreatedAt: fromMilliseconds(header.CreatedAt), LastActive: fromMilliseconds(header.LastActive),
		ExpiresAt:  fromMilliseconds(header.ExpiresAt),
		Attributes: Values{}, Extensions: Values{},
		stored: routing{record.User, record.Connection, record.Node},
	}
	if header.Deadline > 0 {
		session.Deadline = fromMilliseconds(header.Deadline)
	}
	for _, entry := range record.Entries {
		if entry.Kind == "attribute" {
			session.Attributes[entry.Key] = json.RawMessage(entry.JSON)
		} else {
			session.Extensions[entry.Key] = json.RawMessage(entry.JSON)
		}
	}
	return session, nil
}

// check looks at all that is saved.
func (session *Session) check() error {
	return firstOf(
		checkName("user", session.User),
		checkName("connection", session.Connection),
		checkName("node", session.Node),
		checkDuration("ttl", session.TTL, time.Millisecond, longest),
		session.checkStatus(),
	)
}

func (session *Session) checkStatus() error {
	if session.Status == Migrating {
		return ErrFrozen
	}
	return checkOneOf("status", session.Status, Active, Suspended)
}

// encode writes all entries of a session, as a script takes them.
func encode(rules *Rules, attributes, extensions Values) (string, error) {
	entries, err := entriesOf(rules, "attribute", attributes)
	if err != nil {
		return "", err
	}
	more, err := entriesOf(rules, "extension", extensions)
	if err != nil {
		return "", err
	}
	entries = append(entries, more...)
	size := 0
	for _, entry := range entries {
		size += scripts.EntryHeaderBytes + len(entry.Key) + len(entry.JSON)
	}
	if size > rules.SessionBytes || len(entries) > rules.SessionEntries {
		return "", &TooLargeError{Bytes: int64(size), Entries: int64(len(entries))}
	}
	return scripts.EncodeEntries(entries), nil
}

func entriesOf(rules *Rules, kind string, values Values) ([]scripts.Entry, error) {
	entries := make([]scripts.Entry, 0, len(values))
	for _, key := range sortedKeys(values) {
		entry := scripts.Entry{Kind: kind, Key: key, JSON: string(values[key])}
		if err := firstOf(checkEntry(rules, entry), checkValue(field(kind, key), values[key])); err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// checkEntry refuses a key or a value that is too long; an empty value removes.
func checkEntry(rules *Rules, entry scripts.Entry) error {
	return firstOf(
		checkText(entry.Kind+" key", entry.Key, 1, 255),
		checkText(field(entry.Kind, entry.Key), entry.JSON, 0, rules.ValueBytes),
	)
}

func field(kind, key string) string { return fmt.Sprintf("%s %q", kind, key) }

func sortedKeys[V any](values map[string]V) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
