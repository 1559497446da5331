package cloakroom

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/scripts"
)

const (
	day = 24 * time.Hour
	// nodesPage is how many nodes a full page has.
	nodesPage = 500
)

// NodeIdentity is a process that goes by the name of a node, for as long as one lease: of one partition, or of each of
// several.
type NodeIdentity struct {
	name  string
	lease [8]byte

	mutex sync.Mutex
	// held and lost tell, by the tag of a partition, whether its lease is held, and how often one was lost there.
	held map[string]bool
	lost map[string]int
}

// NewNodeIdentity is a new one.
func NewNodeIdentity(name string) (*NodeIdentity, error) {
	if err := checkRequired("node", name); err != nil {
		return nil, err
	}
	identity := &NodeIdentity{name: name, held: map[string]bool{}, lost: map[string]int{}}
	draw(identity.lease[:])
	return identity, nil
}

// Name is the name of the node.
func (identity *NodeIdentity) Name() string { return identity.name }

// leaseIn is the id of its lease in a partition: each of several has its own, and another once one was lost there.
func (identity *NodeIdentity) leaseIn(space *namespace, tag string) string {
	if space.count == 1 {
		return string(identity.lease[:])
	}
	identity.mutex.Lock()
	defer identity.mutex.Unlock()
	sum := sha256.Sum256(append(identity.lease[:], fmt.Sprintf("%s %d", tag, identity.lost[tag])...))
	return string(sum[:8])
}

// note notes whether the lease of a partition is held, and tells whether it was. One that is lost is never renewed: the next
// one there has another id.
func (identity *NodeIdentity) note(tag string, isHeld, isLost bool) bool {
	identity.mutex.Lock()
	defer identity.mutex.Unlock()
	wasHeld := identity.held[tag]
	identity.held[tag] = isHeld
	if isLost {
		identity.lost[tag]++
	}
	return wasHeld
}

// Beat says what a heartbeat is for.
type Beat string

const (
	// Register begins a lease.
	Register Beat = "register"
	// Renew makes it last longer.
	Renew Beat = "renew"
	// Release ends it.
	Release Beat = "release"
)

// FencedError is an ErrFenced of a heartbeat, with the partitions where the lease is lost.
type FencedError struct{ Partitions []int }

func (err *FencedError) Error() string { return ErrFenced.Error() }

// Unwrap is ErrFenced.
func (err *FencedError) Unwrap() error { return ErrFenced }

// Heartbeat registers a node under a lease, renews that, or releases it, and returns until when it is held, by the
// server's clock. Renew it in a third of its length. By the node's own clock it is over when its length has passed since
// before the last renewal was sent. A lease that is over is never renewed: stop writing, and register anew. With one
// partition that takes a new NodeIdentity; of several, a FencedError names those where the lease is lost, and to
// register again with the same identity takes a new lease there.
//
// Errors: ErrLeased where another lease of the node is held; ErrFenced where this one is lost.
//
// Atomicity: heartbeat.lua, in each partition.
func (store *Store) Heartbeat(ctx context.Context, identity *NodeIdentity, beat Beat, lease time.Duration) (time.Time, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	err := firstOf(
		checkDuration("lease", lease, time.Millisecond, day),
		checkOneOf("beat", beat, Register, Renew, Release),
	)
	if err != nil {
		return time.Time{}, err
	}
	var until time.Time
	var gained []int
	fenced := &FencedError{}
	for at := range store.space.tags {
		ends, isGained, err := store.begin(at).beat(ctx, identity, beat, lease)
		var taken *LeasedError
		switch {
		case errors.Is(err, ErrFenced):
			fenced.Partitions = append(fenced.Partitions, at)
			continue
		case errors.As(err, &taken):
			// Another process goes by this name. What was taken beside it just now is given back.
			store.giveBack(identity, gained)
			return time.Time{}, taken
		case err != nil:
			return time.Time{}, err
		}
		if isGained {
			gained = append(gained, at)
		}
		if until.IsZero() || ends.Before(until) {
			until = ends
		}
	}
	if len(fenced.Partitions) > 0 {
		return time.Time{}, fenced
	}
	return until, nil
}

