package fault

import (
	"testing"
	"time"
)

// keepAndLeave takes a mount away and leaves in the folder what was in it: a full disk can still be deleted from.
const keepAndLeave = `
		rm -f "$D/.fill"
		mkdir -p /run/kept; cp -a "$D/." /run/kept
		umount "$D"
		find "$D" -mindepth 1 -delete
		cp -a /run/kept/. "$D"; rm -r /run/kept`

type folderFault struct{ name, inflict, heal string }

// folderRow is a fault of one folder.
type folderRow struct {
	folderFault
	folder string
}

// How a folder fails. Mounts are made before the service starts, so that they are in its own mount namespace too.
var folderFaults = []folderFault{
	{"is full (ENOSPC)", `
		mkdir -p /run/kept; cp -a "$D/." /run/kept
		mount -t tmpfs -o size=256k,mode=$(stat -c %a "$D") tmpfs "$D"
		cp -a /run/kept/. "$D"; rm -r /run/kept
		cat /dev/zero > "$D/.fill" 2>/dev/null || true`, keepAndLeave},
	{"is read-only (EROFS)", `
		mkdir -p /run/kept; cp -a "$D/." /run/kept
		mount -t tmpfs -o size=256k,mode=$(stat -c %a "$D") tmpfs "$D"
		cp -a /run/kept/. "$D"; rm -r /run/kept
		mount -o remount,ro "$D"`, keepAndLeave},
	// Root is bound by modes here: the unit has no CAP_DAC_OVERRIDE.
	{"may not be written to (EACCES)", `chmod a-w "$D"`, `chmod u+w "$D"`},
}

func TestFoldersThatCannotBeWritten(t *testing.T) { eachStand(t, foldersFail) }

func foldersFail(t *testing.T, s stand) {
	n := s.prepare(t)
	wanted := s.texts(n)
	table := newMatrix("folders"+s.suffix, "folder", s.name+": add", s.name+": change", s.name+": remove")
	var rows []folderRow
	for _, fault := range folderFaults {
		for _, folder := range s.folders {
			rows = append(rows, folderRow{fault, folder})
		}
	}
	for _, r := range oneInThree(rows) {
		for _, o := range operations {
			row := "`" + r.folder + "` " + r.name
			before := n.text()
			n.wish(o.object)
			if r.folder == "/var/lib/multinicd" && r.heal == folderFaults[2].heal {
				// systemd gives the state folder its mode at each start.
				n.pause("journal")
				n.Sh("D=" + r.folder + "\n" + r.inflict)
				n.resume()
			} else {
				n.Sh("D=" + r.folder + "\n" + r.inflict)
				n.Sh("systemctl start --no-block multinicd")
			}
			said, host := n.settled(o)
			got := n.outcome(row+", "+o.name, host, before, wanted[o.name])
			table.set(row, s.name+": "+o.name, got)
			if truth := got == asWanted; truth != (said == o.nics) {
				t.Errorf("%s, %s: the host is %s, the status says %s", row, o.name, got, said)
			}
			n.Sh("systemctl stop multinicd; D=" + r.folder + "\n" + r.heal)
			n.converge(o, wanted[o.name])
			if t.Failed() {
				return
			}
		}
	}
	table.end(t)
}

// settled waits until the daemon has had its try, or cannot even begin, and gives what the status says then, and the host's text with it: what failed was
// not tried again before that was read.
func (n *node) settled(o operation) (said, host string) {
	n.t.Helper()
	n.eventually("the try of "+o.name, "over", func() string {
		s, err := n.Status()
		if err != nil {
			said = "nothing: the daemon is not there"
			if state := n.Sh("systemctl show --property=SubState --value multinicd"); state != "auto-restart" && state != "failed" {
				return state
			}
			host = n.text()
			return "over"
		}
		if said = n.Said(s); s.State != "Failed" && (s.State != "Configured" || said != o.nics) {
			return said
		}
		host = n.text()
		for _, i := range s.NICs {
			if !i.NextTry.IsZero() && time.Until(i.NextTry) < time.Second { // which an event may bring forward a little
				return "tried again"
			}
		}
		return "over"
	})
	return said, host
}
