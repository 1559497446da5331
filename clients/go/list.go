package cloakroom

import (
	"context"
	"sort"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/scripts"
)

const (
	mostOfPage = 500
	// wholePageRounds is how often a page is read again that changed meanwhile, until its beginning will do.
	wholePageRounds = 16
	pageRounds      = 128
	// pageBytes is how many bytes of records a page has at most, but for one record.
	pageBytes = 2 << 20
)

// Page is a page of live sessions, oldest first.
type Page struct {
	Sessions []*Session
	// Next is where the next page begins; nil: this is the last one.
	Next *Cursor
}

// List reads a page, of at most 500, of the live sessions of a user or node, oldest first, at one instant; each page is
// an instant of its own. It may hold fewer sessions than its size if its records would be larger than 2 MiB, or if it
// kept changing. It leaves out sessions whose records are corrupt. For a node, each partition has its own instant.
//
// Atomicity: list.lua reads one partition's page at one instant.
func (store *Store) List(ctx context.Context, selector Selector, size int, after *Cursor) (*Page, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := firstOf(selector.check(), checkRange("page size", int64(size), 1, mostOfPage)); err != nil {
		return nil, err
	}
	var pages []*Page
	for _, at := range selector.partitions(store.space) {
		page, err := store.begin(at).list(ctx, selector, int64(size), after)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
	}
	if len(pages) == 1 {
		return pages[0], nil
	}
	return merged(pages, size), nil
}

// merged is one page out of several: as far as all of them reach, and no more than it may have.
func merged(pages []*Page, size int) *Page {
	var whole Page
	for _, page := range pages {
		whole.Sessions = append(whole.Sessions, page.Sessions...)
		// The first end of all counts.
		if end := page.Next; end != nil && (whole.Next == nil || !whole.Next.isBehind(entry{string(end.ID), end.CreatedAtMs})) {
			whole.Next = page.Next
		}
	}
	sort.Slice(whole.Sessions, func(one, other int) bool {
		return placeOf(whole.Sessions[one]).isBefore(placeOf(whole.Sessions[other]))
	})
	reached := len(whole.Sessions)
	for reached > 0 && whole.Next != nil && whole.Next.isBehind(placeOf(whole.Sessions[reached-1])) {
		reached--
	}
	if reached > size {
		reached = size
		last := placeOf(whole.Sessions[size-1])
		whole.Next = &Cursor{last.at, ID(last.id), 1}
	}
	whole.Sessions = whole.Sessions[:reached]
	return &whole
}

func placeOf(session *Session) entry { return entry{string(session.ID), session.CreatedAt.UnixMilli()} }

func (entry entry) isBefore(other entry) bool {
	return entry.at < other.at || (entry.at == other.at && entry.id < other.id)
}

func (call *call) list(ctx context.Context, selector Selector, size int64, after *Cursor) (*Page, error) {
	for round := 0; round < pageRounds; round++ {
		page, err := call.readPage(ctx, selector.key(call.tag()), "owner", size, after)
		if err != nil {
			return nil, err
		}
		if len(page.entries) == 0 {
			return &Page{}, nil
		}
		changed := "part"
		if round < wholePageRounds {
			changed = "refuse"
			sessions, outcome, err := call.natively(ctx, selector, &page, size)
			switch {
			case err != nil:
				return nil, err
			case outcome == isRead:
				return &Page{sessions, page.next(after)}, nil
			case outcome == isOther:
				continue
			}
		}
		operation := &scripts.List{
			Kind: selector.kind, Owner: selector.name, FromMs: scripts.Of(page.from), Skip: scripts.Of(page.skip),
			Page: scripts.Of(page.size(size)), Changed: changed, Bytes: scripts.Of(pageBytes),
		}
		for _, id := range page.ids() {
			operation.Sessions = append(operation.Sessions, scripts.ListSession{ID: id})
		}
		reply, err := run[*scripts.ListReply](ctx, call, operation)
		switch {
		case err != nil:
			return nil, err
		case reply.Word == "need":
			continue
		case reply.Word != "ok" && reply.Word != "part":
			return nil, errorOf(reply.Said())
		}
		told, err := tell(reply, &page, after)
		if told != nil || err != nil {
			return told, err
		}
		// Of what cannot be named nothing is left to go on behind, unless some of it was dropped.
		if reply.Dropped == 0 {
			return nil, &CorruptError{Key: "owner"}
		}
	}
	return nil, contended()
}

// tell makes a page of a reply; nil: others follow, and nothing names where.
func tell(reply *scripts.ListReply, page *indexPage, after *Cursor) (*Page, error) {
	count, isFull := len(page.entries), page.isFull
	if reply.Word == "part" {
		isFull, count = true, 0
		for at, entry := range page.entries {
			if entry.id == reply.LastID {
				count = at + 1
			}
		}
		if count == 0 {
			return nil, &CorruptError{Key: "reply that names another session"}
		}
	}
	told := &Page{}
	if isFull {
		if told.Next = page.behind(count, after); told.Next == nil {
			return nil, nil
		}
	}
	for _, row := range reply.Rows {
		// One that cannot be read is passed over, as the script does; its entry stays.
		if row.Record == nil || !utf8.ValidString(row.ID) {
			continue
		}
		session, err := sessionOf(ID(row.ID), row.Record)
		if err != nil {
			return nil, err
		}
		told.Sessions = append(told.Sessions, session)
	}
	return told, nil
}
