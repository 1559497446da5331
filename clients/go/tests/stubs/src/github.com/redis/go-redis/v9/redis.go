// Package redis has the signatures of go-redis v9 that the README uses, to compile it where that is not at hand.
package redis

import (
	"context"
	"errors"
)

// Error is an error that the server answered.
type Error interface {
	error
	RedisError()
}

// Nil is the reply of a key that is not there; ErrPoolTimeout says that no connection was free.
var (
	Nil            = errors.New("redis: nil")
	ErrPoolTimeout = errors.New("redis: connection pool timeout")
)

// Client is a client.
type Client struct{}

// Cmd is a command.
type Cmd struct{}

// Cmder is any command.
type Cmder interface{}

// Pipeliner is a pipeline.
type Pipeliner interface {
	Do(ctx context.Context, args ...interface{}) *Cmd
	Exec(ctx context.Context) ([]Cmder, error)
}

// Do sends a command.
func (client *Client) Do(ctx context.Context, args ...interface{}) *Cmd { return nil }

// Pipeline begins a pipeline.
func (client *Client) Pipeline() Pipeliner { return nil }

// Result is the reply of a command.
func (cmd *Cmd) Result() (interface{}, error) { return nil, nil }
