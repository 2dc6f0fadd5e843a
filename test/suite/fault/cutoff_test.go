package fault

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The service is stopped in the middle of a change: what is undone is the change, and nothing of others' goes or comes with it. Neither
// the addresses that somebody has put on the link by hand, nor what he has written into our profile and not brought in force.
func TestStoppedInMidChange(t *testing.T) {
	stands, whole := managers("keyfile")
	points := []string{"activate", "settle"}
	if whole {
		points = append(points, "load", "verify", "release")
	}
	onStands(t, stands, func(t *testing.T, s stand) {
		n := s.prepare(t)
		add := operations[0]
		n.wish(add.object)
		n.converge(add, "")
		n.Sh("ip address add 192.168.100.77/24 dev multinic1; ip address add 10.99.0.1/16 dev multinic1")
		files := strings.Join(strings.Fields(n.Sh("grep -rlF 192.168.100.10 "+strings.Join(s.folders[:len(s.folders)-1], " "))), " ")
		link := func() string {
			text, _, _ := strings.Cut(n.text(), "\n")
			words := strings.Fields(text)
			slices.Sort(words)
			return strings.Join(words, " ")
		}
		before := link()
		for _, point := range points {
			for name, begin := range map[string]func(){
				"somebody has edited the profile":  func() { n.Sh("sed -i s/192.168.100.10/192.168.100.79/ " + files) },
				"somebody has deleted the profile": func() { n.Sh("rm " + files) },
				"another address is wanted":        func() { n.wish(strings.ReplaceAll(add.object, "192.168.100.10/24", "192.168.100.11/24")) },
			} {
				begin()
				n.pause(point)
				n.Sh("systemctl stop multinicd")
				for range 6 {
					if got := link(); got != before {
						t.Errorf("%s, stopped before %s: the link is\n%s\nbefore it was\n%s", name, point, got, before)
						break
					}
					time.Sleep(250 * time.Millisecond) // why: NetworkManager may yet do what it was asked for
				}
				n.wish(add.object)
				n.converge(add, "")
				if got := link(); got != before {
					t.Fatalf("%s, stopped before %s: the link after the next start is\n%s\nbefore it was\n%s", name, point, got, before)
				}
			}
		}
	})
}
