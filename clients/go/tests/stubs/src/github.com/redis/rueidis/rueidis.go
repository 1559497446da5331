// Package rueidis has the signatures of rueidis v1 that the README uses, to compile it where that is not at hand.
package rueidis

import "context"

// Client is a client.
type Client interface {
	B() Builder
	Do(ctx context.Context, cmd Completed) RedisResult
}

// Builder makes commands.
type Builder struct{}

// Arbitrary is a command that is being made.
type Arbitrary struct{}

// Completed is a command.
type Completed struct{}

// RedisResult is a reply.
type RedisResult struct{}

// RedisError is an error that the server answered.
type RedisError struct{}

func (err *RedisError) Error() string { return "" }

// Arbitrary begins a command.
func (Builder) Arbitrary(token ...string) Arbitrary { return Arbitrary{} }

// Build ends it.
func (Arbitrary) Build() Completed { return Completed{} }

// ToAny is the reply.
func (RedisResult) ToAny() (any, error) { return nil, nil }

// IsRedisNil tells whether a reply is nil.
func IsRedisNil(err error) bool { return false }

// IsRedisErr is the error that the server answered, if it is one.
func IsRedisErr(err error) (*RedisError, bool) { return nil, false }
