package cloakroom

import (
	"context"
	"errors"
	"strings"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

const (
	// copyLives is how long a copy lives at most that does not become the session.
	copyLives = time.Minute
	// timeToLeave is how long a copy has to live on at least for the old id to be left.
	timeToLeave = 10 * time.Second
	// loginRounds is how often a session may change between the copy and the login.
	loginRounds = 32
)

var errCopyIsGone = errors.New("the copy of an earlier attempt has expired: log in under another operation id")

// login is a login of a user who is in another partition than the session: three calls, for no script reaches two
// partitions. Each may be repeated, under the one operation id of the login.
//
//  1. A copy is brought in under a new id, with the user: it has no more than a minute to live, and nobody knows its id.
//     Its connection does not lead to it yet.
//  2. The old id is left, at the version that was copied. This is the login: before it the old session is as it was,
//     after it the copy is the session.
//  3. The session gets its whole idle time, after its connection if it had one.
//
// Whatever dies between two of them, the old id never has the user's rights, and what nobody knows is gone in a minute.
type login struct {
	store    *Store
	from, to int
	old      known
	newID    ID
	token    Token
	user     string
	id       OperationID
}

func (call *call) logInElsewhere(ctx context.Context, old known, rotation Rotation) (*Rotated, error) {
	space := call.store.space
	id, token := rotation.NewID, Token{}
	if id == "" {
		id, token = space.newID(call.id, rotation.User)
	}
	if err := firstOf(id.check(), space.check(id, rotation.User)); err != nil {
		return nil, err
	}
	login := &login{
		store: call.store, from: call.at, to: space.of(rotation.User), old: old, newID: id, token: token,
		user: rotation.User, id: call.id,
	}
	rotated, err := login.run(ctx)
	if errors.Is(err, ErrAmbiguous) {
		return nil, ambiguous(login.id, err)
	}
	return rotated, err
}

func (login *login) run(ctx context.Context) (*Rotated, error) {
	var evicted []Removed
	for round := 0; round < loginRounds; round++ {
		left, version := login.old, int64(0) // no session is at version 0
		now, record, err := login.step(login.from, login.id).currentAt(ctx, login.old.id)
		if err != nil {
			return nil, err
		}
		var copied *Session
		switch {
		case record == nil:
			// What is gone may have been left by this very login.
		case record.Kind == "live" && record.Freeze != nil:
			return nil, ErrFrozen
		case record.Kind == "live":
			version = record.Header.Version
			left = known{id: left.id, user: record.User, connection: record.Connection, node: record.Node}
			if copied, err = login.copyOf(record, now); err != nil {
				return nil, err
			}
			removed, err := login.bring(ctx, copied, record.Header.OpIDs)
			if err != nil {
				return nil, err
			}
			evicted = append(evicted, removed...)
			if err := login.requireCopy(ctx); err != nil {
				return nil, err
			}
		case record.Kind == "moved":
			return login.byAnother(ctx, ID(record.NewID))
		case record.Kind == "departed":
			return nil, &DepartedError{Place: record.Place}
		}
		err = login.leave(ctx, left, version)
		var rotated *RotatedError
		switch {
		case errors.Is(err, ErrConflict):
			continue // it changed since it was copied
		case errors.As(err, &rotated) && rotated.NewID != "":
			return login.byAnother(ctx, rotated.NewID)
		case err != nil:
			return nil, err
		}
		session, err := login.complete(ctx, copied, left)
		if err != nil {
			return nil, login.happened(err)
		}
		return &Rotated{Session: session, Token: login.token, Evicted: evicted}, nil
	}
	return nil, contended()
}

// step is a call of the login.
func (login *login) step(at int, id OperationID) *call {
	step := login.store.WithOperationID(id).begin(at)
	step.isChange = true
	return step
}

// copyOf is the session as it will be, but for its connection and its short life.
func (login *login) copyOf(record *scripts.Record, now int64) (*Session, error) {
	session, err := sessionOf(login.newID, record)
	if err != nil {
		return nil, err
	}
	lifetime, lives := login.store.rules.MaxLifetime, copyLives
	session.Deadline = time.Time{}
	if lifetime > 0 {
		session.Deadline = fromMilliseconds(now).Add(lifetime)
		if lifetime < lives {
			lives = lifetime
		}
	}
	if ends := fromMilliseconds(now).Add(lives); ends.Before(session.ExpiresAt) {
		session.ExpiresAt = ends
	}
	session.User, session.Connection, session.stored = login.user, "", routing{}
	session.Version++
	return session, nil
}

// bring brings the copy in, and returns those that the user has too many of. It takes the place of nothing but an earlier
// copy of this login.
func (login *login) bring(ctx context.Context, copied *Session, operations string) ([]Removed, error) {
	removed, err := login.importCopy(ctx, copied, operations, 0)
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		isOwn, failed := login.isOwnCopy(ctx, conflict.Current)
		switch {
		case failed != nil:
			return nil, failed
		case isOwn:
			removed, err = login.importCopy(ctx, copied, operations, conflict.Current)
		}
	}
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrRotated) {
		return nil, ErrExists // another session has the new id
	}
	return removed, err
}

