package cloakroom

import (
	"context"
	"sort"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// mostExpired is how many expired sessions one script tells.
const mostExpired = 1000

// Expired is a session that has expired and was not reaped.
type Expired struct {
	ID        ID
	ExpiresAt time.Time
}

// Expired lists sessions that expired before a time and were not reaped, oldest first, at most 1,000; the zero time
// means now.
func (store *Store) Expired(ctx context.Context, before time.Time, limit int) ([]Expired, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := checkRange("limit", int64(limit), 1, mostExpired); err != nil {
		return nil, err
	}
	until := scripts.Number{}
	if !before.IsZero() {
		if err := checkRange("before", before.UnixMilli(), 0, mostInteger); err != nil {
			return nil, err
		}
		until = scripts.Of(before.UnixMilli())
	}
	var found []Expired
	for at := range store.space.tags {
		rows, err := store.begin(at).expired(ctx, until, int64(limit))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			// What is no session id is left out, for the reaper to remove.
			if ID(row.ID).check() == nil {
				found = append(found, Expired{ID(row.ID), fromMilliseconds(row.ExpiresAt)})
			}
		}
	}
	sort.SliceStable(found, func(one, other int) bool { return found[one].ExpiresAt.Before(found[other].ExpiresAt) })
	if len(found) > limit {
		found = found[:limit]
	}
	return found, nil
}

func (call *call) expired(ctx context.Context, before scripts.Number, limit int64) ([]scripts.ExpiredRow, error) {
	operation := &scripts.Expired{BeforeMs: before, Skip: scripts.Of(0)}
	operation.Limit = scripts.Of(limit)
	reply, err := perform[*scripts.ExpiredReply](ctx, call, operation)
	if err != nil {
		return nil, err
	}
	return reply.Rows, nil
}
