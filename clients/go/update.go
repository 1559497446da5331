package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Update saves a whole session, if nobody changed it since it was read. The copy in hand takes the new version and times.
// A new TTL starts a new idle time.
//
// Errors: ErrMissing, ErrConflict, ErrTaken, ErrTooLarge, ErrFrozen, ErrFenced, ErrRotated, ErrDeparted.
//
// Atomicity: update.lua saves all, or nothing.
func (store *Store) Update(ctx context.Context, session *Session) error {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := session.target(store.space)
	if err != nil {
		return err
	}
	if err := firstOf(session.check(), store.space.check(session.ID, session.User)); err != nil {
		return err
	}
	entries, err := encode(&store.rules, session.Attributes, session.Extensions)
	if err != nil {
		return err
	}
	operation := &scripts.Update{
		ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node,
		NewUser: session.User, NewConnection: session.Connection, NewNode: session.Node,
		Version: scripts.Of(session.Version), Status: string(session.Status),
		TtlMs: scripts.Of(milliseconds(session.TTL)), Entries: entries,
	}
	saved := routing{session.User, session.Connection, session.Node}
	reply, id, err := settle[*scripts.UpdateReply](ctx, store.beginAt(known.id), known.id, operation)
	if err != nil {
		return err
	}
	if reply.Word != "ok" {
		return errorOf(reply.Said())
	}
	session.ID, session.stored, session.Version = idSince(reply.NewID, id), saved, reply.Version
	session.LastActive, session.ExpiresAt = fromMilliseconds(reply.LastActive), fromMilliseconds(reply.ExpiresAt)
	return nil
}

// idSince is the id that a session has by now: that of the reply, if it was rotated since the call changed it.
func idSince(told string, id ID) ID {
	if told != "" {
		return ID(told)
	}
	return id
}