func (login *login) importCopy(ctx context.Context, copied *Session, operations string, replaces int64) ([]Removed, error) {
	rules := &login.store.rules
	entries, err := encode(rules, copied.Attributes, copied.Extensions)
	if err != nil {
		return nil, err
	}
	call := login.step(login.to, login.idOfCopy(copied.Version-1))
	operation := &scripts.Import{
		ID: string(copied.ID), Version: scripts.Of(copied.Version),
		NewUser: copied.User, NewNode: copied.Node, Status: string(copied.Status),
		CreatedAtMs: scripts.Of(copied.CreatedAt.UnixMilli()), LastActiveMs: scripts.Of(copied.LastActive.UnixMilli()),
		ExpiresAtMs: scripts.Of(copied.ExpiresAt.UnixMilli()), DeadlineMs: scripts.Of(0),
		TtlMs: scripts.Of(milliseconds(copied.TTL)), Operations: operations, Replaces: scripts.Of(replaces),
		Entries: entries,
	}
	if !copied.Deadline.IsZero() {
		operation.DeadlineMs = scripts.Of(copied.Deadline.UnixMilli())
	}
	operation.LoginLimit, operation.LoginPolicy = scripts.Of(int64(rules.SessionsPerUser)), string(rules.OnLimit)
	reply, _, err := settle[*scripts.ImportReply](ctx, call, copied.ID, operation)
	switch {
	case errors.Is(err, ErrNotExecuted) && login.id.isRepeat:
		// A login that may have happened stays in doubt where nobody can be asked.
		return nil, call.ambiguous(err)
	case err != nil:
		return nil, err
	case reply.Word == "ok":
		return call.evicted(reply.EvictedIDs), nil
	case reply.Word == "unchanged":
		return nil, nil
	default:
		return nil, errorOf(reply.Said())
	}
}

// idOfCopy is under which id the copy of a version is brought in: each has its own, or a later one would be taken for an
// earlier. That what is there is its own earlier copy the login looks up, so the call needs no bound from before the
// login: by such a one a copy that was brought in since could not tell of it.
func (login *login) idOfCopy(version int64) OperationID {
	return login.id.nth(uint64(version)).ofFirstCall()
}

// isOwnCopy tells whether what is under the new id is a copy that this login brought in, and at that version.
func (login *login) isOwnCopy(ctx context.Context, version int64) (bool, error) {
	_, record, err := login.step(login.to, login.id).lookUp(ctx, login.newID)
	switch {
	case errors.Is(err, ErrMissing):
		return false, nil
	case err != nil:
		return false, err
	case record.Header.Version != version:
		return false, nil
	}
	own := login.idOfCopy(version - 1)
	changes := record.Header.OpIDs
	for at := 0; at+storedBytes <= len(changes); at += storedBytes {
		if strings.HasPrefix(changes[at:], string(own.stored[:])) {
			return true, nil
		}
	}
	return false, nil
}

