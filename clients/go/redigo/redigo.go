// Package redigo lets a store of cloakroom send its commands by a pool of redigo.
package redigo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"cloakroom.example/cloakroom"
)

// Doer sends commands over the connections of a pool.
type Doer struct{ Pool *redis.Pool }

var _ cloakroom.Pipeliner = Doer{}

// Do sends a command.
func (doer Doer) Do(ctx context.Context, args ...any) (any, error) {
	replies, err := doer.Pipeline(ctx, args)
	if err != nil {
		return nil, err
	}
	if failed, ok := replies[0].(error); ok {
		return nil, failed
	}
	return replies[0], nil
}

// Pipeline sends several over one connection. It ends at the deadline of the context; redigo cannot be stopped before.
func (doer Doer) Pipeline(ctx context.Context, commands ...[]any) ([]any, error) {
	connection, err := doer.Pool.GetContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, cloakroom.ErrNotSent)
	}
	defer connection.Close()
	for _, command := range commands {
		if err := connection.Send(command[0].(string), command[1:]...); err != nil {
			return nil, err
		}
	}
	if err := connection.Flush(); err != nil {
		return nil, err
	}
	replies := make([]any, len(commands))
	for at := range replies {
		reply, err := receive(ctx, connection)
		var told redis.Error
		switch {
		case errors.As(err, &told):
			replies[at] = cloakroom.ServerError(told)
		case err != nil:
			return nil, err
		default:
			replies[at] = reply
		}
	}
	return replies, nil
}

func receive(ctx context.Context, connection redis.Conn) (any, error) {
	deadline, ends := ctx.Deadline()
	if !ends {
		return connection.Receive()
	}
	left := time.Until(deadline)
	if left <= 0 {
		// 0 would mean that there is no deadline.
		left = time.Nanosecond
	}
	return redis.ReceiveWithTimeout(connection, left)
}
