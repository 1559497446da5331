package cloakroom

import (
	"context"
	"time"
)

const (
	// firstPause is between the first two attempts while there is no connection. Each next one is twice as long, up to
	// longestPause.
	firstPause   = 20 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// pauses are those of one call between attempts at which nothing was sent.
type pauses struct{ last time.Duration }

// wait waits before the next attempt; false: the context ends before that.
func (pauses *pauses) wait(ctx context.Context) bool {
	pauses.last *= 2
	switch {
	case pauses.last == 0:
		pauses.last = firstPause
	case pauses.last > longestPause:
		pauses.last = longestPause
	}
	return sleep(ctx, pauses.last) == nil
}

// sleep waits so long, or until the context ends.
func sleep(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
