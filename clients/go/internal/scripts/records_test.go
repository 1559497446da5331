package scripts

import (
	"encoding/hex"
	"path/filepath"
	"reflect"
	"testing"
)

func TestEveryRecordIsReadOrRefused(t *testing.T) {
	var records []struct {
		Name    string         `json:"name"`
		Hex     string         `json:"hex"`
		Record  map[string]any `json:"record"`
		Refused bool           `json:"refused"`
	}
	readJSON(t, filepath.Join(conformance, "records.json"), &records)
	if len(records) == 0 {
		t.Fatal("there is no record")
	}
	for _, each := range records {
		t.Run(each.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(each.Hex)
			if err != nil {
				t.Fatal(err)
			}
			record, err := DecodeRecord(string(raw))
			switch {
			case each.Refused && err == nil:
				t.Errorf("it is read as %v", shownAs(shown(record)))
			case !each.Refused && err != nil:
				t.Error(err)
			case !each.Refused && !reflect.DeepEqual(shown(record), each.Record):
				t.Errorf("it is read as\n%s\nand should be\n%s", shownAs(shown(record)), shownAs(each.Record))
			}
		})
	}
}
