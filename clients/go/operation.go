package cloakroom

import (
	"context"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/scripts"
)

const (
	// rounds is how often a script may say that it needs something else, others being faster each time, before the call
	// gives up.
	rounds = 128
	// batch is how many sessions one script handles at most.
	batch = 200
	// bytesPerRead is how many bytes of sessions are read at once, but for one that is larger by itself.
	bytesPerRead = 2 << 20
)

// supplied is an operation that may answer that it needs something.
type supplied[R scripts.Reply] interface {
	scripts.Call[R]
	Supply(reply R) scripts.Want
}

// settle runs a script until it has all that it needs. It returns the reply, and the id under which the session was found.
func settle[R scripts.Reply](ctx context.Context, call *call, id ID, operation supplied[R]) (R, ID, error) {
	var none R
	var doubtBefore error // why an attempt may have happened that declared otherwise
	isFollowed := false
	for round := 0; round < rounds; {
		reply, err := run[R](ctx, call, operation)
		if err != nil {
			return none, id, err
		}
		said := reply.Said()
		switch {
		case said.Word == "need":
			doubtBefore = call.history.doubt
			progress, err := call.supply(ctx, operation, operation.Supply(reply))
			if err != nil {
				return none, id, call.doubting(err)
			}
			if !progress {
				round++
			}
		case said.Word == "again":
			if doubtBefore != nil {
				return none, id, call.ambiguous(doubtBefore)
			}
			call.isAgain, said.Word = true, "ok"
			return reply, id, nil
		case said.Word == "moved" && follows[R](operation):
			if isFollowed {
				// An id that was rotated away twice leads nowhere.
				return none, id, call.doubting(ErrMissing)
			}
			id, isFollowed = ID(said.NewID), true
			operation.(interface{ Follow(id string) }).Follow(said.NewID)
			// It went to another partition, if it was by a login.
			call.at = call.store.space.of(said.NewID)
		default:
			return reply, id, nil
		}
	}
	return none, id, call.doubting(contended())
}

// follows tells whether a call goes on under the id that its session has now.
func follows[R scripts.Reply](operation scripts.Call[R]) bool {
	stayer, ok := operation.(interface{ Stays() bool })
	return operation.Script().FollowsMoved && !(ok && stayer.Stays())
}

// supply does what a need asks for, and tells whether sessions went that were in the way, which is progress: a user with
// thousands of sessions takes many rounds.
func (call *call) supply(ctx context.Context, operation any, want scripts.Want) (bool, error) {
	switch {
	case want.Declare:
		heads, err := call.heads(ctx, want.IDs)
		if err == nil {
			call.declared = heads
			operation.(interface{ Declare(heads []scripts.Head) }).Declare(heads)
		}
		return false, err
	case want.Run == "reap":
		reaped, err := call.reap(ctx, want.IDs)
		if err != nil {
			return false, err
		}
		call.reaped = append(call.reaped, reaped.Sessions...)
		return len(reaped.Sessions)+len(reaped.Corrupt)+reaped.Unreadable > 0, nil
	case want.Run == "delete_user":
		removed, err := call.remove(ctx, want.Arguments["user"], want.IDs)
		if err != nil {
			return false, err
		}
		call.removed = append(call.removed, removed.told...)
		return len(removed.reply.Stale)+len(removed.reply.Corrupt)+int(removed.reply.Left) < len(want.IDs), nil
	default:
		return false, nil
	}
}

// evicted are all that were removed for the limit: before the call, and by it, as its reply names them.
func (call *call) evicted(ids []string) []Removed {
	return append(call.removed, told(call.declared, ids)...)
}

// told are sessions that a script names, with what was declared of them. What is no text cannot be told.
func told(declared []scripts.Head, ids []string) []Removed {
	var removed []Removed
	for _, id := range ids {
		if head, isTold := headOf(declared, id); isTold {
			removed = append(removed, Removed{ID(id), nameOf(head.Connection), nameOf(head.Node)})
		}
	}
	return removed
}

// headOf is what was declared of a session that a script names; false: it was not declared, or cannot be told.
func headOf(declared []scripts.Head, id string) (scripts.Head, bool) {
	for _, head := range declared {
		if head.ID == id {
			return head, utf8.ValidString(id)
		}
	}
	return scripts.Head{}, false
}

// nameOf is a name as it is told: what is no text is none.
func nameOf(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return ""
}

// heads reads where sessions are indexed. What has no record of a session is indexed nowhere that we know.
func (call *call) heads(ctx context.Context, ids []string) ([]scripts.Head, error) {
	raws, err := call.beginningsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	heads := make([]scripts.Head, len(ids))
	for at, id := range ids {
		heads[at] = scripts.ReadHead(id, raws[at])
	}
	return heads, nil
}

func (call *call) beginningsOf(ctx context.Context, ids []string) ([]string, error) {
	commands := make([][]any, len(ids))
	for at, id := range ids {
		commands[at] = []any{"GETRANGE", scripts.SessionKey(call.tag(), id), "0", digits(scripts.HeadBytes - 1)}
	}
	return call.strings(ctx, commands)
}

// strings reads strings; empty where there is none or a foreign type, which the script finds out.
func (call *call) strings(ctx context.Context, commands [][]any) ([]string, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	replies, err := call.exchange(ctx, commands...)
	if err != nil {
		return nil, err
	}
	found := make([]string, len(replies))
	for at, reply := range replies {
		if failed, ok := reply.(ServerError); ok && !failed.is("WRONGTYPE") {
			return nil, call.doubting(unlessError("record", failed))
		}
		found[at], _ = scripts.Text(reply)
	}
	return found, nil
}

// wholeRecords reads the records of expired sessions, which do not change any more: of as many as may be read at once.
func (call *call) wholeRecords(ctx context.Context, ids []string) ([]string, error) {
	raws, err := call.beginningsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	total, large := int64(0), []int(nil)
	for at, raw := range raws {
		size := scripts.ReadHead(ids[at], raw).Size
		if total > 0 && total+size > bytesPerRead {
			raws = raws[:at]
			break
		}
		total += size
		if size > int64(len(raw)) {
			large = append(large, at)
		}
	}
	commands := make([][]any, len(large))
	for place, at := range large {
		commands[place] = []any{"GET", scripts.SessionKey(call.tag(), ids[at])}
	}
	whole, err := call.strings(ctx, commands)
	if err != nil {
		return nil, err
	}
	for place, at := range large {
		raws[at] = whole[place]
	}
	return raws, nil
}
