package cloakroom_test

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"cloakroom.example/cloakroom"
	"cloakroom.example/cloakroom/internal/redistest"
	"cloakroom.example/cloakroom/internal/scripts"
)

func TestAStoreLoadsTheScriptsThatItCallsAndNoOthers(t *testing.T) {
	own := must[*redistest.Server](t)(redistest.Start())
	t.Cleanup(own.Stop)
	client := must[*redistest.Client](t)(own.Dial())
	t.Cleanup(client.Close)
	options := cloakroom.Options{Namespace: "own", Deadline: patience}
	must[*cloakroom.Store](t)(cloakroom.Connect(background, client, options))
	var loaded []string
	for stem, script := range scripts.Known().Operations {
		exists := must[any](t)(client.Do(background, "SCRIPT", "EXISTS", script.Sha1)).([]any)
		if exists[0] == int64(1) {
			loaded = append(loaded, stem)
		}
	}
	sort.Strings(loaded)
	equal(t, loaded, called(t))
}

// called are the operations of which the source makes calls.
func called(t *testing.T) []string {
	made, capital := regexp.MustCompile(`&scripts\.(\w+)\{`), regexp.MustCompile(`\B[A-Z]`)
	found := map[string]bool{}
	for _, file := range must[[]string](t)(filepath.Glob("*.go")) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, match := range made.FindAllStringSubmatch(string(must[[]byte](t)(os.ReadFile(file))), -1) {
			found[strings.ToLower(capital.ReplaceAllString(match[1], "_$0"))] = true
		}
	}
	stems := make([]string, 0, len(found))
	for stem := range found {
		stems = append(stems, stem)
	}
	sort.Strings(stems)
	return stems
}
