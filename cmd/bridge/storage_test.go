package main

import (
	"testing"

	"multinicd/internal/storageversion"
)

func TestWhatIsSaidOfStoredObjects(t *testing.T) {
	both := []string{"v1alpha1", "v1"}
	for want, test := range map[string]struct {
		result storageversion.Result
		dry    bool
	}{
		"a.b: all are stored as v1 already":                                                   {storageversion.Result{Version: "v1", Was: []string{"v1"}, Done: true}, false},
		"a.b: 7 objects would be written as v1; stored are v1alpha1, v1":                      {storageversion.Result{Version: "v1", Was: both, Seen: 7}, true},
		"a.b: 7 objects, 6 of them written now, are stored as v1; before it was v1alpha1, v1": {storageversion.Result{Version: "v1", Was: both, Seen: 7, Written: 6, Done: true}, false},
		"a.b: 6 of 7 objects written as v1; stored are still v1alpha1, v1":                    {storageversion.Result{Version: "v1", Was: both, Seen: 7, Written: 6, Left: []string{"n/o: no"}}, false},
	} {
		test.result.CRD = "a.b"
		if got := storageLine(test.result, test.dry); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
