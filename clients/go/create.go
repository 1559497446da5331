package cloakroom

import (
	"context"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// NewSession is a session to create. All fields are optional.
type NewSession struct {
	// ID is one of your own. Defaults to one that the store makes.
	ID ID
	// User, Connection and Node are empty if there is none.
	User, Connection, Node string
	// Status defaults to Active.
	Status Status
	// TTL defaults to that of the rules.
	TTL time.Duration
	// Attributes and Extensions are any values that have a form in JSON. A json.RawMessage is stored as it is.
	Attributes, Extensions map[string]any
}

// Created is the result of Create: the new session, and the sessions that it evicted.
type Created struct {
	Session *Session
	// Token is the token that the client must hold, returned only here. It is set if ids of the namespace are the
	// hashes of tokens and the store made the id.
	Token Token
	// Evicted were deleted to stay within the limit. Close their connections.
	Evicted []Removed
	// Reaped are expired sessions that were in the way: no reaper will report them.
	Reaped []*Session
}

// Removed is a session that was removed, and the connection to close; empty: it had none.
type Removed struct {
	ID               ID
	Connection, Node string
}

// Create makes a session.
//
// Errors: ErrExists, ErrGone, ErrRotated for its id; ErrTaken, ErrLimit, ErrTooLarge, ErrFenced.
//
// Atomicity: create.lua makes the session with all its index entries, or nothing.
func (store *Store) Create(ctx context.Context, new NewSession) (*Created, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	call := store.begin(0)
	session, token, err := store.draft(call.id, new)
	if err != nil {
		return nil, err
	}
	entries, err := encode(&store.rules, session.Attributes, session.Extensions)
	if err != nil {
		return nil, err
	}
	call.at = store.space.of(string(session.ID))
	operation := &scripts.Create{
		ID: string(session.ID), User: session.User, Connection: session.Connection, Node: session.Node,
		Status: string(session.Status), TtlMs: scripts.Of(milliseconds(session.TTL)),
		LifetimeMs: scripts.Of(milliseconds(store.rules.MaxLifetime)), Entries: entries,
	}
	reply, _, err := settle[*scripts.CreateReply](ctx, call, session.ID, operation)
	if err != nil {
		return nil, err
	}
	if reply.Word != "ok" {
		return nil, errorOf(reply.Said())
	}
	session.Version = reply.Version
	session.CreatedAt, session.LastActive = fromMilliseconds(reply.CreatedAt), fromMilliseconds(reply.CreatedAt)
	session.ExpiresAt = fromMilliseconds(reply.ExpiresAt)
	if store.rules.MaxLifetime > 0 {
		session.Deadline = session.CreatedAt.Add(store.rules.MaxLifetime)
	}
	return &Created{session, token, call.evicted(reply.EvictedIDs), call.reaped}, nil
}

// draft is a new session whose fields are checked.
func (store *Store) draft(operation OperationID, new NewSession) (*Session, Token, error) {
	node, err := store.named(new.Node)
	if err != nil {
		return nil, Token{}, err
	}
	if err := checkName("user", new.User); err != nil {
		return nil, Token{}, err
	}
	id, token := new.ID, Token{}
	if id == "" {
		id, token = store.space.newID(operation, new.User)
	}
	attributes, err := valuesOf("attribute", new.Attributes)
	if err != nil {
		return nil, Token{}, err
	}
	extensions, err := valuesOf("extension", new.Extensions)
	session := &Session{
		ID: id, User: new.User, Connection: new.Connection, Node: node,
		Status: orElse(new.Status, Active), TTL: orElse(new.TTL, store.rules.TTL),
		Attributes: attributes, Extensions: extensions,
		stored: routing{new.User, new.Connection, node},
	}
	return session, token, firstOf(err, id.check(), session.check(), store.space.check(id, new.User))
}

// valuesOf has the JSON texts of values, which entriesOf has yet to check.
func valuesOf(kind string, given map[string]any) (Values, error) {
	values := Values{}
	for _, key := range sortedKeys(given) {
		raw, err := textOf(field(kind, key), given[key])
		if err != nil {
			return nil, err
		}
		values[key] = raw
	}
	return values, nil
}
