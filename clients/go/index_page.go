package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Cursor is where a reading goes on: behind a session, and so many that were made in the same millisecond.
type Cursor struct {
	CreatedAtMs int64
	ID          ID
	Ties        int64
}

// isBehind tells whether an entry is behind the one that the cursor names.
func (cursor *Cursor) isBehind(entry entry) bool {
	return cursor == nil || entry.at > cursor.CreatedAtMs ||
		(entry.at == cursor.CreatedAtMs && entry.id > string(cursor.ID))
}

// entry is a member of an index, which need be no text, with its score.
type entry struct {
	id string
	at int64
}

func (entry entry) isID() bool { return checkText("id", entry.id, 1, 128) == nil }

// indexPage is a page of an index as a server has it.
type indexPage struct {
	entries []entry
	// from is the score from which on it was read, and skip how many entries from there on come before it.
	from, skip int64
	// isFull says that others may follow.
	isFull bool
}

// readPage reads a page: from the cursor's score on, inclusive, without those that came before.
func (call *call) readPage(ctx context.Context, key, name string, size int64, after *Cursor) (indexPage, error) {
	from, ties := int64(0), int64(0)
	if after != nil {
		from, ties = after.CreatedAtMs, after.Ties
	}
	for {
		command := []any{
			"ZRANGEBYSCORE", key, digits(from), "+inf", "WITHSCORES", "LIMIT", "0", digits(size + ties),
		}
		replies, err := call.read(ctx, name, command)
		if err != nil {
			return indexPage{}, err
		}
		read := entriesIn(replies[0])
		page := indexPage{from: from}
		for _, entry := range read {
			if after.isBehind(entry) {
				page.entries = append(page.entries, entry)
			}
		}
		page.skip = int64(len(read) - len(page.entries))
		// More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
		if int64(len(read)) < size+ties || int64(len(page.entries)) >= size {
			if int64(len(page.entries)) >= size {
				page.isFull, page.entries = true, upToAnID(page.entries[:size])
			}
			return page, nil
		}
		ties = page.skip
	}
}

// upToAnID ends entries at the last one that a cursor can name; where others follow, a cursor names it.
func upToAnID(entries []entry) []entry {
	for end := len(entries); end > 0; end-- {
		if entries[end-1].isID() {
			return entries[:end]
		}
	}
	return entries
}

func (page *indexPage) ids() []string {
	ids := make([]string, len(page.entries))
	for at, entry := range page.entries {
		ids[at] = entry.id
	}
	return ids
}

// size is how many entries a page that is read again has at most, of one that was asked for so many.
func (page *indexPage) size(asked int64) int64 {
	if page.isFull {
		return int64(len(page.entries))
	}
	return asked
}

// behind is where the page behind the first so many entries begins; nil: none of them can be named.
func (page *indexPage) behind(count int, before *Cursor) *Cursor {
	named := []entry(nil)
	for _, entry := range page.entries[:count] {
		if entry.isID() {
			named = append(named, entry)
		}
	}
	if len(named) == 0 {
		return nil
	}
	last := named[len(named)-1]
	ties := int64(0)
	for _, entry := range named {
		if entry.at == last.at {
			ties++
		}
	}
	if before != nil && before.CreatedAtMs == last.at {
		ties += before.Ties
	}
	return &Cursor{last.at, ID(last.id), ties}
}

// next is the same behind all of it; nil: no others follow.
func (page *indexPage) next(before *Cursor) *Cursor {
	if !page.isFull {
		return nil
	}
	return page.behind(len(page.entries), before)
}

// entriesIn are members with their scores: one after the other by RESP2, in pairs by RESP3.
func entriesIn(reply any) []entry {
	items, _ := reply.([]any)
	var flat []any
	for _, item := range items {
		if pair, ok := item.([]any); ok {
			flat = append(flat, pair...)
		} else {
			flat = append(flat, item)
		}
	}
	var entries []entry
	for at := 0; at+1 < len(flat); at += 2 {
		id, _ := scripts.Text(flat[at])
		score, _ := scripts.Score(flat[at+1])
		entries = append(entries, entry{id, score})
	}
	return entries
}

// textsIn are the texts of a reply.
func textsIn(reply any) []string {
	items, _ := reply.([]any)
	texts := make([]string, len(items))
	for at, item := range items {
		texts[at], _ = scripts.Text(item)
	}
	return texts
}
