package kernel

import (
	"context"
	"os"
	"testing"
	"time"

	"multinicd/nic"
)

// listen starts Events and gives the channel on which it wakes, once it has subscribed.
func listen(t *testing.T, n *namespace, relevant Relevant) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	wake, ready, done := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	n.in(func() {}) // the thread is free
	n.run <- func() { done <- n.Events(ctx, relevant, wake, func() { close(ready) }) }
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Events ended with %v", err)
		}
	})
	<-ready
	return wake
}

func woken(wake <-chan struct{}, wait time.Duration) bool {
	select {
	case <-wake:
		return true
	case <-time.After(wait):
		return false
	}
}

func TestEventsWakeForWhatIsRelevantOnly(t *testing.T) {
	n := newNamespace(t)
	ours, other := n.veth("multinic1", testMAC), n.veth("cali1", "02:00:00:00:01:02")
	n.quick("multinic1")
	n.quick("cali1")
	n.sysctl("net/ipv6/conf/multinic1/disable_ipv6", "1")
	n.sysctl("net/ipv6/conf/cali1/disable_ipv6", "1")
	wake := listen(t, n, func(index int, link bool) bool { return index == ours.Index || index == 0 })
	for _, step := range []struct {
		name   string
		change nic.Change
		want   bool
	}{
		{"another link comes up", nic.Change{Index: other.Index, MAC: other.MAC, Up: true}, false},
		{"another link gets an address and a route", nic.Change{Index: other.Index, MAC: other.MAC, Add: prefixes("203.0.113.9/24"),
			AddRoutes: []nic.Route{{To: prefixes("198.51.100.0/24")[0]}}}, false},
		{"ours comes up", nic.Change{Index: ours.Index, MAC: ours.MAC, Up: true}, true},
		{"ours gets an address", nic.Change{Index: ours.Index, MAC: ours.MAC, Add: prefixes("192.0.2.10/24")}, true},
		{"ours gets a route", nic.Change{Index: ours.Index, MAC: ours.MAC, AddRoutes: []nic.Route{{To: prefixes("198.51.101.0/24")[0]}}}, true},
		{"a rule comes", nic.Change{Index: ours.Index, MAC: ours.MAC, AddRules: []nic.Rule{{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}}}, true},
		{"a rule goes", nic.Change{Index: ours.Index, MAC: ours.MAC, DelRules: []nic.Rule{{Priority: 20001, From: prefixes("192.0.2.10/32")[0], Table: 10001}}}, true},
		{"ours is told how to answer ARP", nic.Change{Index: ours.Index, MAC: ours.MAC, Conf: &nic.Conf{ARPIgnore: 1, ARPAnnounce: 2, RPFilter: 2}}, true},
		{"ours loses a route", nic.Change{Index: ours.Index, MAC: ours.MAC, DelRoutes: []nic.Route{{To: prefixes("198.51.101.0/24")[0]}}}, true},
	} {
		for woken(wake, 50*time.Millisecond) {
		}
		n.change(step.change)
		wait := 10 * time.Second
		if !step.want {
			wait = 100 * time.Millisecond
		}
		if got := woken(wake, wait); got != step.want {
			t.Errorf("%s: woken is %v", step.name, got)
		}
	}
}

func TestEventsWakeForTheReversePathFilter(t *testing.T) {
	n := newNamespace(t)
	ours, _ := n.veth("multinic1", testMAC), n.veth("cali1", "02:00:00:00:01:02")
	// Which namespace a file of /proc/sys/net is of is settled when it is opened; the thread is taken afterwards.
	files := map[string]*os.File{}
	n.in(func() {
		for _, name := range []string{"cali1", "default", "multinic1"} {
			f, err := os.OpenFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
			}
			files[name] = f
		}
	})
	set := func(name, value string) {
		if _, err := files[name].WriteString(value); err != nil {
			t.Fatal(err)
		}
		n.ok(files[name].Close())
	}
	wake := listen(t, n, func(index int, link bool) bool { return index == ours.Index && !link })
	set("cali1", "1")
	set("default", "1")
	if woken(wake, 100*time.Millisecond) {
		t.Error("woken for another link")
	}
	set("multinic1", "2")
	if !woken(wake, 10*time.Second) {
		t.Error("nobody was woken")
	}
}

// More events than the socket can hold: the kernel drops some and says so, and the caller is woken to look for himself.
func TestEventsWakeAfterLoss(t *testing.T) {
	n := newNamespace(t)
	l := n.veth("eth1", testMAC)
	hold := make(chan struct{})
	held := false
	wake := listen(t, n, func(int, bool) bool {
		if !held {
			held = true
			<-hold
		}
		return false
	})
	for i := range 6000 {
		mtu := 1400 + i%2
		n.ok(n.setLink(t.Context(), l.Index, 0, 0, attrUint32(4, uint32(mtu))))
	}
	close(hold)
	if !woken(wake, 10*time.Second) {
		t.Error("nobody was woken")
	}
}
