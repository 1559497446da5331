package cloakroom

import (
	"context"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Selector is whose sessions are meant: UserSessions or NodeSessions.
type Selector struct{ kind, name string }

// UserSessions are those of a user.
func UserSessions(user string) Selector { return Selector{"user", user} }

// NodeSessions are those of a node.
func NodeSessions(node string) Selector { return Selector{"node", node} }

func (selector Selector) check() error {
	if selector.kind == "" {
		return invalid("selector", "is none: UserSessions or NodeSessions makes one")
	}
	return checkRequired(selector.kind, selector.name)
}

// partitions are those that may have such sessions.
func (selector Selector) partitions(space *namespace) []int {
	if selector.kind == "user" {
		return []int{space.of(selector.name)}
	}
	all := make([]int, space.count)
	for at := range all {
		all[at] = at
	}
	return all
}

func (selector Selector) key(tag string) string {
	if selector.kind == "user" {
		return scripts.UserKey(tag, selector.name)
	}
	return scripts.NodeKey(tag, selector.name)
}

// Count counts live sessions, in batches of 1,000, each at one instant.
func (store *Store) Count(ctx context.Context, selector Selector) (int64, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := selector.check(); err != nil {
		return 0, err
	}
	total := int64(0)
	for _, at := range selector.partitions(store.space) {
		found, err := store.begin(at).count(ctx, selector)
		if err != nil {
			return 0, err
		}
		total += found
	}
	return total, nil
}

func (call *call) count(ctx context.Context, selector Selector) (int64, error) {
	total, start := int64(0), int64(0)
	for {
		operation := &scripts.Count{Kind: selector.kind, Owner: selector.name, Start: scripts.Of(start)}
		reply, err := perform[*scripts.CountReply](ctx, call, operation)
		if err != nil {
			return 0, err
		}
		total += reply.Live
		if len(reply.IDs) > 0 {
			// Those that have no record are dropped.
			suspects := &scripts.Count{Kind: selector.kind, Owner: selector.name, Start: scripts.Of(0)}
			for _, id := range reply.IDs {
				suspects.Suspects = append(suspects.Suspects, scripts.CountSuspect{ID: id})
			}
			if _, err := run[*scripts.CountReply](ctx, call, suspects); err != nil {
				return 0, err
			}
		}
		if start = reply.Next; start == 0 {
			return total, nil
		}
	}
}
