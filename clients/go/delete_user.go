package cloakroom

import (
	"context"
	"errors"
	"math"

	"cloakroom.example/cloakroom/internal/scripts"
)

// idleRounds is how often in a row a batch may remove nothing, because its sessions kept changing.
const idleRounds = 12

// UserDeleted is the result of DeleteUser.
type UserDeleted struct {
	// Removed are the sessions that were deleted. Close their connections.
	Removed []Removed
	// Corrupt are the sessions that stay because their records are broken.
	Corrupt []ID
	// Unreadable is how many more there were that cannot be returned: an id or a name is not valid
	// text.
	Unreadable int
}

// DeleteUser logs a user out everywhere: it deletes all sessions that the user has when it begins, or all except some.
// A session that is created meanwhile survives. After an error some may be deleted: call it again.
//
// Atomicity: delete_user.lua deletes 200 at one instant.
func (store *Store) DeleteUser(ctx context.Context, user string, keep ...SessionRef) (*UserDeleted, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	if err := checkRequired("user", user); err != nil {
		return nil, err
	}
	call := store.beginOf(user)
	call.isChange = true
	passed, err := call.kept(ctx, keep)
	if err != nil {
		return nil, err
	}
	done, newest, home := &UserDeleted{}, int64(math.MaxInt64), call.at
	for idle := 0; idle < idleRounds; {
		call.at = home
		made, page, err := call.pageOfUser(ctx, user, newest, batch+1+len(passed))
		if err != nil {
			return nil, err
		}
		if newest == math.MaxInt64 {
			newest = made // later ones survive
		}
		ids := without(page, passed)
		if len(ids) == 0 {
			return done, nil
		}
		// One more tells whether there are others.
		isWhole := len(ids) <= batch
		if !isWhole {
			ids = ids[:batch]
		}
		removed, err := call.remove(ctx, user, ids)
		if err != nil {
			return nil, err
		}
		done.add(removed, passed)
		count := len(removed.reply.Removed)
		// An entry in none of the lists was dropped: its session was rotated away, and is indexed under its new id, or it
		// had none.
		if isWhole && count+len(removed.reply.Corrupt) == len(ids) {
			return done, nil
		}
		if len(removed.reply.Stale) == len(ids) || (isWhole && count == 0) {
			idle++
		} else {
			idle = 0
		}
	}
	return nil, call.doubting(contended())
}

// kept are the ids of those that are to stay, old and new.
func (call *call) kept(ctx context.Context, keep []SessionRef) (map[string]bool, error) {
	kept, home := map[string]bool{}, call.at
	for _, target := range keep {
		known, err := target.target(call.store.space)
		if err != nil {
			return nil, err
		}
		kept[string(known.id)] = true
		if call.store.space.of(string(known.id)) != home {
			continue // it is not this user's
		}
		call.at = home
		id, _, err := call.lookUp(ctx, known.id)
		switch {
		case err == nil:
			kept[string(id)] = true
		case errors.Is(err, ErrRefused):
		default:
			return nil, err
		}
	}
	call.at = home
	return kept, nil
}

func (done *UserDeleted) add(removed removal, passed map[string]bool) {
	done.Removed = append(done.Removed, removed.told...)
	done.Unreadable += len(removed.reply.Removed) - len(removed.told)
	for _, id := range removed.reply.Corrupt {
		passed[id] = true
	}
	corrupt := readable(removed.reply.Corrupt)
	done.Corrupt = append(done.Corrupt, corrupt...)
	done.Unreadable += len(removed.reply.Corrupt) - len(corrupt)
}

// pageOfUser reads when a user's newest session was made, by whatever the server's clock said then; and the user's oldest
// entries, of those up to a time.
func (call *call) pageOfUser(ctx context.Context, user string, until int64, limit int) (int64, []string, error) {
	key, most := scripts.UserKey(call.tag(), user), "+inf"
	if until != math.MaxInt64 {
		most = digits(until)
	}
	replies, err := call.read(ctx, "user",
		[]any{"ZRANGE", key, "-1", "-1", "WITHSCORES"},
		[]any{"ZRANGEBYSCORE", key, "-inf", most, "LIMIT", "0", digits(int64(limit))},
	)
	if err != nil {
		return 0, nil, err
	}
	newest := int64(0)
	for _, entry := range entriesIn(replies[0]) {
		newest = entry.at
	}
	return newest, textsIn(replies[1]), nil
}

// removal is what delete_user answered, and what of it can be told.
type removal struct {
	reply *scripts.DeleteUserReply
	told  []Removed
}

// remove removes sessions of a user, live or expired.
func (call *call) remove(ctx context.Context, user string, ids []string) (removal, error) {
	heads, err := call.heads(ctx, ids)
	if err != nil {
		return removal{}, err
	}
	operation := &scripts.DeleteUser{User: user}
	operation.Declare(heads)
	reply, err := perform[*scripts.DeleteUserReply](ctx, call, operation)
	if err != nil {
		return removal{}, err
	}
	return removal{reply, told(heads, reply.Removed)}, nil
}

func without(ids []string, passed map[string]bool) []string {
	var left []string
	for _, id := range ids {
		if !passed[id] {
			left = append(left, id)
		}
	}
	return left
}
