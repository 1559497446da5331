package main

import (
	"log"
	"strconv"
	"strings"
)

// writeLayouts writes how records, freezes and entries are laid out.
func writeLayouts(out *writer, from bundle) {
	refuseOthers(from)
	out.line("const (")
	out.line("// Contract is the contract of the scripts that this client knows.")
	out.line("Contract = %d", from.Contract)
	out.line("// recordFormat is the format of a record that this client reads.")
	out.line("recordFormat = %d", from.RecordFormat)
	out.line("// HeadBytes is how much of a record to read for all but a session's entries.")
	out.line("HeadBytes = %d", from.Record.HeadBytes)
	out.line("taskBytes = %d", from.Record.DepartedTaskBytes)
	out.line(")")
	out.line("\n// Accepts has the noted contracts with which this client starts.")
	out.line("var Accepts = []int64{%s}", listed(from.Accepts))
	writeWords(out, "kinds", from.Record.Kinds)
	writeWords(out, "statuses", from.Record.Statuses)
	writeWords(out, "directions", from.Record.Freeze.Directions)
	writeWords(out, "entryKinds", from.Record.Entry.Kinds)
	writeKeys(out, from)
	writeLayout(out, "record", "Record", from.Record.layout)
	writeLayout(out, "freeze", "Freeze", from.Record.Freeze.layout)
	writeLayout(out, "entry", "Entry", from.Record.Entry.layout)
}

// refuseOthers ends the generator where a record may have another layout, of which it writes no reader yet: a client that
// takes such a record for corrupt would not work beside those that write it.
func refuseOthers(from bundle) {
	if len(from.OtherRecords) > 0 {
		log.Fatal("the bundle has other_records: write readers of their layouts, by the first byte of a record")
	}
}

func listed(numbers []int64) string {
	texts := make([]string, len(numbers))
	for at, number := range numbers {
		texts[at] = strconv.FormatInt(number, 10)
	}
	return strings.Join(texts, ", ")
}

func writeWords(out *writer, name string, words map[string]int64) {
	out.line("\nvar %s = map[int64]string{", name)
	for _, word := range sorted(words) {
		out.line("%d: %s,", words[word], quoted(word))
	}
	out.line("}")
}

func writeKeys(out *writer, from bundle) {
	for _, name := range sorted(from.Keys) {
		pattern := parse(from.Keys[name].Pattern)
		parameters := "tag string"
		for _, names := range pattern.names {
			parameters += ", " + names[0] + " string"
		}
		out.line("\n// %sKey is the key %s.", goName(name), from.Keys[name].Pattern)
		out.line("func %sKey(%s) string {", goName(name), parameters)
		expression := "tag + " + quoted(pattern.texts[0])
		for at, names := range pattern.names {
			expression += " + " + names[0]
			if text := pattern.texts[at+1]; text != "" {
				expression += " + " + quoted(text)
			}
		}
		out.line("return %s", expression)
		out.line("}")
	}
}

func writeLayout(out *writer, lower, upper string, layout layout) {
	out.line("\n// %sHeaderBytes is the size of the header of each %s.", upper, lower)
	out.line("const %sHeaderBytes = %d", upper, layout.HeaderBytes)
	out.line("\n// %sHeader has the fields of the header of each %s.", upper, lower)
	out.line("type %sHeader struct {", upper)
	for _, field := range layout.Header {
		kind := "int64"
		if field.Type == "bytes" {
			kind = "string"
		}
		out.line("%s %s `wire:%s`", goName(field.Name), kind, quoted(field.Name))
	}
	out.line("}")
	out.line("\n// read%sHeader reads a header that is there as a whole.", upper)
	out.line("func read%sHeader(raw string) %sHeader {", upper, upper)
	out.line("return %sHeader{", upper)
	for _, field := range layout.Header {
		piece := "raw[%d:%d]"
		if field.Type != "bytes" {
			piece = "number(raw[%d:%d])"
		}
		out.line("%s: "+piece+",", goName(field.Name), field.Offset, field.Offset+field.Bytes)
	}
	out.line("}")
	out.line("}")
	if len(layout.Texts) == 0 {
		return
	}
	out.line("\n// %sTexts are what stands behind the header.", upper)
	out.line("type %sTexts struct {", upper)
	for _, name := range layout.Texts {
		out.line("%s string", goName(name))
	}
	out.line("}")
	out.line("\n// read%sTexts reads what stands behind a header, and returns what is left; false: it is cut off.", upper)
	out.line("func read%sTexts(header %sHeader, raw string) (texts %sTexts, left string, whole bool) {", upper, upper, upper)
	for _, name := range layout.Texts {
		out.line("if texts.%s, raw, whole = cut(raw, header.%s); !whole {", goName(name), goName(name+"_size"))
		out.line("return texts, raw, false")
		out.line("}")
	}
	out.line("return texts, raw, true")
	out.line("}")
}
