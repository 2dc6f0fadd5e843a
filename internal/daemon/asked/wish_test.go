package asked

import (
	"testing"

	v1 "multinicd/api/v1"
)

func TestAWishHasTheFirstModeThatHolds(t *testing.T) {
	obj := &v1.MultiNicNodeConfig{}
	for name, row := range map[string]struct {
		wish Wish
		want Mode
	}{
		"nothing is known":  {Wish{}, ModeUnknown},
		"the object counts": {Wish{Object: obj}, ModeObject},
		"deleted":           {Wish{Gone: true, Before: obj}, ModeGone},
		"deleted, and one that cannot be read is new": {Wish{Gone: true, Before: obj, Unread: &Unread{}}, ModeUnread},
		"rolled back":                                  {Wish{Object: obj, Before: obj, Held: true}, ModeHeld},
		"rolled back, and the next waits":              {Wish{Object: obj, Before: obj, Held: true, Unreleased: obj}, ModeUnreleased},
		"given back, as the cluster asked":             {Wish{Object: obj, Cleaned: true}, ModeCleaned},
		"given back by hand, and the next waits":       {Wish{Object: obj, Left: true, Unreleased: obj}, ModeLeft},
		"the first waits, and nothing is in force yet": {Wish{Unreleased: obj}, ModeUnreleased},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.wish.Mode(); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}
