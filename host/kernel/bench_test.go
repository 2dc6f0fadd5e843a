package kernel

import (
	"fmt"
	"testing"

	"multinicd/nic"
)

// What a look at the kernel costs at each wake: ten NICs, and as many with 100 Pods beside them.
func BenchmarkWake(b *testing.B) {
	for _, pods := range []int{0, 100} {
		b.Run(fmt.Sprintf("links=%d", 10+pods), func(b *testing.B) {
			n := newNamespace(b)
			for i := range 10 {
				l := n.veth(fmt.Sprintf("multinic%d", i), fmt.Sprintf("02:00:00:00:01:%02x", i))
				n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true, Add: prefixes(fmt.Sprintf("10.1.%d.10/24", i))})
			}
			for i := range pods {
				l := n.veth(fmt.Sprintf("cali%d", i), fmt.Sprintf("02:00:00:00:02:%02x", i))
				n.change(nic.Change{Index: l.Index, MAC: l.MAC, Up: true})
				n.route(l.Index, fmt.Sprintf("10.2.0.%d/32", i), "", 254, 12)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.Links(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
