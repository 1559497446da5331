package scripts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"cloakroom.example/cloakroom/internal/redistest"
)

const conformance = "../../../../lua/conformance"

type caseFile struct {
	Operation string         `json:"operation"`
	Defaults  map[string]any `json:"defaults"`
	Cases     []struct {
		Name   string         `json:"name"`
		Before []step         `json:"before"`
		Call   step           `json:"call"`
		After  map[string]any `json:"after"`
	} `json:"cases"`
}

type step struct {
	Operation string         `json:"operation"`
	With      map[string]any `json:"with"`
	Reply     []any          `json:"reply"`
	Command   []any          `json:"command"`
}

// runner runs the cases through the calls and the readers of this package.
type runner struct {
	*testing.T
	client *redistest.Client
	tag    string
}

var namespaces atomic.Int64

var nameless = regexp.MustCompile(`:(user|connection|node)::(sessions?|lease|events)$`)

func TestEveryCaseOfConformance(t *testing.T) {
	server, err := redistest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	client, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	count := 0
	for stem := range Known().Operations {
		var file caseFile
		readJSON(t, filepath.Join(conformance, stem+".json"), &file)
		for _, each := range file.Cases {
			count++
			t.Run(file.Operation+": "+each.Name, func(t *testing.T) {
				runner := &runner{T: t, client: client, tag: fmt.Sprintf("{case%d:0}", namespaces.Add(1))}
				for _, before := range each.Before {
					runner.step(before, file.Defaults)
				}
				runner.step(each.Call, file.Defaults)
				found := runner.dump()
				if !reflect.DeepEqual(found, each.After) {
					t.Errorf("after the call there is\n%s\nand should be\n%s", shownAs(found), shownAs(each.After))
				}
				runner.clean()
			})
		}
	}
	if count == 0 {
		t.Fatal("there is no case")
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		t.Fatal(path, err)
	}
}

func shownAs(value any) string {
	text, _ := json.MarshalIndent(value, "", " ")
	return string(text)
}

func (runner *runner) do(arguments ...any) any {
	reply, err := runner.client.Do(context.Background(), arguments...)
	if err != nil {
		runner.Fatalf("%q: %v", arguments[0], err)
	}
	return reply
}

func (runner *runner) named(text string) string {
	return strings.ReplaceAll(text, "{ns:p}", runner.tag)
}

func (runner *runner) step(step step, defaults map[string]any) {
	if step.Command == nil {
		if reply := runner.call(step, defaults); !reflect.DeepEqual(reply, step.Reply) {
			runner.Fatalf("%s answers\n%s\nand should answer\n%s", step.Operation, shownAs(reply), shownAs(step.Reply))
		}
		return
	}
	command := make([]any, len(step.Command))
	for at, part := range step.Command {
		switch part := part.(type) {
		case map[string]any:
			raw, err := hex.DecodeString(part["hex"].(string))
			if err != nil {
				runner.Fatal(err)
			}
			command[at] = string(raw)
		case string:
			command[at] = runner.named(part)
		default:
			command[at] = part
		}
	}
	runner.do(command...)
}

// call runs a script once, by the type that has its arguments: a `need` is an answer and not followed.
func (runner *runner) call(step step, defaults map[string]any) []any {
	operation, isKnown := newCalls[step.Operation]
	if !isKnown {
		runner.Fatalf("%s is no operation", step.Operation)
	}
	call := operation()
	given := map[string]any{}
	for name, value := range defaults {
		given[name] = value
	}
	for name, value := range step.With {
		given[name] = value
	}
	runner.fill(reflect.ValueOf(call).Elem(), given)
	caller := call.(interface {
		Keys(tag string) []string
		Arguments() []string
	})
	keys := caller.Keys(runner.tag)
	for _, key := range keys {
		if nameless.MatchString(key) {
			runner.Fatalf("%s is sent, a key of an empty name", key)
		}
	}
	loaded := Source(step.Operation)
	command := []any{"EVALSHA", loaded.Sha1, len(keys)}
	for _, text := range append(keys, caller.Arguments()...) {
		command = append(command, text)
	}
	raw, err := runner.client.Do(context.Background(), command...)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		runner.do("SCRIPT", "LOAD", loaded.Source)
		raw, err = runner.client.Do(context.Background(), command...)
	}
	if err != nil {
		runner.Fatalf("%s: %v", step.Operation, err)
	}
	read := reflect.ValueOf(call).MethodByName("Read").Call([]reflect.Value{reflect.ValueOf(raw)})
	if err, _ := read[1].Interface().(error); err != nil {
		runner.Fatal(err)
	}
	return runner.flat(step.Operation, read[0].Elem())
}

