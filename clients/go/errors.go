package cloakroom

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// The engine's refusals. Nothing was changed. `errors.Is` finds them; `errors.As` finds the types of those with more
// detail. ErrRefused matches all of them.
var (
	// ErrRefused is any refusal.
	ErrRefused = errors.New("the engine refused the operation")
	// ErrMissing says that there is no live session with this id.
	ErrMissing error = refusal("no live session with this id")
	// ErrExists says that a live session has this id already.
	ErrExists error = refusal("a live session has this id already")
	// ErrGone says that the session with this id was deleted, or replaced by a login, a moment ago.
	ErrGone error = refusal("the session with this id was deleted a moment ago")
	// ErrFrozen says that a migration has frozen the session.
	ErrFrozen error = refusal("the session is being migrated")
	// ErrFenced says that the node no longer holds its lease, or the session is another node's: it must not write any more.
	// A heartbeat returns a FencedError.
	ErrFenced error = refusal("the node no longer holds its lease, or the session is another node's")
	// ErrRotated says that the session has a newer id, which its client has, or will have in a moment: leave its cookie
	// alone. A RotatedError.
	ErrRotated error = refusal("the session has a newer id")
	// ErrConflict says that the session was changed since it was read. A ConflictError.
	ErrConflict error = refusal("the session was changed")
	// ErrDeparted says that a migration moved the session to another store. A DepartedError.
	ErrDeparted error = refusal("the session has departed to another store")
	// ErrLimit says that the user has as many sessions as allowed. A LimitError.
	ErrLimit error = refusal("the user has as many sessions as allowed")
	// ErrTooLarge says that the session's entries would be too large, or too many. A TooLargeError.
	ErrTooLarge error = refusal("the session's entries would be too large")
	// ErrTaken says that the connection is another live session's. A TakenError.
	ErrTaken error = refusal("the connection is another session's")
	// ErrLeased says that the node's lease is held: another process uses its name, or the node is not dead. A
	// LeasedError.
	ErrLeased error = refusal("the node's lease is held")
)

// The other errors of a call.
var (
	// ErrInvalid says that the input or the configuration is bad. Nothing was sent. An InvalidError.
	ErrInvalid = errors.New("invalid")
	// ErrNotExecuted says that the operation did not happen, for a reason that may pass: retry freely. A
	// NotExecutedError.
	ErrNotExecuted = errors.New("not executed")
	// ErrContended says that the sessions or indexes of the operation kept changing. It is the cause of a
	// NotExecutedError.
	ErrContended = errors.New("the session or its indexes kept changing")
	// ErrAmbiguous says that the operation may have happened. An AmbiguousError.
	ErrAmbiguous = errors.New("it may have happened")
	// ErrCorrupt says that the value under a key is not ours, or is broken. Nothing was changed. A CorruptError.
	ErrCorrupt = errors.New("corrupt")
	// ErrNotStarted says that a store cannot work in a namespace. A ForbiddenError, a ContractError or a MismatchError.
	ErrNotStarted = errors.New("the store does not start")
)

// refusal is a refusal without further detail.
type refusal string

func (err refusal) Error() string { return string(err) }

// Is reports that each refusal is an ErrRefused.
func (err refusal) Is(target error) bool { return target == ErrRefused }

// RotatedError is an ErrRotated. NewID is empty after a login, because an attacker who planted the old id would be
// logged in too.
type RotatedError struct{ NewID ID }

func (err *RotatedError) Error() string { return ErrRotated.Error() }

// Unwrap is ErrRotated.
func (err *RotatedError) Unwrap() error { return ErrRotated }

// ConflictError is an ErrConflict, with the version that the session is at.
type ConflictError struct{ Current int64 }

func (err *ConflictError) Error() string {
	return fmt.Sprintf("the session was changed and is at version %d", err.Current)
}

// Unwrap is ErrConflict.
func (err *ConflictError) Unwrap() error { return ErrConflict }

// DepartedError is an ErrDeparted, with the name of the store to which the session moved.
type DepartedError struct{ Place string }

func (err *DepartedError) Error() string {
	return fmt.Sprintf("the session has departed to %q", err.Place)
}

// Unwrap is ErrDeparted.
func (err *DepartedError) Unwrap() error { return ErrDeparted }

// LimitError is an ErrLimit, with the number of the user's live sessions.
type LimitError struct{ Live int64 }

func (err *LimitError) Error() string {
	return fmt.Sprintf("the user has %d sessions already", err.Live)
}

// Unwrap is ErrLimit.
func (err *LimitError) Unwrap() error { return ErrLimit }

// TooLargeError is an ErrTooLarge, with how many bytes the entries would take, and how many they
// would be.
type TooLargeError struct{ Bytes, Entries int64 }

func (err *TooLargeError) Error() string {
	return fmt.Sprintf("the session's %d entries would take %d bytes", err.Entries, err.Bytes)
}

// Unwrap is ErrTooLarge.
func (err *TooLargeError) Unwrap() error { return ErrTooLarge }

// TakenError is an ErrTaken, with the session that has the connection. Its id is a secret like any
// other.
type TakenError struct{ Holder ID }

func (err *TakenError) Error() string { return ErrTaken.Error() }

// Unwrap is ErrTaken.
func (err *TakenError) Unwrap() error { return ErrTaken }

// LeasedError is an ErrLeased, with the time until which the lease is held.
type LeasedError struct{ Until time.Time }

func (err *LeasedError) Error() string { return ErrLeased.Error() }

