package cloakroom

import (
	"context"
	"errors"
	"fmt"

	"cloakroom.example/cloakroom/internal/scripts"
)

const (
	// attempts is how often one execution is sent at most.
	attempts = 10
	// beginnings is how often a call begins anew because four others changed its session since it began.
	beginnings = 32
)

// proofs are the words that prove, of a call that may have happened, that it has, or that it cannot any more. Another
// refusal may turn, and a first attempt that comes late would be executed then.
var proofs = map[string]bool{
	"ok": true, "again": true, "conflict": true, "exists": true, "gone": true, "moved": true, "rotated": true,
	"departed": true, "need": true,
}

var errUnsure = errors.New("the session has changed too often since then to prove it")

// call is one call of a store, with all the scripts that it runs.
type call struct {
	store *Store
	// at is the partition in which it works.
	at      int
	id      OperationID
	history history
	// isChange says that it is to change something: if a call under its operation id may have happened already, a server
	// that cannot be asked proves nothing.
	isChange bool
	// isNoted says that what it does is noted in a session, so that it may be asked for.
	isNoted bool
	// isAgain says that it had happened already: what its reply tells of before is what was declared.
	isAgain bool
	// declared are the sessions that the last script was told of.
	declared []scripts.Head
	// removed were deleted while making room, and reaped were expired and in the way.
	removed []Removed
	reaped  []*Session
}

// begin makes a call in a partition.
func (store *Store) begin(at int) *call {
	if store.operation != nil {
		id := *store.operation
		return &call{store: store, at: at, id: id, history: historyOf(id, true)}
	}
	id := NewOperationID()
	return &call{store: store, at: at, id: id, history: historyOf(id, false)}
}

// beginAt makes a call in the partition of a session.
func (store *Store) beginAt(id ID) *call { return store.begin(store.space.of(string(id))) }

// beginOf makes one in the partition of a user.
func (store *Store) beginOf(user string) *call { return store.begin(store.space.of(user)) }

func (call *call) tag() string { return call.store.space.tags[call.at] }

// perform runs a script once, and any other word than `ok` is an error.
func perform[R scripts.Reply](ctx context.Context, call *call, operation scripts.Call[R]) (R, error) {
	reply, err := run[R](ctx, call, operation)
	if err == nil && reply.Said().Word != "ok" {
		err = errorOf(reply.Said())
	}
	return reply, err
}

// run runs a script once, though it may be sent more often: it is loaded where the server does not have it, and what is
// sent again after a lost reply does not happen again.
func run[R scripts.Reply](ctx context.Context, call *call, operation scripts.Call[R]) (R, error) {
	script := operation.Script()
	call.isChange = call.isChange || script.Effect != "reads"
	call.isNoted = call.isNoted || script.Effect == "noted"
	for count := 0; count < beginnings; count++ {
		reply, err := deliver[R](ctx, call, operation)
		if err != nil || script.Effect != "noted" {
			return reply, call.doubting(err)
		}
		word := reply.Said().Word
		switch {
		case word != "unsure" && (call.history.doubt == nil || proofs[word]):
			return reply, nil
		case word != "unsure":
			return reply, call.ambiguous(call.history.doubt)
		case !call.history.beginAnew():
			return reply, call.ambiguous(errUnsure)
		}
	}
	var none R
	return none, call.doubting(contended())
}

// deliver sends a script until there is an answer, and reads that.
func deliver[R scripts.Reply](ctx context.Context, call *call, operation scripts.Call[R]) (R, error) {
	var none R
	var lost, last error
	var pauses pauses
	isLoaded := false
	script := operation.Script()
	for attempt := 0; attempt < attempts; attempt++ {
		if err := call.ready(ctx, operation.Framed(), script); err != nil {
			if last == nil || ctx.Err() != nil {
				last = err
			}
			break
		}
		raw, err := call.store.doer.Do(ctx, scripts.Command[R](operation, call.tag())...)
		told, isServers := serverError(err)
		switch {
		case err == nil:
			return readReply[R](operation, raw)
		case isServers && told.is("NOSCRIPT"):
			last = told
			if err := call.load(ctx, script.Stem); err != nil {
				last = err
				continue
			}
			// Not executed. Somebody may flush the scripts again, between the load and the call.
			attempt--
			if isLoaded && !pauses.wait(ctx) {
				return none, call.failed(script, lost, told)
			}
			isLoaded = true
		case isServers:
			if mayHaveWritten(told) && script.Effect != "reads" {
				return none, call.ambiguous(fmt.Errorf("the server stopped the script %s: %w", script.Stem, told))
			}
			// What was lost before may have happened.
			return none, call.failed(script, lost, told)
		case isUnsent(err):
			attempt-- // it was none
			call.store.clock.forget()
			if !pauses.wait(ctx) {
				return none, call.failed(script, lost, err)
			}
		default:
			lost, last = err, err
			if script.Effect != "reads" {
				call.history.lost(err)
			}
			if script.Effect == "reported_once" {
				return none, call.failed(script, lost, err)
			}
		}
	}
	return none, call.failed(script, lost, last)
}

