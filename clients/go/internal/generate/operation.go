package main

import (
	"log"
	"strconv"
	"strings"
)

// framed are the roles of arguments that are the same in many operations: whoever sends a call fills them in.
var framed = map[string]bool{"clock": true, "operation": true, "bound": true, "fence": true, "rule": true}

func isFramed(each argument) bool {
	return framed[each.Role]
}

// writeOperations writes a struct with the arguments of each operation, one with its reply, and what belongs to them.
func writeOperations(out *writer, from bundle) {
	writeFrame(out, from)
	writeOutcome(out, from)
	writeMember(out, from)
	for _, stem := range sorted(from.Operations) {
		each := written{out: out, stem: stem, name: goName(stem), operation: from.Operations[stem], bundle: from}
		each.writeArguments()
		each.writeCommand()
		each.writeReply()
		each.writeReading()
		each.writeNeeds()
		each.writeDeclare()
	}
}

// writeNewCalls writes how a call of each operation is made, by its stem, for tests that go by the bundle.
func writeNewCalls(out *writer, from bundle) {
	out.line("\nvar newCalls = map[string]func() any{")
	for _, stem := range sorted(from.Operations) {
		out.line("%s: func() any { return &%s{} },", quoted(stem), goName(stem))
	}
	out.line("}")
}

// written is an operation that is being written.
type written struct {
	out       *writer
	stem      string
	name      string
	operation operation
	bundle    bundle
}

func writeFrame(out *writer, from bundle) {
	out.line("// Frame has the arguments that many operations have, and that say nothing of what is to be done: the clock, the")
	out.line("// operation id and its bound, the node that writes, the rules. An operation sends those that it has.")
	out.line("type Frame struct {")
	seen := map[string]bool{}
	for _, stem := range sorted(from.Operations) {
		for _, each := range from.Operations[stem].Arguments {
			if isFramed(each) && !seen[each.Name] {
				seen[each.Name] = true
				writeArgument(out, each)
			}
		}
	}
	out.line("// Events is how many events a stream keeps; 0: none are told.")
	out.line("Events int64 `wire:\"events\"`")
	out.line("}")
}

func writeArgument(out *writer, each argument) {
	kind := "string"
	if each.Type == "integer" {
		kind = "Number"
	}
	if words := argumentNote(each); words != "" {
		out.line("// %s: %s.", goName(each.Name), words)
	}
	out.line("%s %s `wire:%s`", goName(each.Name), kind, quoted(each.Name))
}

func argumentNote(each argument) string {
	var clauses []string
	if len(each.Words) > 0 {
		clauses = append(clauses, strings.Join(each.Words, ", "))
	}
	if each.EmptyMeans != "" {
		clauses = append(clauses, "empty means "+each.EmptyMeans)
	}
	if each.Note != "" {
		clauses = append(clauses, each.Note)
	}
	return sentence(strings.Join(clauses, "; "))
}

func writeOutcome(out *writer, from bundle) {
	out.line("\n// Outcome is what every reply has: its word, the kind of a need, and the fields of what is no success.")
	out.line("type Outcome struct {")
	out.line("Word string `wire:\"word\"`")
	out.line("Kind string `wire:\"kind\"`")
	seen := map[string]bool{}
	for _, stem := range sorted(from.Operations) {
		for _, reply := range from.Operations[stem].Replies {
			for _, each := range append(reply.Fields, reply.Optional...) {
				if isRefusal(reply.Word) && !seen[each.Name] {
					seen[each.Name] = true
					out.line("%s %s `wire:%s`", goName(each.Name), goType(each), quoted(each.Name))
				}
			}
		}
	}
	out.line("}")
}

// writeMember writes which of several is meant where a reply says that what is stored is corrupt.
func writeMember(out *writer, from bundle) {
	var fields []string
	seen := map[string]bool{"key": true}
	for _, stem := range sorted(from.Operations) {
		for _, reply := range from.Operations[stem].Replies {
			for _, each := range append(reply.Fields, reply.Optional...) {
				if reply.Word == "corrupt" && !seen[each.Name] {
					seen[each.Name] = true
					fields = append(fields, "outcome."+goName(each.Name))
				}
			}
		}
	}
	out.line("\n// Member is which of several is meant where what is stored is corrupt; empty: there is one alone.")
	out.line("func (outcome *Outcome) Member() string { return first(%s) }", strings.Join(fields, ", "))
}

// isRefusal tells whether a word says that a call did not come to what it was for.
func isRefusal(word string) bool {
	switch word {
	case "ok", "again", "unchanged", "part":
		return false
	}
	return true
}

func (of written) writeArguments() {
	if group := of.operation.Group; group != nil {
		of.out.line("\n// %s%s has what %s is told of one of its group.", of.name, goName(group.Name), of.stem)
		of.out.line("type %s%s struct {", of.name, goName(group.Name))
		for _, each := range group.Arguments {
			writeArgument(of.out, each)
		}
		of.out.line("}")
	}
	of.out.line("\n// %s is a call of the operation %s: %s.", of.name, of.stem, sentence(of.operation.Summary))
	of.out.line("type %s struct {", of.name)
	of.out.line("Frame")
	for _, name := range of.namesWithoutArgument() {
		of.out.line("%s string `wire:%s`", goName(name), quoted(name))
	}
	for _, each := range of.operation.Arguments {
		if !isFramed(each) {
			writeArgument(of.out, each)
		}
	}
	if group := of.operation.Group; group != nil {
		of.out.line("%s []%s%s `wire:%s`", plural(goName(group.Name)), of.name, goName(group.Name), quoted(group.Name))
	}
	of.out.line("}")
}

