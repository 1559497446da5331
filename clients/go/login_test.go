package cloakroom_test

import (
	"fmt"
	"testing"

	"cloakroom.example/cloakroom"
)

func TestALoginLeadsIntoTheUsersPartition(t *testing.T) {
	rules := cloakroom.Rules{SessionsPerUser: 1, OnLimit: cloakroom.Evict}
	store := open(t, cloakroom.Options{Partitions: 16, Rules: rules})
	for count := 0; count < 20; count++ {
		user := fmt.Sprintf("user %d", count)
		before := create(t, store, cloakroom.NewSession{User: user})
		visit := create(t, store, cloakroom.NewSession{
			Connection: fmt.Sprint(count), Node: "n", Attributes: map[string]any{"cart": count},
		})
		login := must[*cloakroom.Rotated](t)(store.Rotate(background, visit.ID, cloakroom.Rotation{User: user}))
		equal(t, login.Evicted, []cloakroom.Removed{{ID: before.ID}})
		found := must[*cloakroom.Session](t)(store.Get(background, login.Session.ID))
		if found.User != user || found.Connection != fmt.Sprint(count) || found.Node != "n" || found.TTL != visit.TTL {
			t.Errorf("after the login there is %v", found)
		}
		equal(t, found.Attributes, visit.Attributes)
		equal(t, found.ExpiresAt.Sub(found.LastActive), found.TTL)
		_, err := store.Get(background, visit.ID)
		wants(t, err, cloakroom.ErrRotated)
		equal(t, must[*cloakroom.Session](t)(store.SessionByConnection(background, fmt.Sprint(count))).ID, found.ID)
		equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions(user))), int64(1))
		_, err = store.Rotate(background, visit.ID, cloakroom.Rotation{User: user})
		wants(t, err, cloakroom.ErrRefused)
	}
}

func TestALoginThatIsRepeatedEndsWithTheSameSession(t *testing.T) {
	store := open(t, cloakroom.Options{Partitions: 16})
	for count := 0; count < 10; count++ {
		visit, user := create(t, store, cloakroom.NewSession{}), fmt.Sprintf("user %d", count)
		once := store.WithOperationID(cloakroom.NewOperationID())
		first := must[*cloakroom.Rotated](t)(once.Rotate(background, visit.ID, cloakroom.Rotation{User: user}))
		second, err := once.Rotate(background, visit.ID, cloakroom.Rotation{User: user})
		if err != nil || second.Session.ID != first.Session.ID {
			t.Errorf("the second login is %v, %v", second, err)
		}
		equal(t, must[int64](t)(store.Count(background, cloakroom.UserSessions(user))), int64(1))
	}
}