// requireCopy is for a login that is repeated after long: it may be told of a copy that has expired since, or was logged
// out. Nothing is left for that.
func (login *login) requireCopy(ctx context.Context) error {
	if login.store.operation == nil {
		return nil
	}
	now, record, err := login.step(login.to, login.id).currentAt(ctx, login.newID)
	if err != nil {
		return err
	}
	if record != nil && record.Kind == "live" && record.Header.ExpiresAt > now+milliseconds(timeToLeave) {
		return nil
	}
	return &NotExecutedError{Cause: errCopyIsGone}
}

func (login *login) leave(ctx context.Context, old known, version int64) error {
	call := login.step(login.from, login.id)
	// The old id leads on for as long as one that was rotated.
	call.store.rules.Tombstone = call.store.rules.RotationGrace
	operation := &scripts.Delete{
		ID: string(old.id), User: old.user, Connection: old.connection, Node: old.node,
		Version: scripts.Of(version), NewID: string(login.newID),
	}
	reply, _, err := settle[*scripts.DeleteReply](ctx, call, old.id, operation)
	if err == nil && reply.Word != "ok" {
		err = errorOf(reply.Said())
	}
	return err
}

// happened is an error after the login has happened: it is to be repeated, before the session ends; unless that is gone
// again.
func (login *login) happened(err error) error {
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrAmbiguous) {
		return err
	}
	return ambiguous(login.id, err)
}

// complete gives the session the connection that it had, if that is known, and its whole idle time. A login that is
// repeated may have come so far before.
func (login *login) complete(ctx context.Context, session *Session, old known) (*Session, error) {
	if session == nil {
		id, record, err := login.step(login.to, login.id).lookUp(ctx, login.newID)
		if err != nil {
			return nil, err
		}
		if session, err = sessionOf(id, record); err != nil {
			return nil, err
		}
	}
	now := known{id: login.newID, user: session.User, connection: session.Connection, node: session.Node}
	if old.connection != "" && now.connection == "" {
		isBound, err := login.bind(ctx, now, old)
		if err != nil {
			return nil, err
		}
		if isBound {
			now.connection, now.node = old.connection, old.node
		}
	}
	call := login.step(login.to, login.id)
	call.store.rules.RefreshThreshold, call.store.rules.TouchInterval = 1, 0
	reply, id, err := call.refresh(ctx, now, "record")
	if err != nil {
		return nil, err
	}
	return sessionOf(id, reply.Record)
}

// bind binds the connection under an id of its own, for a session that was brought in tells of no other call whether it
// has happened. And what has no connection was not bound.
func (login *login) bind(ctx context.Context, now, old known) (bool, error) {
	operation := &scripts.Bind{
		ID: string(now.id), User: now.user, Connection: now.connection, Node: now.node,
		NewConnection: old.connection, NewNode: old.node,
	}
	operation.Policy = "refuse"
	reply, _, err := settle[*scripts.BindReply](ctx, login.step(login.to, NewOperationID()), now.id, operation)
	switch {
	case err != nil:
		return false, err
	case reply.Word == "ok" || reply.Word == "unchanged":
		return true, nil
	case reply.Word == "taken":
		return false, nil // another session of this partition has it by now, and keeps it
	default:
		return false, errorOf(reply.Said())
	}
}

func (login *login) byAnother(ctx context.Context, id ID) (*Rotated, error) {
	if login.store.space.scheme == SchemeToken {
		return nil, ErrRotated
	}
	return login.step(login.store.space.of(string(id)), login.id).byAnother(ctx, id)
}
