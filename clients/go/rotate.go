package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Rotation says what a rotation does besides.
type Rotation struct {
	// User logs a user in. Empty: the session keeps the user that it has.
	User string
	// NewID is one of your own. Defaults to one that the store makes.
	NewID ID
}

// Rotated is what a rotation came to.
type Rotated struct {
	// Session is the session under its new id.
	Session *Session
	// Token is what the client is to hold, told here alone, where the ids of the namespace are those of tokens and this
	// call made the id.
	Token Token
	// Evicted were deleted to stay within the limit. Close their connections.
	Evicted []Removed
	// ByAnother says that another rotation was first: the new id is the one that it made.
	ByAnother bool
}

// Rotate gives a live session a new id, keeping its data, and logs a user in in the same step, from which on a lifetime
// begins anew. For a while the old id leads to the session, but not when the user changes. Two rotations at once end with
// one new id, which both callers learn; of two logins at once the second is refused with ErrRotated, and so it is of any
// two where clients hold tokens.
//
// A login of a user who is in another partition takes three steps, each of which leaves one session that is logged in, or
// none: docs/partitions.md tells them.
//
// Errors: ErrMissing, ErrExists for the new id, ErrLimit, ErrFrozen, ErrFenced, ErrRotated, ErrDeparted.
//
// Atomicity: rotate.lua moves the session with all its index entries, or nothing.
func (store *Store) Rotate(ctx context.Context, target SessionRef, rotation Rotation) (*Rotated, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	call := store.beginAt(known.id)
	if err := checkName("user", rotation.User); err != nil {
		return nil, err
	}
	if rotation.User != "" && store.space.of(rotation.User) != call.at {
		return call.logInElsewhere(ctx, known, rotation)
	}
	id, token := rotation.NewID, Token{}
	if id == "" {
		id, token = store.space.newIDIn(call.at, call.id)
	}
	if err := firstOf(id.check(), call.checkHome(id)); err != nil {
		return nil, err
	}
	operation := &scripts.Rotate{
		ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node,
		NewID: string(id), NewUser: rotation.User,
	}
	if rotation.User != "" {
		// A login begins a lifetime, if the rules have one.
		operation.NewLifetimeMs = scripts.Of(milliseconds(store.rules.MaxLifetime))
	}
	reply, _, err := settle[*scripts.RotateReply](ctx, call, known.id, operation)
	switch {
	case err != nil:
		return nil, err
	case reply.Word == "moved" && store.space.scheme == SchemeToken:
		return nil, ErrRotated // its client is to hold a token, which the other rotation has
	case reply.Word == "moved":
		rotated, err := call.byAnother(ctx, ID(reply.Outcome.NewID))
		return rotated, call.doubting(err)
	case reply.Word != "ok":
		return nil, errorOf(reply.Said())
	}
	session, err := sessionOf(id, reply.Record)
	if err != nil {
		return nil, err
	}
	return &Rotated{Session: session, Token: token, Evicted: call.evicted(reply.EvictedIDs)}, nil
}

// byAnother reads the session under the id that another rotation gave it.
func (call *call) byAnother(ctx context.Context, id ID) (*Rotated, error) {
	found, record, err := call.lookUp(ctx, id)
	if err != nil {
		return nil, err
	}
	session, err := sessionOf(found, record)
	return &Rotated{Session: session, ByAnother: true}, err
}

// checkHome refuses an id that would lead out of the partition.
func (call *call) checkHome(id ID) error {
	if call.store.space.of(string(id)) != call.at {
		return invalid("new_id", "is in another partition than the session")
	}
	return nil
}
