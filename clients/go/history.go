package cloakroom

import (
	"context"
	"errors"
	"time"
)

// alone is how long after its beginning a call is sent a second time, at the earliest. A script takes a call that comes
// within 100 milliseconds of its bound for the first of its kind; the rest is for clocks that run apart.
const alone = 110 * time.Millisecond

var errEarlierCall = errors.New("an earlier call under the same operation id ended without a reply")

// history is what a call knows of its own earlier attempts: when it began, by the server's clock, and whether one may
// have happened.
type history struct {
	// isGiven says that the caller gave the operation id, and may have sent a call under it.
	isGiven bool
	// began is the zero time where nobody knows.
	began time.Time
	// bound is a time of the server's from before the call began, if hasBound.
	bound    int64
	hasBound bool
	// doubt is why it may have happened, if it may.
	doubt error
	// asksTime says that the server is asked for its time before the next attempt.
	asksTime bool
}

func historyOf(id OperationID, isGiven bool) history {
	history := history{isGiven: isGiven, began: id.madeAt}
	if id.isRepeat {
		history.doubt, history.asksTime = errEarlierCall, true
	}
	return history
}

// lost notes that an attempt ended without a reply.
func (history *history) lost(reason error) { history.doubt, history.asksTime = reason, true }

// boundBy takes a time of the server's from before the call began: the earliest that was found counts, for attempts may
// come to servers whose clocks differ.
func (history *history) boundBy(clock *serverClock) {
	var found int64
	isFound := false
	if !history.began.IsZero() {
		found, isFound = clock.noLaterThan(history.began)
	}
	switch {
	case !isFound:
		history.hasBound = false
	case !history.hasBound || found < history.bound:
		history.bound, history.hasBound = found, true
	}
}

// wait waits until the call may be sent, if it may have been before.
func (history *history) wait(ctx context.Context) error {
	if history.doubt == nil || history.began.IsZero() {
		return ctx.Err()
	}
	if left := time.Until(history.began.Add(alone)); left > 0 {
		return sleep(ctx, left)
	}
	return ctx.Err()
}

// beginAnew is for a server that cannot tell whether the call has happened. One that was sent once, and answered, has
// not: it begins anew. Under an id that the caller gave it does not, but it asks for the server's time, if it did not
// before. False where neither helps.
func (history *history) beginAnew() bool {
	if history.doubt != nil || (history.isGiven && history.asksTime) {
		return false
	}
	if !history.isGiven {
		history.began = time.Now()
	}
	history.hasBound, history.asksTime = false, true
	return true
}
