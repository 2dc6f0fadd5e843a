package fault

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"multinicd/test/bed/prerequisite"
)

// Two NICs swap their names, which is two changes, one after the other, and the daemon is killed right before each step of both: recovered, the host is as
// before, as wanted, or as it is between the two; and after the one start as wanted.
func TestKilledWhileNamesAreSwapped(t *testing.T) {
	t.Parallel()
	for _, s := range prerequisite.Long(onNetplan, managerStands[0], managerStands[2]) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			n := s.prepare(t)
			const configured = "multinic1 Configured Configured, multinic2 Configured Configured"
			objects := [2]string{object(nodeName, entry(1, mac1, "192.168.100.10/24", "mtu: 1400"), entry(2, mac2, bystander)),
				object(nodeName, entry(2, mac1, "192.168.100.10/24", "mtu: 1400"), entry(1, mac2, bystander))}
			swap := func(to int) {
				t.Helper()
				n.wish(objects[to])
				n.start()
				n.eventually("status", configured, n.nics)
				n.stop()
				n.Sh("systemctl daemon-reload") // netplan's generator makes its files
			}
			view := func(text string) string { return text }
			if s.name == managerStands[2].name {
				view = anyMTU
			}
			swap(0)
			var texts, between [2]string
			var points [2][]string
			for _, to := range []int{1, 0} {
				texts[1-to] = persistent(n.text())
				n.wish(objects[to])
				n.startAndDie("journal#2")
				between[to] = settled(persistent(n.text()))
				before := n.changes()
				swap(to)
				n.eventually("news of the second change", strconv.Itoa(before+1), func() string { return strconv.Itoa(n.changes()) })
				points[to] = n.pointsOfLast(2)
			}
			for i := range max(len(points[0]), len(points[1])) {
				for _, to := range []int{1, 0} {
					n.eventually("the host before the swap", texts[1-to], func() string { return persistent(n.text()) })
					if i >= len(points[to]) {
						swap(to)
						continue
					}
					n.wish(objects[to])
					n.startAndDie(points[to][i])
					n.startAndDie("recovered")
					// NetworkManager may have to bring the other one's profile in force again, which recovery has put back.
					n.eventually("killed before "+points[to][i]+", and recovered, the host", "as before, as wanted, or between the two changes", func() string {
						if got := view(persistent(n.text())); got != view(texts[0]) && got != view(texts[1]) && settled(got) != view(between[to]) {
							return got
						}
						return "as before, as wanted, or between the two changes"
					})
					swap(to)
				}
			}
		})
	}
}

// settled is the host's text without the link that has made way for another: NetworkManager may, or may not yet, have taken its addresses, since the profile
// that it had is the other's by now. It is the second change that looks after it.
func settled(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, " mnic-way") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// anyMTU is the text without the MTU that links have: the one that made way may have got NetworkManager's own, and the daemon's first pass sees to that.
func anyMTU(text string) string {
	return regexp.MustCompile(` mtu [0-9]+`).ReplaceAllString(text, "")
}

// pointsOfLast names every point of the last changes that the log tells of, as failpoints do within one life of the daemon.
func (n *node) pointsOfLast(changes int) (out []string) {
	n.t.Helper()
	said := n.Sh(`journalctl --sync; journalctl --unit=multinicd --output=cat --no-pager --quiet | grep '^changed a NIC' | tail -n ` + strconv.Itoa(changes) + ` | sed 's/.* steps="\([^"]*\)".*/\1/'`)
	seen := map[string]int{}
	for line := range strings.Lines(said) {
		for _, p := range slices.Concat([]string{"journal"}, strings.Fields(line), []string{"record", "done"}) {
			if seen[p]++; seen[p] > 1 {
				p += "#" + strconv.Itoa(seen[p])
			}
			out = append(out, p)
		}
	}
	return out
}
