package cloakroom

import (
	"context"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Refreshed is what a refresh came to.
type Refreshed struct {
	// ID is another than asked for when the session was rotated a moment ago.
	ID                    ID
	Version               int64
	LastActive, ExpiresAt time.Time
	// Changed says that something was written.
	Changed bool
}

// Refresh notes that a live session is used, and extends it when enough of its idle time is gone. Within the rules'
// TouchInterval it is a read.
//
// Errors: ErrMissing, ErrRotated, ErrDeparted, ErrFrozen, ErrFenced.
//
// Atomicity: refresh.lua.
func (store *Store) Refresh(ctx context.Context, target SessionRef) (*Refreshed, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	call := store.beginAt(known.id)
	call.isChange = true
	if store.mayBeUntouched(known) {
		last := digits(scripts.RecordHeaderBytes - 1)
		key := scripts.SessionKey(call.tag(), string(known.id))
		now, raw, err := call.readAt(ctx, []any{"GETRANGE", key, "0", last})
		if err != nil {
			return nil, err
		}
		if raw != nil {
			usage, isOpen := scripts.ReadUsage(*raw)
			if isOpen && !store.rules.isTouchDue(usage.LastActive, usage.ExpiresAt, now) {
				return refreshed(known.id, usage.Version, usage.LastActive, usage.ExpiresAt, false), nil
			}
		}
	}
	reply, id, err := call.refresh(ctx, known, "times")
	if err != nil {
		return nil, err
	}
	return refreshed(id, reply.Version, reply.LastActive, reply.ExpiresAt, reply.Word == "ok"), nil
}

func refreshed(id ID, version, lastActive, expiresAt int64, changed bool) *Refreshed {
	return &Refreshed{id, version, fromMilliseconds(lastActive), fromMilliseconds(expiresAt), changed}
}

// RefreshAndGet refreshes a session and returns it: what a web request begins with.
//
// Errors: as Refresh.
//
// Atomicity: refresh.lua.
func (store *Store) RefreshAndGet(ctx context.Context, target SessionRef) (*Session, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	call := store.beginAt(known.id)
	call.isChange = true
	if store.mayBeUntouched(known) {
		session, isClear, err := call.look(ctx, known.id)
		if err != nil || isClear {
			return session, err
		}
	}
	reply, id, err := call.refresh(ctx, known, "record")
	if err != nil {
		return nil, err
	}
	return sessionOf(id, reply.Record)
}

func (call *call) refresh(ctx context.Context, known known, want string) (*scripts.RefreshReply, ID, error) {
	operation := &scripts.Refresh{
		ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node, Want: want,
	}
	reply, id, err := settle[*scripts.RefreshReply](ctx, call, known.id, operation)
	if err == nil && reply.Word != "ok" && reply.Word != "unchanged" {
		err = errorOf(reply.Said())
	}
	return reply, id, err
}

// mayBeUntouched tells whether the script may have nothing to write, as far as that can be told before anything is read.
// A node's lease only the script can ask for.
func (store *Store) mayBeUntouched(known known) bool {
	if store.rules.TouchInterval == 0 || store.identity != nil {
		return false
	}
	now, isKnown := store.clock.noLaterThan(time.Now())
	session := known.session
	if session == nil || !isKnown {
		return true
	}
	return !store.rules.isTouchDue(session.LastActive.UnixMilli(), session.ExpiresAt.UnixMilli(), now)
}

// look reads a session, and tells whether that is all that there is to do. The script decides what is frozen, rotated
// away, corrupt.
func (call *call) look(ctx context.Context, id ID) (*Session, bool, error) {
	now, raw, err := call.readAt(ctx, []any{"GET", scripts.SessionKey(call.tag(), string(id))})
	if err != nil {
		return nil, false, err
	}
	if raw == nil {
		return nil, true, ErrMissing
	}
	record, err := scripts.DecodeRecord(*raw)
	if err != nil || (record.Kind == "live" && record.Freeze != nil && record.Freeze.Direction != "over") {
		return nil, false, nil
	}
	record = record.UnlessOver(now)
	if record == nil || (record.Kind == "deleted" && record.NewID == "") {
		return nil, true, ErrMissing
	}
	isDue := call.store.rules.isTouchDue(record.Header.LastActive, record.Header.ExpiresAt, now)
	if record.Kind != "live" || isDue {
		return nil, false, nil
	}
	session, err := sessionOf(id, record)
	return session, true, err
}
