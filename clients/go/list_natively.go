package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// reading is what became of a page that was read without the script.
type reading int

const (
	// isRead: its sessions were read.
	isRead reading = iota
	// isOther: it is another page by now.
	isOther
	// isForScript: something in it is cut off, leads nowhere, or is corrupt, or the server reads nothing in this way.
	isForScript
)

// natively reads a page again with its records, of each what it may have of 2 MiB: its live sessions. That takes the
// server a fraction of what the script takes.
//
// Atomicity: one transaction, which only a Pipeliner can send over one connection.
func (call *call) natively(
	ctx context.Context, selector Selector, page *indexPage, size int64,
) ([]*Session, reading, error) {
	if _, ok := call.store.doer.(Pipeliner); !ok {
		return nil, isForScript, nil
	}
	last := digits(pageBytes/int64(len(page.entries)) - 1)
	commands := [][]any{{"MULTI"}, {"TIME"}}
	for _, id := range page.ids() {
		commands = append(commands, []any{"GETRANGE", scripts.SessionKey(call.tag(), id), "0", last})
	}
	again := []any{
		"ZRANGEBYSCORE", selector.key(call.tag()), digits(page.from), "+inf",
		"LIMIT", digits(page.skip), digits(page.size(size)),
	}
	replies, err := call.exchange(ctx, append(commands, again, []any{"EXEC"})...)
	if err != nil {
		return nil, isForScript, err
	}
	executed, ok := replies[len(replies)-1].([]any)
	if !ok || len(executed) != len(page.entries)+2 {
		return nil, isForScript, nil
	}
	now, isTime := timeOf(executed[0])
	ids, isList := executed[len(executed)-1].([]any)
	if !isTime || !isList {
		return nil, isForScript, nil
	}
	call.store.clock.saw(now)
	if !page.has(textsIn(ids)) {
		return nil, isOther, nil
	}
	sessions, outcome := page.sessions(executed[1:len(executed)-1], selector, now)
	return sessions, outcome, nil
}

// has tells whether these are the ids of the page.
func (page *indexPage) has(ids []string) bool {
	if len(ids) != len(page.entries) {
		return false
	}
	for at, entry := range page.entries {
		if entry.id != ids[at] {
			return false
		}
	}
	return true
}

// sessions are the live ones of a page, by their records.
func (page *indexPage) sessions(raws []any, selector Selector, now int64) ([]*Session, reading) {
	var sessions []*Session
	for at, entry := range page.entries {
		raw, isText := scripts.Text(raws[at])
		record, err := scripts.DecodeRecord(raw)
		isOwn := err == nil && record.Kind == "live" && selector.has(record)
		if !isText || !isOwn || !entry.isID() {
			return nil, isForScript
		}
		// Where it stands among the others is not where the session stood that had its id when the page was read.
		if record.Header.CreatedAt != entry.at {
			return nil, isOther
		}
		// An expired one keeps its entry until it is reaped as a whole.
		if live := record.UnlessOver(now); live != nil {
			session, err := sessionOf(ID(entry.id), live)
			if err != nil {
				return nil, isForScript
			}
			sessions = append(sessions, session)
		}
	}
	return sessions, isRead
}

func (selector Selector) has(record *scripts.Record) bool {
	if selector.kind == "user" {
		return record.User == selector.name
	}
	return record.Node == selector.name
}
