// Package scripts has the operations of lua/bundle.json as Go types, and reads what is stored. The generator writes a
// struct with the arguments of each operation and one with its reply; what is written by hand is what they share.
package scripts

import (
	_ "embed"
	"encoding/json"
	"sync"
)

//go:generate go run ../generate -bundle ../../../../lua/bundle.json -into .

//go:embed bundle.json
var bundleText []byte

// Loaded is a script as it is loaded: its source, and its name for EVALSHA.
type Loaded struct {
	Source string `json:"source"`
	Sha1   string `json:"sha1"`
}

// Start is the script that proves that the user may run all that the others run.
type Start struct {
	Loaded
	Keys     []string `json:"keys"`
	Commands []string `json:"commands"`
}

// Bundle is what the embedded bundle has that is no code.
type Bundle struct {
	Start          Start             `json:"start"`
	NothingWritten []string          `json:"nothing_written"`
	Operations     map[string]Loaded `json:"operations"`
}

var (
	once  sync.Once
	known Bundle
)

// Known is the embedded bundle.
func Known() *Bundle {
	once.Do(func() {
		if err := json.Unmarshal(bundleText, &known); err != nil {
			panic("cloakroom: the embedded bundle is broken: " + err.Error())
		}
	})
	return &known
}

// Source is the script of an operation.
func Source(stem string) Loaded {
	return Known().Operations[stem]
}
