package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Binding is a connection for a session.
type Binding struct {
	// Connection is required.
	Connection string
	// Node is the node that holds the connection; empty: none.
	Node string
	// TakeOver takes it from another session that has it.
	TakeOver bool
}

// Bound is the result of a bind.
type Bound struct {
	// ID is another than asked for when the session was rotated a moment ago.
	ID      ID
	Version int64
	// PreviousConnection and PreviousNode are what the session had before; empty: none, or no longer known.
	PreviousConnection, PreviousNode string
	// TakenFrom is the session that lost the connection; empty: none did.
	TakenFrom ID
	// Reaped are expired sessions that were in the way: no reaper will report them.
	Reaped []*Session
	// Changed says that something was written.
	Changed bool
}

// Bind attaches a connection, and the node that holds it, to a live session, and makes it active.
//
// Errors: ErrMissing, ErrTaken, ErrFrozen, ErrFenced, ErrRotated, ErrDeparted.
//
// Atomicity: bind.lua changes both sessions of a takeover, or nothing.
func (store *Store) Bind(ctx context.Context, target SessionRef, binding Binding) (*Bound, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	node, err := store.named(binding.Node)
	if err := firstOf(err, checkRequired("connection", binding.Connection), checkName("node", node)); err != nil {
		return nil, err
	}
	policy := "refuse"
	if binding.TakeOver {
		policy = "takeover"
	}
	call := store.beginAt(known.id)
	operation := &scripts.Bind{
		ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node,
		NewConnection: binding.Connection, NewNode: node,
	}
	operation.Policy = policy
	reply, id, err := settle[*scripts.BindReply](ctx, call, known.id, operation)
	if err != nil {
		return nil, err
	}
	if reply.Word != "ok" && reply.Word != "unchanged" {
		return nil, errorOf(reply.Said())
	}
	bound := &Bound{
		ID: idSince(reply.NewID, id), Version: reply.Version, TakenFrom: ID(nameOf(reply.HolderID)),
		Reaped: call.reaped, Changed: reply.Word == "ok",
	}
	// Another call under the same operation id may have declared otherwise.
	if !call.isAgain || !call.history.isGiven {
		bound.PreviousConnection, bound.PreviousNode = nameOf(reply.Connection), nameOf(reply.Node)
	}
	return bound, nil
}
