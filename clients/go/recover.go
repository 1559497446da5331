package cloakroom

import (
	"context"
	"time"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/scripts"
)

// recoverRounds is how often a batch is read again whose sessions kept changing.
const recoverRounds = 12

// Recovery says whose sessions go to whom.
type Recovery struct {
	// Node is whose sessions they are, and To has them from then on.
	Node, To string
	// Drain takes them although the node holds its lease.
	Drain bool
	// Reconnect is how long a session has left at least, for its client to come back. Defaults to a minute.
	Reconnect time.Duration
	// Batch is how many are taken at once, at most 200. Defaults to 200.
	Batch int
}

// RecoveredSession is a session that was given to another node.
type RecoveredSession struct {
	ID      ID
	Version int64
	User    string
	// Connection is the one that it lost.
	Connection string
}

// Claimed is what Recover came to.
type Claimed struct {
	Sessions []RecoveredSession
	// Frozen are being migrated, Corrupt have broken records, and Stale kept changing: they stay.
	Frozen, Corrupt, Stale []ID
	// More says that others follow: call again.
	More bool
}

// Recover gives a batch of a node's sessions, the oldest, to another node that holds its lease: sessions of one whose
// lease has run out, or of one that is drained. Each gets the new node, loses its connection, and is suspended. Each is
// taken by one caller.
//
// Errors: ErrLeased where the node holds its lease and is not drained; ErrFenced where the other does not hold its own.
//
// Atomicity: recover.lua takes the batch of one partition at one instant.
func (store *Store) Recover(ctx context.Context, recovery Recovery) (*Claimed, error) {
	recovery.Reconnect = orElse(recovery.Reconnect, time.Minute)
	recovery.Batch = orElse(recovery.Batch, batch)
	err := firstOf(
		checkRequired("node", recovery.Node),
		checkRequired("to", recovery.To),
		checkDuration("reconnect", recovery.Reconnect, time.Millisecond, longest),
		checkRange("batch", int64(recovery.Batch), 1, batch),
	)
	if err == nil && recovery.Node == recovery.To {
		err = invalid("to", "is the node that the sessions are to leave")
	}
	if err != nil {
		return nil, err
	}
	claimed := &Claimed{}
	var refused error
	for at := range store.space.tags {
		if len(claimed.Sessions) > 0 {
			claimed.More = true
			break
		}
		// A partition whose lease is held keeps no other waiting.
		if err := store.recoverIn(ctx, at, recovery, claimed); err != nil {
			refused = err
		}
	}
	if refused != nil && len(claimed.Sessions) == 0 {
		return nil, refused
	}
	return claimed, nil
}

// recoverIn takes a batch of one partition, by a deadline of its own: a thousand empty ones take longer than a call may.
func (store *Store) recoverIn(ctx context.Context, partition int, recovery Recovery, claimed *Claimed) error {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	return store.begin(partition).recover(ctx, recovery, claimed)
}

// recover takes a batch of one partition.
func (call *call) recover(ctx context.Context, recovery Recovery, claimed *Claimed) error {
	call.isChange = true
	page, err := call.readPage(ctx, scripts.NodeKey(call.tag(), recovery.Node), "node", int64(recovery.Batch), nil)
	if err != nil {
		return err
	}
	claimed.More = claimed.More || page.isFull
	ids := page.ids()
	for round := 0; round < recoverRounds; round++ {
		reply, err := call.take(ctx, recovery, ids, claimed)
		if err != nil {
			return err
		}
		claimed.More = claimed.More || reply.Left > 0
		if ids = reply.Stale; len(ids) == 0 {
			return nil
		}
	}
	claimed.Stale = append(claimed.Stale, readable(ids)...)
	return nil
}

// take takes sessions. With none it lets go of the node.
func (call *call) take(
	ctx context.Context, recovery Recovery, ids []string, claimed *Claimed,
) (*scripts.RecoverReply, error) {
	heads, err := call.heads(ctx, ids)
	if err != nil {
		return nil, err
	}
	operation := &scripts.Recover{
		Node: recovery.Node, NewNode: recovery.To, When: "lapsed",
		ReconnectMs: scripts.Of(milliseconds(recovery.Reconnect)),
	}
	if recovery.Drain {
		operation.When = "always"
	}
	if identity := call.store.identity; identity != nil {
		operation.LeaseID = identity.leaseIn(call.store.space, call.tag())
	}
	operation.Declare(heads)
	reply, err := perform[*scripts.RecoverReply](ctx, call, operation)
	if err != nil {
		return nil, err
	}
	for _, row := range reply.Recovered {
		if head, isTold := headOf(heads, row.ID); isTold {
			taken := RecoveredSession{ID(row.ID), row.Version, nameOf(head.User), nameOf(head.Connection)}
			claimed.Sessions = append(claimed.Sessions, taken)
		}
	}
	claimed.Frozen = append(claimed.Frozen, readable(reply.Frozen)...)
	claimed.Corrupt = append(claimed.Corrupt, readable(reply.Corrupt)...)
	return reply, nil
}

// readable are those that can be told.
func readable(ids []string) []ID {
	var told []ID
	for _, id := range ids {
		if utf8.ValidString(id) {
			told = append(told, ID(id))
		}
	}
	return told
}
