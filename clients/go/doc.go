// Package cloakroom keeps sessions in Redis. Lua scripts create, find, rotate and delete them, so each operation
// happens as a whole or not at all. The package is a client of Cloakroom: it carries Cloakroom's scripts, and shares a
// namespace with the clients in Rust, Python and Node.
//
// A Store sends commands through a Doer, for which any Redis client library will do. Many goroutines may use a Store.
// Each call takes a context; if that has no deadline, Options.Deadline applies.
//
// The error says how a call ended. errors.Is finds what the engine refuses (ErrMissing, ErrConflict and others, all of
// them ErrRefused), what did not happen (ErrNotExecuted) and what may have happened (ErrAmbiguous); errors.As finds the
// types with more detail, such as a ConflictError. The Store retries a call whose reply was lost until the deadline,
// and the call happens at most once. It does not retry Reap, because a second answer would hide the list of the first.
//
// Not there yet: migrations, reading events, cluster connections, and many sessions in one call. The README says more.
package cloakroom