// fill sets the fields of a call by the names of the bundle.
func (runner *runner) fill(call reflect.Value, given map[string]any) {
	for at := 0; at < call.NumField(); at++ {
		field, into := call.Type().Field(at), call.Field(at)
		if field.Anonymous {
			runner.fill(into, given)
			continue
		}
		value, isGiven := given[field.Tag.Get("wire")]
		if !isGiven {
			continue
		}
		switch into.Interface().(type) {
		case Number:
			if number, ok := value.(json.Number); ok {
				into.Set(reflect.ValueOf(Of(integer(number))))
			}
		case int64:
			into.SetInt(integer(value.(json.Number)))
		case string:
			into.SetString(runner.text(field.Tag.Get("wire"), value))
		default:
			for _, member := range value.([]any) {
				into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
				runner.fill(into.Index(into.Len()-1), member.(map[string]any))
			}
		}
	}
}

func integer(number json.Number) int64 {
	value, err := number.Int64()
	if err != nil {
		panic(err)
	}
	return value
}

// binary are the arguments that a case has in hex.
var binary = map[string]bool{"op_id": true, "lease_id": true, "task": true, "operations": true}

func (runner *runner) text(name string, value any) string {
	switch value := value.(type) {
	case json.Number:
		return value.String()
	case []any:
		if binary[name] {
			whole := ""
			for _, part := range value {
				whole += runner.text(name, part)
			}
			return whole
		}
		var entries []Entry
		text, _ := json.Marshal(value)
		if err := json.Unmarshal(text, &entries); err != nil {
			runner.Fatal(err)
		}
		return EncodeEntries(entries)
	default:
		if !binary[name] {
			return value.(string)
		}
		raw, err := hex.DecodeString(value.(string))
		if err != nil {
			runner.Fatal(err)
		}
		return string(raw)
	}
}

// shape is what the bundle says of a reply.
type shape struct {
	Word     string `json:"word"`
	Kind     string `json:"kind"`
	Fields   []name `json:"fields"`
	Optional []name `json:"optional"`
	Rest     []struct {
		Fields []name `json:"fields"`
		Times  string `json:"times"`
	} `json:"rest"`
}

type name struct {
	Name string `json:"name"`
}

var shapes struct {
	Operations map[string]struct {
		Replies []shape `json:"replies"`
		Needs   []shape `json:"needs"`
	} `json:"operations"`
}

func init() {
	if err := json.Unmarshal(bundleText, &shapes); err != nil {
		panic(err)
	}
}

func shapeOf(stem, word, kind string) (shape, error) {
	operation := shapes.Operations[stem]
	for _, each := range append(operation.Replies, operation.Needs...) {
		if (kind != "" && each.Kind == kind) || (kind == "" && each.Word == word) {
			return each, nil
		}
	}
	return shape{}, fmt.Errorf("%s has no reply %s %s", stem, word, kind)
}

// flat is a reply as a case has it.
func (runner *runner) flat(stem string, reply reflect.Value) []any {
	outcome := reply.FieldByName("Outcome").Interface().(Outcome)
	shape, err := shapeOf(stem, outcome.Word, outcome.Kind)
	if err != nil {
		runner.Fatal(err)
	}
	flat := []any{outcome.Word}
	if outcome.Kind != "" {
		flat = append(flat, outcome.Kind)
	}
	counted := map[string]string{}
	for _, rest := range shape.Rest {
		counted[rest.Times] = wireName(rest.Times)
	}
	for _, field := range shape.Fields {
		if list, ok := counted[field.Name]; ok {
			flat = append(flat, json.Number(strconv.Itoa(reply.FieldByName(list).Len())))
			continue
		}
		flat = append(flat, told(valueNamed(reply, field.Name)))
	}
	for _, field := range shape.Optional {
		if value := valueNamed(reply, field.Name); !value.IsZero() {
			flat = append(flat, told(value))
		}
	}
	for _, rest := range shape.Rest {
		rows := reply.FieldByName(listName(rest.Times, rest.Fields))
		for at := 0; at < rows.Len(); at++ {
			if len(rest.Fields) == 1 {
				flat = append(flat, told(rows.Index(at)))
				continue
			}
			for _, field := range rest.Fields {
				flat = append(flat, told(valueNamed(rows.Index(at), field.Name)))
			}
		}
	}
	return flat
}

// listName is the field that has what repeats in a reply.
func listName(times string, fields []name) string {
	switch {
	case times != "":
		return wireName(times)
	case len(fields) == 1:
		return wireName(fields[0].Name) + "s"
	default:
		return "Rows"
	}
}

