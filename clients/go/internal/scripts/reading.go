package scripts

import (
	"fmt"
	"strconv"
)

// Broken is a reply that is none of this contract.
type Broken struct{ Stem string }

func (broken *Broken) Error() string {
	return fmt.Sprintf("the reply of %s is not of this contract", broken.Stem)
}

// items are what a reply has, taken one after the other.
type items struct {
	all []any
	at  int
	// isBroken is set where an item is missing, or of another type.
	isBroken bool
}

func read(raw any) *items {
	all, ok := raw.([]any)
	return &items{all: all, isBroken: !ok}
}

func (items *items) left() int { return len(items.all) - items.at }

func (items *items) next() any {
	if items.left() == 0 {
		items.isBroken = true
		return nil
	}
	items.at++
	return items.all[items.at-1]
}

func (items *items) text() string {
	text, ok := Text(items.next())
	items.isBroken = items.isBroken || !ok
	return text
}

func (items *items) integer() int64 {
	number, ok := items.next().(int64)
	items.isBroken = items.isBroken || !ok
	return number
}

// record takes a record; nil, if what is there is none.
func (items *items) record() *Record {
	record, _ := DecodeRecord(items.text())
	return record
}

func (items *items) end(stem string) error {
	if items.isBroken || items.left() > 0 {
		return &Broken{Stem: stem}
	}
	return nil
}

// Text is a text that a server sent, by whatever type a client library tells it.
func Text(raw any) (string, bool) {
	switch text := raw.(type) {
	case string:
		return text, true
	case []byte:
		return string(text), true
	default:
		return "", false
	}
}

// Score is a score that a server sent: a text by RESP2, a number by RESP3.
func Score(raw any) (int64, bool) {
	if number, ok := raw.(float64); ok {
		return int64(number), true
	}
	if number, ok := raw.(int64); ok {
		return number, true
	}
	text, _ := Text(raw)
	number, err := strconv.ParseFloat(text, 64)
	return int64(number), err == nil
}
