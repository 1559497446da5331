package cloakroom

import (
	"context"
	"time"
)

// Options say how a store works. Only Namespace has to be given.
type Options struct {
	// Namespace is what the names of all keys begin with.
	Namespace string
	// Rules hold for all sessions.
	Rules Rules
	// Partitions is how many the namespace has, or is made with. Defaults to what it has, and to 1 where it is made.
	Partitions int
	// Deadline is how long a call takes at most whose context has no deadline. Defaults to 2 seconds.
	Deadline time.Duration
}

// Store is where sessions are. It is for use by many goroutines.
type Store struct {
	doer     Doer
	rules    Rules
	space    *namespace
	clock    *serverClock
	deadline time.Duration
	// operation is that of a call which is repeated.
	operation *OperationID
	// identity is the node that makes the calls as the owner of what it writes.
	identity *NodeIdentity
}

// Connect makes a store. It loads the scripts, proves that the server allows all that they do, and notes their contract
// in the namespace.
//
// Errors: ErrInvalid, ErrNotExecuted; and ErrNotStarted where the server forbids something, or the namespace was made
// otherwise.
func Connect(ctx context.Context, doer Doer, options Options) (*Store, error) {
	rules, err := options.Rules.settled()
	if err != nil {
		return nil, err
	}
	err = firstOf(
		checkNamespace(options.Namespace),
		checkRange("partitions", int64(options.Partitions), 0, mostPartitions),
		checkDuration("deadline", options.Deadline, 0, longest),
	)
	if err != nil {
		return nil, err
	}
	first := tagOf(options.Namespace, 0)
	store := &Store{
		doer: doer, rules: rules, clock: &serverClock{}, deadline: orElse(options.Deadline, 2*time.Second),
		space: &namespace{name: options.Namespace, count: 1, scheme: rules.IDScheme, tags: []string{first}},
	}
	ctx, cancel := store.bounded(ctx)
	defer cancel()
	return store, store.start(ctx, options.Partitions)
}

// Partitions is how many partitions the namespace has.
func (store *Store) Partitions() int { return store.space.count }

// NewID makes an id that fits a session of a user, or of nobody. Where ids are of tokens the token is what the client is
// to hold.
func (store *Store) NewID(user string) (ID, Token) {
	return store.space.newID(NewOperationID(), user)
}

// WithOperationID is the store for one call that is repeated, because it ended in an AmbiguousError, or that is to be
// recognized when it comes again.
func (store *Store) WithOperationID(id OperationID) *Store {
	other := *store
	other.operation = &id
	return &other
}

// AsNode is the store of a node: what it writes happens only while the node holds its lease, and to its own sessions.
func (store *Store) AsNode(identity *NodeIdentity) *Store {
	other := *store
	other.identity = identity
	return &other
}

// bounded is a context that ends.
func (store *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ends := ctx.Deadline(); ends {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, store.deadline)
}

// named is the node of a session that is put at a node, or at none in particular.
func (store *Store) named(node string) (string, error) {
	if store.identity == nil {
		return node, nil
	}
	if node != "" && node != store.identity.name {
		return "", invalid("node", "is not that of the node that makes the call")
	}
	return store.identity.name, nil
}
