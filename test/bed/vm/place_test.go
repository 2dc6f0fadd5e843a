package vm

import (
	"fmt"
	"testing"

	"multinicd/test/bed/testhost"
)

func TestWhereNICsArePluggedIn(t *testing.T) {
	v := &VM{asked: Options{Bridges: 1}}
	taken := map[place]bool{}
	for i := range 13 + 31 {
		n, err := v.addNIC(testhost.NIC{MAC: fmt.Sprintf("fa:16:3e:00:02:%02x", i)})
		if err != nil {
			t.Fatal(err)
		}
		if taken[n.place] || n.place.bus == 0 && n.place.slot >= diskSlot || n.place.bus > 0 && n.place.slot == 0 {
			t.Errorf("NIC %d is in a place that is taken: %+v", i, n.place)
		}
		taken[n.place] = true
	}
	if _, err := v.addNIC(testhost.NIC{MAC: "fa:16:3e:00:02:ff"}); err == nil {
		t.Error("there is room for one more NIC than the buses have slots")
	}
	v.nics = v.nics[1:]
	if n, err := v.addNIC(testhost.NIC{MAC: "fa:16:3e:00:02:ff"}); err != nil || n.place != (place{0, firstSlot}) {
		t.Errorf("a NIC is plugged into %+v, %v, want the place that is free again", n, err)
	}
}
