package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Unbind detaches a connection and its node from a session, which becomes suspended; but only if the session still has
// that connection, so the late disconnect of an old one does nothing. It tells whether it did.
//
// Errors: ErrMissing, ErrFrozen, ErrFenced, ErrRotated, ErrDeparted.
//
// Atomicity: unbind.lua.
func (store *Store) Unbind(ctx context.Context, target SessionRef, connection string) (bool, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err := firstOf(err, checkRequired("connection", connection)); err != nil {
		return false, err
	}
	operation := &scripts.Unbind{ID: string(known.id), Connection: connection, Node: known.node}
	reply, _, err := settle[*scripts.UnbindReply](ctx, store.beginAt(known.id), known.id, operation)
	if err != nil {
		return false, err
	}
	if reply.Word != "ok" && reply.Word != "unchanged" {
		return false, errorOf(reply.Said())
	}
	return reply.Word == "ok", nil
}
