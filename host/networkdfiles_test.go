package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"multinicd/internal/hosttest"
)

func TestNetworkdSettings(t *testing.T) {
	const (
		key     = "ManageForeignRoutes"
		off, on = "[Network]\n" + key + "=no\n", "[Network]\n" + key + "=yes\n"
		dropin  = "/etc/systemd/networkd.conf.d/10-x.conf"
		passwd  = "root:x:0:0::/root:/bin/sh\nsystemd-network:x:998:997::/:/usr/sbin/nologin\n"
	)
	for name, test := range map[string]struct {
		files map[string]string
		mode  map[string]os.FileMode
		group int // of the drop-in; 0: root's
		want  Setting
	}{
		"nobody says anything":               {},
		"networkd.conf":                      {files: map[string]string{"/etc/systemd/networkd.conf": off}, want: Setting{Value: "no", File: "/etc/systemd/networkd.conf", InForce: true}},
		"a drop-in counts more":              {files: map[string]string{"/etc/systemd/networkd.conf": on, dropin: off}, want: Setting{Value: "no", File: dropin, InForce: true}},
		"a later drop-in counts more":        {files: map[string]string{dropin: off, "/run/systemd/networkd.conf.d/20.conf": on}, want: Setting{Value: "yes", File: "/run/systemd/networkd.conf.d/20.conf", InForce: true}},
		"one of its name hides another":      {files: map[string]string{"/usr/lib/systemd/networkd.conf.d/10-x.conf": off, dropin: "[Network]\n"}},
		"another section":                    {files: map[string]string{dropin: "[DHCPv4]\n" + key + "=no\n"}},
		"a drop-in that only root may read":  {files: map[string]string{dropin: off}, mode: map[string]os.FileMode{dropin: 0o600}, want: Setting{Unread: dropin}},
		"one that networkd's group may read": {files: map[string]string{dropin: off}, mode: map[string]os.FileMode{dropin: 0o640}, group: 997, want: Setting{Value: "no", File: dropin, InForce: true}},
		"one that another group may read":    {files: map[string]string{dropin: off}, mode: map[string]os.FileMode{dropin: 0o640}, group: 996, want: Setting{Unread: dropin}},
		"one in a folder that is root's":     {files: map[string]string{dropin: off}, mode: map[string]os.FileMode{filepath.Dir(dropin): 0o700}, want: Setting{Unread: dropin}},
		"one that hides a readable one":      {files: map[string]string{"/usr/lib/systemd/networkd.conf.d/10-x.conf": off, dropin: off}, mode: map[string]os.FileMode{dropin: 0o600}, want: Setting{Unread: dropin}},
		"one beside a readable one":          {files: map[string]string{"/etc/systemd/networkd.conf.d/05.conf": off, dropin: off}, mode: map[string]os.FileMode{dropin: 0o600}, want: Setting{Value: "no", File: "/etc/systemd/networkd.conf.d/05.conf", InForce: true, Unread: dropin}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			hosttest.Files(t, h.Root, map[string]string{"/etc/passwd": passwd, "/run/systemd/units/x": ""})
			hosttest.Files(t, h.Root, test.files)
			for f, mode := range test.mode {
				if err := os.Chmod(h.Path(f), mode); err != nil {
					t.Fatal(err)
				}
			}
			if test.group != 0 {
				hosttest.NeedRoot(t, "to give a file to a group")
				if err := os.Chown(h.Path(dropin), -1, test.group); err != nil {
					t.Fatal(err)
				}
			}
			if test.mode != nil {
				hosttest.NeedRoot(t, "to read what only root may")
			}
			started := h.Path("/run/systemd/units/invocation:systemd-networkd.service")
			at := unix.NsecToTimeval(time.Now().Add(time.Hour).UnixNano())
			if err := os.Symlink("x", started); err != nil {
				t.Fatal(err)
			}
			if err := unix.Lutimes(started, []unix.Timeval{at, at}); err != nil {
				t.Fatal(err)
			}
			test.want.Key = key
			if got := h.NetworkdSettings(key)[0]; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