// namesWithoutArgument are those that patterns have, and no argument.
func (of written) namesWithoutArgument() []string {
	known := map[string]bool{}
	for _, each := range of.operation.Arguments {
		known[each.Name] = true
	}
	var found []string
	for _, key := range of.operation.Keys {
		for _, names := range parse(key.Pattern).names {
			for _, name := range names {
				if !known[name] {
					known[name] = true
					found = append(found, name)
				}
			}
		}
	}
	return found
}

func (of written) has(name string) bool {
	for _, each := range of.operation.Arguments {
		if each.Name == name {
			return true
		}
	}
	for _, each := range of.namesWithoutArgument() {
		if each == name {
			return true
		}
	}
	return false
}

func (of written) writeCommand() {
	out := of.out
	out.line("\n// Script is what %s runs.", of.stem)
	out.line("func (*%s) Script() Script {", of.name)
	out.line("return Script{Stem: %s, Effect: %s, FollowsMoved: %t, TakesBound: %t}",
		quoted(of.stem), quoted(of.operation.Effect), of.operation.Moved == "follow", of.has("bound_ms"))
	out.line("}")
	out.line("\n// Framed is where the arguments are filled in that many operations have.")
	out.line("func (call *%s) Framed() *Frame { return &call.Frame }", of.name)
	of.writeKeys()
	of.writeValues()
}

func (of written) writeKeys() {
	out := of.out
	out.line("\n// Keys are the KEYS of the call.")
	out.line("func (call *%s) Keys(tag string) []string {", of.name)
	unnamed := `""`
	if of.has("id") {
		unnamed = parse(of.bundle.Unnamed).instead("call")
	}
	if of.needsUnnamed() {
		out.line("unnamed := %s", unnamed)
	}
	out.line("keys := []string{")
	for _, each := range of.operation.Keys {
		out.line("%s,", parse(each.Pattern).expression("call", "unnamed"))
	}
	out.line("}")
	group := of.operation.Group
	if group != nil {
		out.line("for _, each := range call.%s {", plural(goName(group.Name)))
		instead := `""`
		for _, argument := range group.Arguments {
			if argument.Name == "id" {
				instead = parse(of.bundle.Unnamed).instead("each")
			}
		}
		out.line("unnamed := %s", instead)
		out.line("keys = append(keys,")
		for _, each := range group.Keys {
			out.line("%s,", parse(each.Pattern).expression("each", "unnamed"))
		}
		out.line(")")
		out.line("}")
	}
	of.writeEvents()
	out.line("return keys")
	out.line("}")
}

func (of written) needsUnnamed() bool {
	for _, each := range of.operation.Keys {
		if len(parse(each.Pattern).names) > 0 {
			return true
		}
	}
	return false
}

func (of written) writeEvents() {
	events, out := of.operation.Events, of.out
	if len(events.Keys) == 0 {
		return
	}
	stream := "tag + " + quoted(parse(of.bundle.Events).texts[0])
	out.line("if call.Events > 0 {")
	out.line("keys = append(keys,")
	for _, each := range events.Keys {
		out.line("%s,", parse(each.Pattern).expression("call", stream))
	}
	out.line(")")
	if len(events.OfMember) > 0 {
		out.line("for _, each := range call.%s {", plural(goName(of.operation.Group.Name)))
		out.line("keys = append(keys,")
		for _, each := range events.OfMember {
			out.line("%s,", parse(each.Pattern).expression("each", stream))
		}
		out.line(")")
		out.line("}")
	}
	out.line("}")
}

// instead is what is sent for a key whose name is empty.
func (parsed pattern) instead(of string) string {
	return "tag + " + quoted(parsed.texts[0]) + " + " + of + "." + goName(parsed.names[0][0])
}

func (of written) writeValues() {
	out := of.out
	out.line("\n// Arguments are the ARGV of the call.")
	out.line("func (call *%s) Arguments() []string {", of.name)
	out.line("values := []string{")
	for _, each := range of.operation.Arguments {
		out.line("%s,", value("call", each))
	}
	out.line("}")
	if group := of.operation.Group; group != nil {
		out.line("for _, each := range call.%s {", plural(goName(group.Name)))
		out.line("values = append(values,")
		for _, each := range group.Arguments {
			out.line("%s,", value("each", each))
		}
		out.line(")")
		out.line("}")
	}
	if len(of.operation.Events.Keys) > 0 {
		out.line("if call.Events > 0 {")
		out.line("values = append(values, decimal(call.Events))")
		out.line("}")
	}
	out.line("return values")
	out.line("}")
}

func value(of string, each argument) string {
	field, standard := of+"."+goName(each.Name), each.standard()
	switch {
	case each.Type == "integer":
		return field + ".or(" + quoted(standard) + ")"
	case standard != "":
		return "first(" + field + ", " + quoted(standard) + ")"
	default:
		return field
	}
}

// standard is what is sent of an argument that is not given.
func (each argument) standard() string {
	switch known := each.Default.(type) {
	case nil:
		return ""
	case string:
		return known
	case float64:
		return strconv.FormatFloat(known, 'f', -1, 64)
	default:
		log.Fatalf("the default of %s is of no known type", each.Name)
		return ""
	}
}