// Unwrap is ErrLeased.
func (err *LeasedError) Unwrap() error { return ErrLeased }

// InvalidError is an ErrInvalid, with the field that is bad.
type InvalidError struct{ Field, Why string }

func (err *InvalidError) Error() string { return err.Field + " " + err.Why }

// Unwrap is ErrInvalid.
func (err *InvalidError) Unwrap() error { return ErrInvalid }

// NotExecutedError is an ErrNotExecuted, with its cause.
type NotExecutedError struct{ Cause error }

func (err *NotExecutedError) Error() string { return "not executed: " + text(err.Cause) }

// Is tells that it is an ErrNotExecuted.
func (err *NotExecutedError) Is(target error) bool { return target == ErrNotExecuted }

// Unwrap is the cause.
func (err *NotExecutedError) Unwrap() error { return err.Cause }

// AmbiguousError is an ErrAmbiguous: the operation was sent, and no reply proves the outcome. Repeat it, with the same
// arguments, by WithOperationID.
type AmbiguousError struct {
	OperationID OperationID
	Cause       error
}

func (err *AmbiguousError) Error() string { return "it may have happened: " + text(err.Cause) }

// Is tells that it is an ErrAmbiguous.
func (err *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// Unwrap is the cause.
func (err *AmbiguousError) Unwrap() error { return err.Cause }

// CorruptError is an ErrCorrupt, with the name of the key. Where it is one of several, Member is the node whose key it is.
type CorruptError struct{ Key, Member string }

func (err *CorruptError) Error() string {
	if err.Member != "" {
		return fmt.Sprintf("corrupt %s of %q", err.Key, err.Member)
	}
	return "corrupt " + err.Key
}

// Unwrap is ErrCorrupt.
func (err *CorruptError) Unwrap() error { return ErrCorrupt }

// ForbiddenError is an ErrNotStarted: the server's ACL forbids what a store needs. Lacking has the missing permissions
// in the words of an ACL, such as `+del`.
type ForbiddenError struct{ Lacking []string }

func (err *ForbiddenError) Error() string {
	return "the server's ACL forbids what a store needs: its user lacks " + strings.Join(err.Lacking, " ")
}

// Unwrap is ErrNotStarted.
func (err *ForbiddenError) Unwrap() error { return ErrNotStarted }

// ContractError is an ErrNotStarted: the clients in this namespace use a later contract of the scripts.
type ContractError struct{ Found, Known int64 }

func (err *ContractError) Error() string {
	return fmt.Sprintf("the namespace is at contract %d, this client knows contract %d", err.Found, err.Known)
}

// Unwrap is ErrNotStarted.
func (err *ContractError) Unwrap() error { return ErrNotStarted }

// MismatchError is an ErrNotStarted: the namespace was made with another setting. Field is `partitions` or
// `id scheme`.
type MismatchError struct{ Field, Found, Wanted string }

func (err *MismatchError) Error() string {
	return fmt.Sprintf("the namespace has %s %s, not %s: that is fixed when it is made", err.Field, err.Found, err.Wanted)
}

// Unwrap is ErrNotStarted.
func (err *MismatchError) Unwrap() error { return ErrNotStarted }

// ambiguous is the error of a call that may have happened.
func ambiguous(id OperationID, cause error) error {
	return &AmbiguousError{OperationID: id.ofRepeat(), Cause: unclassed(cause)}
}

// unclassed is a cause without what errors.Is would find in it of the errors of this package: that a part of the call was
// refused, or not sent, is not true of the call.
func unclassed(cause error) error {
	for {
		var before *NotExecutedError
		var inner *AmbiguousError
		switch {
		case errors.As(cause, &inner):
			cause = inner.Cause
		case errors.As(cause, &before):
			cause = before.Cause
		case errors.Is(cause, ErrRefused), errors.Is(cause, ErrCorrupt), errors.Is(cause, ErrNotSent),
			errors.Is(cause, ErrInvalid), errors.Is(cause, ErrContended):
			return errors.New(cause.Error())
		default:
			return cause
		}
	}
}

func text(cause error) string {
	if cause == nil {
		return "sent, but no reply"
	}
	return cause.Error()
}

func contended() error { return &NotExecutedError{Cause: ErrContended} }

func invalid(field, form string, values ...any) error {
	return &InvalidError{Field: field, Why: fmt.Sprintf(form, values...)}
}

// errorOf is the error that the word of a reply stands for.
func errorOf(said *scripts.Outcome) error {
	switch said.Word {
	case "missing", "expired":
		return ErrMissing
	case "exists":
		return ErrExists
	case "gone":
		return ErrGone
	case "frozen":
		return ErrFrozen
	case "fenced", "lapsed":
		return ErrFenced
	case "moved", "rotated":
		return &RotatedError{NewID: ID(said.NewID)}
	case "departed":
		return &DepartedError{Place: said.Place}
	case "conflict":
		return &ConflictError{Current: said.Version}
	case "limit":
		return &LimitError{Live: said.Live}
	case "large":
		return &TooLargeError{Bytes: said.Bytes, Entries: said.Entries}
	case "taken":
		return &TakenError{Holder: ID(said.HolderID)}
	case "leased":
		return &LeasedError{Until: fromMilliseconds(said.Deadline)}
	case "corrupt":
		return &CorruptError{Key: said.Key, Member: said.Member()}
	default:
		return &CorruptError{Key: "reply with the word " + said.Word}
	}
}
