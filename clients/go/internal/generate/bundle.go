package main

import (
	"encoding/json"
	"os"
)

// bundle is what the generator reads of bundle.json.
type bundle struct {
	Contract     int64   `json:"contract"`
	Accepts      []int64 `json:"accepts"`
	RecordFormat int64   `json:"record_format"`
	Record       record  `json:"record"`
	OtherRecords []struct {
		RecordFormat int64  `json:"record_format"`
		Record       record `json:"record"`
	} `json:"other_records"`
	Keys       map[string]key       `json:"keys"`
	Unnamed    string               `json:"unnamed"`
	Events     string               `json:"unnamed_events"`
	Operations map[string]operation `json:"operations"`
}

type record struct {
	layout
	HeadBytes         int              `json:"head_bytes"`
	Kinds             map[string]int64 `json:"kinds"`
	Statuses          map[string]int64 `json:"statuses"`
	DepartedTaskBytes int              `json:"departed_task_bytes"`
	Freeze            struct {
		layout
		Directions map[string]int64 `json:"directions"`
	} `json:"freeze"`
	Entry struct {
		layout
		Kinds map[string]int64 `json:"kinds"`
	} `json:"entry"`
}

// layout is a header of fixed size, and the texts behind it.
type layout struct {
	Header []struct {
		Name   string `json:"name"`
		Offset int    `json:"offset"`
		Bytes  int    `json:"bytes"`
		Type   string `json:"type"`
	} `json:"header"`
	HeaderBytes int      `json:"header_bytes"`
	Texts       []string `json:"texts"`
}

type operation struct {
	Summary   string     `json:"summary"`
	Keys      []key      `json:"keys"`
	Arguments []argument `json:"arguments"`
	Group     *group     `json:"group"`
	Replies   []reply    `json:"replies"`
	Needs     []need     `json:"needs"`
	Events    struct {
		Keys     []key `json:"keys"`
		OfMember []key `json:"of_member"`
	} `json:"events"`
	Moved  string `json:"moved"`
	Effect string `json:"effect"`
}

type key struct {
	Pattern string `json:"pattern"`
}

type group struct {
	Name      string     `json:"name"`
	Keys      []key      `json:"keys"`
	Arguments []argument `json:"arguments"`
}

type argument struct {
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Words      []string    `json:"words"`
	Empty      bool        `json:"empty"`
	EmptyMeans string      `json:"empty_means"`
	Default    interface{} `json:"default"`
	Role       string      `json:"role"`
	Note       string      `json:"note"`
}

type reply struct {
	Word     string     `json:"word"`
	Fields   []field    `json:"fields"`
	Optional []field    `json:"optional"`
	Rest     []repeated `json:"rest"`
}

type need struct {
	Kind    string     `json:"kind"`
	Fields  []field    `json:"fields"`
	Rest    []repeated `json:"rest"`
	Set     []string   `json:"set"`
	Declare string     `json:"declare"`
	Run     *run       `json:"run"`
}

type run struct {
	Operation string            `json:"operation"`
	IDs       string            `json:"ids"`
	Arguments map[string]string `json:"arguments"`
}

type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type repeated struct {
	Fields []field `json:"fields"`
	Times  string  `json:"times"`
}

func read(path string) (bundle, error) {
	var read bundle
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	return read, err
}
