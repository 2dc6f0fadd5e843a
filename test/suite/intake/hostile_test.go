package intake

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/sandbox"
)

// A publisher that means harm has as many requests worked on as it may, each as costly as it may be. The Deployment has 512 MiB.
func TestTheDoorKeepsWithinItsMemory(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.patientDoor()
	list := func(n int, fields string) []byte { // nodes without a name of their own are the same one, and nothing is written for it
		var nodes []string
		for i := range n {
			nodes = append(nodes, `{"nodeName":"`+strings.Replace(`hostile",`+fields, `",OWN`, fmt.Sprintf(`-%d",`, i), 1)+`}`)
		}
		return []byte("[" + strings.Join(nodes, ",") + "]")
	}
	token := c.token(viola)
	type row struct {
		name string
		body []byte
	}
	for _, row := range append([]row{
		{"as many NICs as are taken", list(1562, `OWN"interfaces":[`+strings.TrimSuffix(strings.Repeat("{},", 64), ",")+`]`)},
		{"as many nodes as are taken, each of which is wrong", list(4000, `OWN"interfaces":[{"macAddress":"`+strings.Repeat("x", 900)+`"}]`)},
	}, prerequisite.Long(
		row{"more NICs than a node may have", list(16, `"interfaces":[`+strings.TrimSuffix(strings.Repeat("{},", 80000), ",")+`]`)},
		row{"long values", list(16, `OWN"interfaces":[{"macAddress":"`+strings.Repeat("\U0001f642", 60000)+`"}]`)},
		row{"many keys", list(100, strings.TrimPrefix(manyKeys(2000), ","))},
		row{"deep values", list(190, `"x":`+strings.Repeat(`{"x":`, 3000)+"1"+strings.Repeat("}", 3000))},
	)...) {
		t.Run(row.name, func(t *testing.T) {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					switch a, err := d.try(d.request(token, providerA, row.body)); {
					case err != nil:
						t.Error(err)
					case a.Status != http.StatusUnprocessableEntity || a.Applied != 0:
						t.Errorf("%.300s", a.brief())
					}
				})
			}
			all.Wait()
			most, err := sandbox.Memory(d.PID(), "VmHWM:")
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("so far %.0f MiB at most", most); most > 512 {
				t.Errorf("the door had %.0f MiB", most)
			}
		})
	}
}

// manyKeys are keys that the API does not know.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"key-%d":{}`, i)
	}
	return b.String()
}
