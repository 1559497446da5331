package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Delete deletes a live session with every index entry, and returns whether there was one. For a while nobody can
// create a session under the same id.
//
// Errors: ErrFrozen, ErrFenced, ErrDeparted.
//
// Atomicity: delete.lua.
func (store *Store) Delete(ctx context.Context, target SessionRef) (bool, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return false, err
	}
	operation := &scripts.Delete{ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node}
	reply, _, err := settle[*scripts.DeleteReply](ctx, store.beginAt(known.id), known.id, operation)
	if err != nil {
		return false, err
	}
	if reply.Word != "ok" && reply.Word != "missing" {
		return false, errorOf(reply.Said())
	}
	return reply.Word == "ok", nil
}
