package cloakroom

import (
	"context"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Reaped is what Reap came to.
type Reaped struct {
	// Sessions had expired and were removed. Each is told to one caller.
	Sessions []*Session
	// Corrupt are those whose records are broken; what of that has expired is set aside.
	Corrupt []ID
	// Dropped is how many entries of the expiry index had no session.
	Dropped int64
	// Unreadable is how many more were removed that cannot be told.
	Unreadable int
	// More says that there may be others: call again.
	More bool
}

// Reap removes a batch of expired sessions, at most 200, with all their index entries, and returns them. Any number of
// processes may. After ErrAmbiguous the sessions may be removed and their list is lost: the one call that does not answer
// the same when it is repeated.
//
// Atomicity: reap.lua removes the batch at one instant.
func (store *Store) Reap(ctx context.Context, size int) (*Reaped, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := checkRange("batch", int64(size), 1, batch); err != nil {
		return nil, err
	}
	// In the partition where something expired first: a reply that is lost loses the report of one.
	var page []scripts.ExpiredRow
	at, others := 0, 0
	for partition := range store.space.tags {
		found, err := store.begin(partition).expired(ctx, scripts.Number{}, int64(size))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		others++
		if page == nil || found[0].ExpiresAt < page[0].ExpiresAt {
			page, at = found, partition
		}
	}
	if len(page) == 0 {
		return &Reaped{}, nil
	}
	ids := make([]string, len(page))
	for place, row := range page {
		ids[place] = row.ID
	}
	reaped, err := store.begin(at).reap(ctx, ids)
	if err != nil {
		return nil, err
	}
	reaped.More = reaped.More || len(page) == size || others > 1
	return reaped, nil
}

// reap removes those that have expired. One that lives again survives.
func (call *call) reap(ctx context.Context, ids []string) (*Reaped, error) {
	raws, err := call.wholeRecords(ctx, ids)
	if err != nil {
		return nil, err
	}
	read, heads := map[string]string{}, make([]scripts.Head, len(raws))
	for at, raw := range raws {
		read[ids[at]] = raw
		heads[at] = scripts.ReadHead(ids[at], raw)
	}
	operation := &scripts.Reap{}
	operation.Declare(heads)
	reply, err := perform[*scripts.ReapReply](ctx, call, operation)
	if err != nil {
		return nil, err
	}
	more := reply.Left > 0 || len(reply.Stale) > 0 || len(raws) < len(ids)
	reaped := &Reaped{Dropped: reply.Dropped, More: more}
	for _, id := range reply.Removed {
		record, _ := scripts.DecodeRecord(read[id]) // nil where it is broken
		session, err := sessionOf(ID(id), record)
		if err != nil || !utf8.ValidString(id) {
			reaped.Unreadable++
			continue
		}
		reaped.Sessions = append(reaped.Sessions, session)
	}
	reaped.Corrupt = readable(reply.Corrupt)
	reaped.Unreadable += len(reply.Corrupt) - len(reaped.Corrupt)
	return reaped, nil
}