// giveBack releases the leases of some partitions. The heartbeat may have ended meanwhile, so each has a deadline of its
// own.
func (store *Store) giveBack(identity *NodeIdentity, gained []int) {
	for _, at := range gained {
		// Where it fails the lease ends by itself.
		ctx, cancel := store.bounded(context.Background())
		_, _, _ = store.begin(at).beat(ctx, identity, Release, time.Second)
		cancel()
		identity.note(store.space.tags[at], false, true)
	}
}

// beat is a heartbeat in one partition; it tells whether the lease was not held before.
func (call *call) beat(ctx context.Context, identity *NodeIdentity, beat Beat, lease time.Duration) (time.Time, bool, error) {
	tag := call.tag()
	operation := &scripts.Heartbeat{
		LeaseID: identity.leaseIn(call.store.space, tag), Node: identity.name,
		LeaseMs: scripts.Of(milliseconds(lease)), Want: string(beat),
	}
	operation.KeepMs = scripts.Of(milliseconds(day))
	reply, err := run[*scripts.HeartbeatReply](ctx, call, operation)
	if err != nil {
		return time.Time{}, false, err
	}
	switch reply.Word {
	case "ok":
	case "lapsed":
		identity.note(tag, false, true)
		return time.Time{}, false, ErrFenced
	default:
		return time.Time{}, false, errorOf(reply.Said())
	}
	wasHeld := identity.note(tag, beat != Release, false)
	return fromMilliseconds(reply.Deadline), !wasHeld, nil
}

// Node is a process that holds a lease, or held one lately.
type Node struct {
	Name       string
	LeaseUntil time.Time
	// IsLive says that it holds its lease, in each partition.
	IsLive bool
}

// Nodes reads which nodes hold a lease, or held one lately, by name. Count tells how many sessions one has.
func (store *Store) Nodes(ctx context.Context) ([]Node, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	found := map[string]Node{}
	for at := range store.space.tags {
		rows, err := store.begin(at).nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			node := Node{row.Node, fromMilliseconds(row.Deadline), row.Lease == "held"}
			if known, isKnown := found[row.Node]; isKnown {
				node.IsLive = node.IsLive && known.IsLive
				if known.LeaseUntil.Before(node.LeaseUntil) {
					node.LeaseUntil = known.LeaseUntil
				}
			}
			found[row.Node] = node
		}
	}
	nodes := make([]Node, 0, len(found))
	for _, name := range sortedKeys(found) {
		nodes = append(nodes, found[name])
	}
	return nodes, nil
}

// nodes reads those of one partition.
func (call *call) nodes(ctx context.Context) ([]scripts.NodesRow, error) {
	found, from := map[string]scripts.NodesRow{}, int64(0)
	for {
		// By the ends of their leases: a renewal moves a node behind the page, so none is passed over.
		command := []any{
			"ZRANGEBYSCORE", scripts.NodesKey(call.tag()), digits(from), "+inf", "WITHSCORES", "LIMIT", "0",
			digits(nodesPage),
		}
		replies, err := call.read(ctx, "nodes", command)
		if err != nil {
			return nil, err
		}
		page := entriesIn(replies[0])
		if err := call.standing(ctx, page, found); err != nil {
			return nil, err
		}
		if len(page) < nodesPage {
			rows := make([]scripts.NodesRow, 0, len(found))
			for _, row := range found {
				rows = append(rows, row)
			}
			return rows, nil
		}
		last := page[len(page)-1].at
		if last <= from {
			last = from + 1 // a whole page of one millisecond: what else ended in it is not seen this time
		}
		from = last
	}
}

// standing reads how the leases of nodes stand. What is no text is passed over, and forgotten when its time is over.
func (call *call) standing(ctx context.Context, page []entry, found map[string]scripts.NodesRow) error {
	if len(page) == 0 {
		return nil
	}
	operation := &scripts.Nodes{}
	for _, entry := range page {
		operation.Listeds = append(operation.Listeds, scripts.NodesListed{Node: entry.id})
	}
	reply, err := perform[*scripts.NodesReply](ctx, call, operation)
	if err != nil {
		return err
	}
	for _, row := range reply.Rows {
		if utf8.ValidString(row.Node) {
			found[row.Node] = row
		}
	}
	return nil
}