func wireName(name string) string {
	written := ""
	for _, word := range strings.Split(name, "_") {
		switch word {
		case "":
		case "id":
			written += "ID"
		default:
			written += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return written
}

// valueNamed is the field of a reply that has a name of the bundle. One that a refusal has is in Outcome.
func valueNamed(reply reflect.Value, wire string) reflect.Value {
	var inner reflect.Value
	for at := 0; at < reply.NumField(); at++ {
		field := reply.Type().Field(at)
		switch {
		case field.Anonymous:
			inner = valueNamed(reply.Field(at), wire)
		case field.Tag.Get("wire") == wire && (!reply.Field(at).IsZero() || !inner.IsValid() || inner.IsZero()):
			return reply.Field(at)
		}
	}
	return inner
}

func told(value reflect.Value) any {
	switch value := value.Interface().(type) {
	case int64:
		return json.Number(strconv.FormatInt(value, 10))
	case *Record:
		return map[string]any{"record": shown(value)}
	default:
		return value
	}
}

// shown is a record as a case has it.
func shown(record *Record) map[string]any {
	if record == nil {
		return nil
	}
	fields := map[string]any{
		"kind": record.Kind, "status": record.Status,
		"user": record.User, "connection": record.Connection, "node": record.Node,
	}
	header := reflect.ValueOf(record.Header)
	for at := 0; at < header.NumField(); at++ {
		switch name := header.Type().Field(at).Tag.Get("wire"); {
		case name == "op_ids":
			fields["operations"] = hexed(header.Field(at).String(), 8)
		case name == "format" || name == "kind" || name == "status" || strings.HasSuffix(name, "_size"):
		default:
			fields[name] = told(header.Field(at))
		}
	}
	switch record.Kind {
	case "live":
		entries := []any{}
		for _, entry := range record.Entries {
			entries = append(entries, map[string]any{"kind": entry.Kind, "key": entry.Key, "json": entry.JSON})
		}
		fields["entries"] = entries
	case "departed":
		fields["task"], fields["place"] = hex.EncodeToString([]byte(record.Task)), record.Place
	default:
		fields["new_id"] = record.NewID
	}
	if freeze := record.Freeze; freeze != nil {
		fields["freeze"] = map[string]any{
			"task": hex.EncodeToString([]byte(freeze.Header.Task)), "status": freeze.Status,
			"direction": freeze.Direction, "place": freeze.Place, "node": freeze.Node,
			"frozen_until": told(reflect.ValueOf(freeze.Header.FrozenUntil)),
			"span":         told(reflect.ValueOf(freeze.Header.Span)),
			"copies_until": told(reflect.ValueOf(freeze.Header.CopiesUntil)),
		}
	}
	return fields
}

func hexed(raw string, size int) []any {
	var parts []any
	for ; raw != ""; raw = raw[size:] {
		parts = append(parts, hex.EncodeToString([]byte(raw[:size])))
	}
	return parts
}

func (runner *runner) keys() []string {
	var keys []string
	cursor := "0"
	for {
		reply := runner.do("SCAN", cursor, "MATCH", runner.tag+"*", "COUNT", 1000).([]any)
		for _, key := range reply[1].([]any) {
			text, _ := Text(key)
			keys = append(keys, text)
		}
		if cursor, _ = Text(reply[0]); cursor == "0" {
			sort.Strings(keys)
			return keys
		}
	}
}

func (runner *runner) clean() {
	if keys := runner.keys(); len(keys) > 0 {
		command := []any{"DEL"}
		for _, key := range keys {
			command = append(command, key)
		}
		runner.do(command...)
	}
}

func (runner *runner) dump() map[string]any {
	dump := map[string]any{}
	for _, key := range runner.keys() {
		dump[strings.Replace(key, runner.tag, "{ns:p}", 1)] = runner.value(key)
	}
	return dump
}

func (runner *runner) value(key string) any {
	switch kind := runner.do("TYPE", key).(string); kind {
	case "zset":
		members := map[string]any{}
		flat := runner.do("ZRANGE", key, 0, -1, "WITHSCORES").([]any)
		for at := 0; at < len(flat); at += 2 {
			member, _ := Text(flat[at])
			score, _ := Text(flat[at+1])
			members[member] = json.Number(score)
		}
		return map[string]any{"zset": members}
	case "stream":
		return map[string]any{"stream": events(runner.do("XRANGE", key, "-", "+"))}
	case "string":
		text, _ := Text(runner.do("GET", key))
		record, err := DecodeRecord(text)
		isRecord := strings.HasPrefix(key, runner.tag+":session:") || strings.HasPrefix(key, runner.tag+":aside:")
		switch {
		case err == nil && isRecord:
			return map[string]any{"record": shown(record)}
		case utf8.ValidString(text):
			return map[string]any{"string": text}
		default:
			return map[string]any{"hex": hex.EncodeToString([]byte(text))}
		}
	default:
		return map[string]any{"other": kind}
	}
}

func events(reply any) []any {
	events := []any{}
	for _, entry := range reply.([]any) {
		event := map[string]any{}
		fields := entry.([]any)[1].([]any)
		for at := 0; at < len(fields); at += 2 {
			name, _ := Text(fields[at])
			if value, _ := Text(fields[at+1]); value != "" {
				event[name] = value
			}
		}
		events = append(events, event)
	}
	return events
}
