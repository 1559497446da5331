// Package cloakroom keeps sessions in Redis: made, found, rotated and cleared away by Lua scripts, so that each operation
// happens as a whole or not at all. It is a client of Cloakroom, whose scripts it carries, and works in one namespace
// beside those in Rust, Python and Node.
//
// A Store sends commands by a Doer, which any Redis client library can be, and is for use by many goroutines. Each call
// takes a context; where that has no deadline, Options.Deadline holds.
//
// What a call comes to is told by its error. errors.Is finds what the engine refuses (ErrMissing, ErrConflict and others,
// all of them ErrRefused), what did not happen (ErrNotExecuted) and what may have happened (ErrAmbiguous); errors.As finds
// the types that tell more, such as a ConflictError. A call whose reply was lost is sent again by itself until the
// deadline, and happens at most once; but Reap is not, since a second answer would hide the list of the first.
//
// Not there yet: migrations, reading events, cluster connections, and many sessions in one call. The README says more.
package cloakroom
