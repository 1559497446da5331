package cloakroom

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

func TestTheCopyOfALoginHasTheIDThatAllLanguagesCompute(t *testing.T) {
	text, err := os.ReadFile("../../lua/logins.json")
	if err != nil {
		t.Fatal(err)
	}
	var logins struct {
		Copies []struct {
			Seed        string
			OperationID string `json:"operation_id"`
			Version     uint64
			Copy        string
		}
	}
	if err := json.Unmarshal(text, &logins); err != nil {
		t.Fatal(err)
	}
	for _, each := range logins.Copies {
		kept, err := hex.DecodeString(each.OperationID + each.Seed)
		if err != nil {
			t.Fatal(err)
		}
		login, err := OperationIDOf(kept)
		if err != nil {
			t.Fatal(err)
		}
		copied := login.nth(each.Version)
		if found := hex.EncodeToString(copied.stored[:]); found != each.Copy {
			t.Errorf("of version %d it is %s, not %s", each.Version, found, each.Copy)
		}
	}
	if len(logins.Copies) == 0 {
		t.Error("there are no cases")
	}
}
