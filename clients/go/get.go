package cloakroom

import (
	"context"
	"errors"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Get reads a live session. An id that was rotated a moment ago leads to the session under its new id.
//
// Errors: ErrMissing if there is none; ErrRotated if a login replaced the id; ErrDeparted.
func (store *Store) Get(ctx context.Context, target SessionRef) (*Session, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	id, record, err := store.beginAt(known.id).lookUp(ctx, known.id)
	if err != nil {
		return nil, err
	}
	return sessionOf(id, record)
}

// lookUp reads the record of a live session, and the id that it has now.
func (call *call) lookUp(ctx context.Context, id ID) (ID, *scripts.Record, error) {
	for hop := 0; hop < 2; hop++ {
		_, record, err := call.currentAt(ctx, id)
		switch {
		case err != nil:
			return "", nil, err
		case record == nil:
			return "", nil, ErrMissing
		case record.Kind == "live":
			return id, record, nil
		case record.Kind == "departed":
			return "", nil, &DepartedError{Place: record.Place}
		case record.Kind == "deleted" && record.NewID != "":
			return "", nil, &RotatedError{}
		case record.Kind != "moved":
			return "", nil, ErrMissing
		}
		id = ID(record.NewID)
		call.at = call.store.space.of(record.NewID)
	}
	// An id that was rotated away twice leads nowhere.
	return "", nil, ErrMissing
}

// currentAt reads the time, and what is under an id, without what is over; nil: nothing.
func (call *call) currentAt(ctx context.Context, id ID) (int64, *scripts.Record, error) {
	now, raw, err := call.readAt(ctx, []any{"GET", scripts.SessionKey(call.tag(), string(id))})
	if err != nil || raw == nil {
		return now, nil, err
	}
	record, err := scripts.DecodeRecord(*raw)
	if err != nil {
		return now, nil, call.doubting(&CorruptError{Key: "record"})
	}
	return now, record.UnlessOver(now), nil
}

// readAt reads a string of a record, and the time; nil: there is no such key.
func (call *call) readAt(ctx context.Context, command []any) (int64, *string, error) {
	replies, err := call.read(ctx, "record", []any{"TIME"}, command)
	if err != nil {
		return 0, nil, err
	}
	now, err := call.store.sawTime(replies[0])
	if err != nil || replies[1] == nil {
		return now, nil, err
	}
	raw, ok := scripts.Text(replies[1])
	if !ok {
		return now, nil, &CorruptError{Key: "record"}
	}
	return now, &raw, nil
}

// SessionByConnection reads the live session that has a connection.
//
// Errors: ErrMissing if no session has it.
func (store *Store) SessionByConnection(ctx context.Context, connection string) (*Session, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := checkRequired("connection", connection); err != nil {
		return nil, err
	}
	// A partition knows nothing of a connection's session in another, which it may have left without a word. Of several
	// the one that was changed last has it.
	var newest *scripts.Record
	var newestID ID
	for at := range store.space.tags {
		id, record, err := store.begin(at).byConnection(ctx, connection)
		if err != nil {
			return nil, err
		}
		if record != nil && (newest == nil || record.Header.ChangedAt > newest.Header.ChangedAt) {
			newestID, newest = id, record
		}
	}
	if newest == nil {
		return nil, ErrMissing
	}
	return sessionOf(newestID, newest)
}

// byConnection reads it in one partition; nil: there is none.
func (call *call) byConnection(ctx context.Context, connection string) (ID, *scripts.Record, error) {
	type led struct {
		pointer string
		id      ID
		version int64
	}
	home := call.at
	var passed led
	// The pointer and the record must agree. But between the two the connection may have been taken over, and between two
	// looks it may have been there and back. So a pointer is stale only if it leads, read again, to the very version of
	// the session that did not have the connection before.
	for {
		call.at = home
		replies, err := call.read(ctx, "connection", []any{"GET", scripts.ConnectionKey(call.tag(), connection)})
		if err != nil || replies[0] == nil {
			return "", nil, err
		}
		pointer, _ := scripts.Text(replies[0])
		if ID(pointer).check() != nil {
			return "", nil, &CorruptError{Key: "connection"}
		}
		id, record, err := call.lookUp(ctx, ID(pointer))
		if err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrRotated) {
			return "", nil, err
		}
		now := led{pointer: pointer, version: -1}
		if record != nil {
			if record.Connection == connection {
				return id, record, nil
			}
			now.id, now.version = id, record.Header.Version
		}
		if now == passed {
			return "", nil, nil
		}
		passed = now
	}
}
