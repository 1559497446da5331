package cloakroom

import (
	"context"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Patch is a change of single attributes and extensions, of the status or of the ttl. What it does not name stays.
type Patch struct {
	// Set has values by key, of any kind that has a form in JSON. A json.RawMessage is stored as it is.
	Set map[string]any
	// Remove has keys.
	Remove []string
	// SetExtensions and RemoveExtensions are the same for extensions.
	SetExtensions    map[string]any
	RemoveExtensions []string
	// Status is the new one, if it is not empty.
	Status Status
	// TTL is the new one, if it is not 0.
	TTL time.Duration
	// Version, if it is not 0, is the only one that is changed.
	Version int64
}

// Patched is what a patch came to.
type Patched struct {
	// ID is another than asked for when the session was rotated a moment ago.
	ID        ID
	Version   int64
	ExpiresAt time.Time
	// Changed says that something was written: not where no attribute and no extension was named, and status and ttl are
	// what they were. To set a value to what it is counts as a change.
	Changed bool
}

// Patch changes a session. Patches of different attributes never conflict.
//
// Errors: ErrMissing, ErrConflict, ErrTooLarge, ErrFrozen, ErrFenced, ErrRotated, ErrDeparted.
//
// Atomicity: patch.lua makes all of the changes, or none.
func (store *Store) Patch(ctx context.Context, target SessionRef, patch Patch) (*Patched, error) {
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	known, err := target.target(store.space)
	if err != nil {
		return nil, err
	}
	changes, err := patch.encode(&store.rules)
	if err != nil {
		return nil, err
	}
	operation := &scripts.Patch{
		ID: string(known.id), User: known.user, Connection: known.connection, Node: known.node,
		Version: unlessZero(patch.Version), Status: string(patch.Status),
		TtlMs: unlessZero(milliseconds(patch.TTL)), Changes: changes,
	}
	reply, id, err := settle[*scripts.PatchReply](ctx, store.beginAt(known.id), known.id, operation)
	if err != nil {
		return nil, err
	}
	if reply.Word != "ok" && reply.Word != "unchanged" {
		return nil, errorOf(reply.Said())
	}
	return &Patched{idSince(reply.NewID, id), reply.Version, fromMilliseconds(reply.ExpiresAt), reply.Word == "ok"}, nil
}

func (patch *Patch) encode(rules *Rules) (string, error) {
	if patch.TTL != 0 {
		if err := checkDuration("ttl", patch.TTL, time.Millisecond, longest); err != nil {
			return "", err
		}
	}
	if patch.Status != "" {
		if err := checkOneOf("status", patch.Status, Active, Suspended); err != nil {
			return "", err
		}
	}
	if err := checkRange("version", patch.Version, 0, mostInteger); err != nil {
		return "", err
	}
	var changes []scripts.Entry
	for _, part := range []struct {
		kind   string
		set    map[string]any
		remove []string
	}{{"attribute", patch.Set, patch.Remove}, {"extension", patch.SetExtensions, patch.RemoveExtensions}} {
		values, err := valuesOf(part.kind, part.set)
		if err != nil {
			return "", err
		}
		set, err := entriesOf(rules, part.kind, values)
		if err != nil {
			return "", err
		}
		changes = append(changes, set...)
		for _, key := range part.remove {
			removal := scripts.Entry{Kind: part.kind, Key: key}
			if err := checkEntry(rules, removal); err != nil {
				return "", err
			}
			changes = append(changes, removal)
		}
	}
	if err := checkRange("changes", int64(len(changes)), 0, int64(rules.SessionEntries)); err != nil {
		return "", err
	}
	return scripts.EncodeEntries(changes), nil
}

// unlessZero is a number that is absent where it is 0.
func unlessZero(value int64) scripts.Number {
	if value == 0 {
		return scripts.Number{}
	}
	return scripts.Of(value)
}
