package cloakroom

import (
	"math"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// longest is the longest idle time and lifetime: ten years.
const longest = 10 * 365 * 24 * time.Hour

const (
	mostBytes   = 15 << 20
	mostEntries = 1_000_000
	mostLimit   = 500
)

// Policy says what happens to one session more than a user may have.
type Policy string

const (
	// Reject refuses it.
	Reject Policy = "reject"
	// Evict deletes the oldest.
	Evict Policy = "evict"
)

// Scheme says how the ids of sessions are made.
type Scheme string

const (
	// SchemeUUID makes ids at random. The id is the secret that a client holds.
	SchemeUUID Scheme = "uuid"
	// SchemeToken makes tokens, which clients hold; the ids are their hashes, and no secret.
	SchemeToken Scheme = "token"
)

// Rules are what holds for all sessions of a store; they should be the same in all clients of a namespace. A field that is
// zero has its default.
type Rules struct {
	// IDScheme is that of the namespace. Defaults to SchemeUUID.
	IDScheme Scheme
	// TTL is how long a session lives without being used. Defaults to 30 minutes.
	TTL time.Duration
	// MaxLifetime is how long a session lives at most, however much it is used. Defaults to no limit.
	MaxLifetime time.Duration
	// RefreshThreshold: a refresh extends a session when less than this part of its ttl is left. Defaults to 0.5.
	RefreshThreshold float64
	// TouchInterval: a refresh writes nothing when the session was used less than this ago, unless it would expire within
	// that time: then it is a read. For a service that refreshes with each request take a minute, or a twentieth of the
	// ttl if that is less. Defaults to 0: each refresh writes.
	TouchInterval time.Duration
	// Grace is how long an expired session stays stored, for a reaper to find out what it was. Defaults to an hour.
	Grace time.Duration
	// RotationGrace is how long the old id of a rotated session still leads to it. Defaults to 30 seconds.
	RotationGrace time.Duration
	// Tombstone is how long the id of a deleted session cannot be created again. Defaults to 30 seconds.
	Tombstone time.Duration
	// SessionsPerUser is how many live sessions a user may have, at most 500. Defaults to no limit.
	SessionsPerUser int
	// OnLimit says what happens to one more. Defaults to Reject.
	OnLimit Policy
	// ValueBytes is the largest JSON text of one attribute or extension. Defaults to 256 KiB.
	ValueBytes int
	// SessionBytes is what all entries of a session may take, with their keys and five bytes each. Defaults to 256 KiB.
	SessionBytes int
	// SessionEntries is how many entries a session may have, and how many a call may change. Defaults to 1,024.
	SessionEntries int
}

// settled are the rules with their defaults, checked.
func (rules Rules) settled() (Rules, error) {
	rules.IDScheme = orElse(rules.IDScheme, SchemeUUID)
	rules.TTL = orElse(rules.TTL, 30*time.Minute)
	rules.RefreshThreshold = orElse(rules.RefreshThreshold, 0.5)
	rules.Grace = orElse(rules.Grace, time.Hour)
	rules.RotationGrace = orElse(rules.RotationGrace, 30*time.Second)
	rules.Tombstone = orElse(rules.Tombstone, 30*time.Second)
	rules.OnLimit = orElse(rules.OnLimit, Reject)
	rules.ValueBytes = orElse(rules.ValueBytes, 256<<10)
	rules.SessionBytes = orElse(rules.SessionBytes, 256<<10)
	rules.SessionEntries = orElse(rules.SessionEntries, 1024)
	return rules, firstOf(
		checkOneOf("id_scheme", rules.IDScheme, SchemeUUID, SchemeToken),
		checkDuration("ttl", rules.TTL, time.Millisecond, longest),
		checkDuration("max_lifetime", rules.MaxLifetime, 0, longest),
		checkThreshold(rules.RefreshThreshold),
		checkDuration("touch_interval", rules.TouchInterval, 0, rules.TTL),
		checkDuration("grace", rules.Grace, time.Second, longest),
		checkDuration("rotation_grace", rules.RotationGrace, time.Millisecond, longest),
		checkDuration("tombstone", rules.Tombstone, time.Millisecond, longest),
		checkRange("sessions_per_user", int64(rules.SessionsPerUser), 0, mostLimit),
		checkOneOf("on_limit", rules.OnLimit, Reject, Evict),
		checkRange("value_bytes", int64(rules.ValueBytes), 1, mostBytes),
		checkRange("session_bytes", int64(rules.SessionBytes), 1, mostBytes),
		checkRange("session_entries", int64(rules.SessionEntries), 1, mostEntries),
	)
}

// fill sets the arguments that the rules are for.
func (rules *Rules) fill(frame *scripts.Frame) {
	frame.Threshold = scripts.Of(int64(math.Ceil(rules.RefreshThreshold * 1000)))
	frame.TouchMs = scripts.Of(milliseconds(rules.TouchInterval))
	frame.GraceMs = scripts.Of(milliseconds(rules.Grace))
	frame.RotationGraceMs = scripts.Of(milliseconds(rules.RotationGrace))
	frame.TombstoneMs = scripts.Of(milliseconds(rules.Tombstone))
	frame.Limit = scripts.Of(int64(rules.SessionsPerUser))
	frame.Policy = string(rules.OnLimit)
	frame.EntriesBytes = scripts.Of(int64(rules.SessionBytes))
	frame.EntriesMost = scripts.Of(int64(rules.SessionEntries))
}

// isTouchDue tells whether a refresh at a time has something to write, as the script decides it.
func (rules *Rules) isTouchDue(lastActive, expiresAt, now int64) bool {
	touch, since := milliseconds(rules.TouchInterval), now-lastActive
	if since < 0 {
		since = -since
	}
	return since >= touch || expiresAt-now <= touch
}

func orElse[V comparable](value, standard V) V {
	var none V
	if value == none {
		return standard
	}
	return value
}

func checkOneOf[V ~string](field string, value V, words ...V) error {
	for _, word := range words {
		if value == word {
			return nil
		}
	}
	return invalid(field, "is %q, must be one of %q", string(value), words)
}

func checkDuration(field string, value, least, most time.Duration) error {
	if value < least || value > most {
		return invalid(field, "is %v, must be %v to %v", value, least, most)
	}
	if value%time.Millisecond != 0 {
		return invalid(field, "is %v, must be whole milliseconds", value)
	}
	return nil
}

func checkThreshold(part float64) error {
	if !(part > 0 && part <= 1) {
		return invalid("refresh_threshold", "is %v, must be above 0 and at most 1", part)
	}
	return nil
}
