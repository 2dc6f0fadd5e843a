package fault

import (
	"bytes"
	"os"
	"testing"

	"multinicd/test/bed"
)

// What ends the daemon on purpose is in the binary of these tests alone.
func TestWhatShipsHasNoFailpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags []string
		want bool
	}{{nil, false}, {[]string{"failpoint"}, true}} {
		binary, err := os.ReadFile(bed.Build(t, "./cmd/multinicd", c.tags...))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(binary, []byte("MULTINICD_FAILPOINT")); got != c.want {
			t.Errorf("built with tags %q the binary has failpoints: %v, want %v", c.tags, got, c.want)
		}
	}
}