func readReply[R scripts.Reply](operation scripts.Call[R], raw any) (R, error) {
	reply, err := operation.Read(raw)
	if err != nil {
		return reply, &CorruptError{Key: err.Error()}
	}
	return reply, nil
}

// ready waits until the next attempt may be sent, and fills in what all calls say. Each attempt does it anew, for it
// carries a bound.
func (call *call) ready(ctx context.Context, frame *scripts.Frame, script scripts.Script) error {
	if script.Effect == "noted" {
		if err := call.history.wait(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	clock := call.store.clock
	if script.TakesBound && (!clock.isKnown() || (script.Effect == "noted" && call.history.asksTime)) {
		if err := call.askTime(ctx); err != nil {
			return err
		}
	}
	call.history.boundBy(clock)
	call.store.rules.fill(frame)
	frame.OpID = string(call.id.stored[:])
	frame.BoundMs = scripts.Number{}
	if call.history.hasBound {
		frame.BoundMs = scripts.Of(call.history.bound)
	}
	frame.Events = call.store.space.events
	if identity := call.store.identity; identity != nil {
		frame.AsNode, frame.LeaseID = identity.name, identity.leaseIn(call.store.space, call.tag())
	}
	return nil
}

// askTime asks the server for its time.
func (call *call) askTime(ctx context.Context) error {
	replies, err := call.store.exchange(ctx, []any{"TIME"})
	if err == nil {
		_, err = call.store.sawTime(replies[0])
	}
	return err
}

// sawTime notes a reply to TIME.
func (store *Store) sawTime(reply any) (int64, error) {
	if err := unlessError("time", reply); err != nil {
		return 0, err
	}
	told, ok := timeOf(reply)
	if !ok {
		return 0, &CorruptError{Key: "reply to TIME"}
	}
	store.clock.saw(told)
	return told, nil
}

func (call *call) load(ctx context.Context, stem string) error {
	replies, err := call.store.exchange(ctx, []any{"SCRIPT", "LOAD", scripts.Source(stem).Source})
	if err != nil {
		return err
	}
	return unlessError("script", replies[0])
}

// failed is the error of a call that was not answered.
func (call *call) failed(script scripts.Script, lost, cause error) error {
	if lost != nil && script.Effect != "reads" {
		return call.ambiguous(cause)
	}
	return &NotExecutedError{Cause: cause}
}

// ambiguous is the error of a call that may have happened.
func (call *call) ambiguous(cause error) error {
	return ambiguous(call.id, cause)
}

// doubting is an error; or that the call is ambiguous, if it may have happened and the error does not prove what became
// of it.
func (call *call) doubting(err error) error {
	doubt := call.history.doubt
	switch {
	case err == nil || doubt == nil:
		return err
	case errors.Is(err, ErrNotExecuted) && call.isChange:
		return call.ambiguous(doubt)
	case (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMissing)) && call.isNoted:
		return call.ambiguous(doubt)
	default:
		return err
	}
}

// exchange sends commands that may be executed any number of times. A reply may be a ServerError.
func (call *call) exchange(ctx context.Context, commands ...[]any) ([]any, error) {
	var last error
	for attempt := 0; attempt < attempts && ctx.Err() == nil; attempt++ {
		replies, err := call.store.exchange(ctx, commands...)
		if err == nil {
			return replies, nil
		}
		last = err
		if isUnsent(err) {
			break
		}
	}
	if ctx.Err() != nil && !isUnsent(last) {
		last = ctx.Err()
	}
	return nil, call.doubting(&NotExecutedError{Cause: last})
}

// read sends commands that only read, the key of that name among them.
func (call *call) read(ctx context.Context, key string, commands ...[]any) ([]any, error) {
	replies, err := call.exchange(ctx, commands...)
	if err != nil {
		return nil, err
	}
	for _, reply := range replies {
		if err := unlessError(key, reply); err != nil {
			return nil, call.doubting(err)
		}
	}
	return replies, nil
}
