package cloakroom

import (
	"context"
	"errors"
	"net"
	"time"

	"cloakroom.example/cloakroom/internal/scripts"
)

// Doer sends one command to one Redis server and returns its reply: what a store needs of a client library. The
// arguments are strings, which may be any bytes.
//
// A reply is a string or []byte, an int64, a []any of those, or nil; in RESP3 a score may be a float64. An error that the
// server answered is a ServerError, or has a method RedisError() as those of go-redis. Any other error is of the
// connection: the command may have been executed, unless the error wraps ErrNotSent or is that of a connection that
// could not be made.
//
// A Doer sends each command once. Turn off the retries of a client library: a `reap` that is sent twice loses the report
// of what it removed.
type Doer interface {
	Do(ctx context.Context, args ...any) (any, error)
}

// Pipeliner is what a Doer may be besides. It sends several commands over one connection, in order, and returns as many
// replies, with the error that a server answered in the place of a reply. Without it a store sends such commands one
// after the other, which means the same and takes more round trips.
type Pipeliner interface {
	Doer
	Pipeline(ctx context.Context, commands ...[]any) ([]any, error)
}

// DoFunc makes a function a Doer.
type DoFunc func(ctx context.Context, args ...any) (any, error)

// Do calls the function.
func (do DoFunc) Do(ctx context.Context, args ...any) (any, error) {
	return do(ctx, args...)
}

// ServerError is an error that a server answered, as it said it: `NOSCRIPT No matching script`.
type ServerError string

func (err ServerError) Error() string { return string(err) }

// ErrNotSent says, wrapped in an error of a Doer, that the command was not sent.
var ErrNotSent = errors.New("not sent")

// serverError is what a server answered, if this error is that.
func serverError(err error) (ServerError, bool) {
	var ours ServerError
	if errors.As(err, &ours) {
		return ours, true
	}
	var theirs interface {
		error
		RedisError()
	}
	if errors.As(err, &theirs) {
		return ServerError(theirs.Error()), true
	}
	return "", false
}

// isUnsent tells whether an error of a connection says that nothing was sent.
func isUnsent(err error) bool {
	var network *net.OpError
	return errors.Is(err, ErrNotSent) || (errors.As(err, &network) && network.Op == "dial")
}

// exchange sends commands that may be executed any number of times, once there is a connection. A reply may be a
// ServerError.
func (store *Store) exchange(ctx context.Context, commands ...[]any) ([]any, error) {
	var pauses pauses
	for {
		replies, err := store.exchangeOnce(ctx, commands...)
		if !isUnsent(err) {
			return replies, err
		}
		store.clock.forget()
		if !pauses.wait(ctx) {
			return nil, err
		}
	}
}

// exchangeOnce sends them over a connection that is there.
//
// Ordering: the commands are executed in order. Others may be executed between them, and where the Doer has no pipeline
// some time passes. So TIME comes before the GET that it is for: what is found there was stored before TIME and was live
// at that moment, or was stored after it and was live then.
func (store *Store) exchangeOnce(ctx context.Context, commands ...[]any) ([]any, error) {
	if pipeliner, ok := store.doer.(Pipeliner); ok && len(commands) > 1 {
		replies, err := pipeliner.Pipeline(ctx, commands...)
		if err == nil && len(replies) != len(commands) {
			err = errors.New("the pipeline has another number of replies than of commands")
		}
		if err != nil {
			return nil, err
		}
		for at, reply := range replies {
			if failed, ok := reply.(error); ok {
				told, isServers := serverError(failed)
				if !isServers {
					return nil, failed
				}
				replies[at] = told
			}
		}
		return replies, nil
	}
	replies := make([]any, len(commands))
	for at, command := range commands {
		reply, err := store.doer.Do(ctx, command...)
		if err != nil {
			told, isServers := serverError(err)
			if !isServers {
				return nil, err
			}
			reply = told
		}
		replies[at] = reply
	}
	return replies, nil
}

// timeOf is the time of a reply to TIME, in milliseconds.
func timeOf(reply any) (int64, bool) {
	parts, ok := reply.([]any)
	if !ok || len(parts) != 2 {
		return 0, false
	}
	seconds, isNumber := scripts.Score(parts[0])
	micros, isFraction := scripts.Score(parts[1])
	return seconds*1000 + micros/1000, isNumber && isFraction
}

func milliseconds(duration time.Duration) int64 { return duration.Milliseconds() }

func fromMilliseconds(at int64) time.Time { return time.UnixMilli(at) }
