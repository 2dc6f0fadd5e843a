package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/host/survey"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// The next boot gives a NIC its name, unless a boot has come and gone, or somebody names it at each.
func TestWhatKeepsANICFromItsName(t *testing.T) {
	const file, boot = "/etc/netplan/90-multinic1.yaml", 1764500000
	for name, test := range map[string]struct {
		files   map[string]string
		written int64 // our file
		want    string
	}{
		"written in this boot":    {nil, boot + 60, ""},
		"written before the boot": {nil, boot - 60, "the name multinic1 has not come with the last boot"},
		"a rule of somebody": {map[string]string{"/etc/udev/rules.d/70-persistent-net.rules": `ATTR{address}=="02:00:00:00:01:01", NAME="eth1"`}, boot + 60,
			"the name multinic1 does not come at boot: /etc/udev/rules.d/70-persistent-net.rules"},
		"cloud-init's rule, and the unit names it behind that": {map[string]string{"/etc/udev/rules.d/99-netplan-ens4.rules": `ATTR{address}=="02:00:00:00:01:01", NAME="ens4"`,
			"/etc/systemd/system/multi-user.target.wants/multinicd-recover.service": ""}, boot + 60,
			"at boot multinicd-recover.service gives the name multinic1, behind this: /etc/udev/rules.d/99-netplan-ens4.rules"},
		"the unit has not named it": {map[string]string{"/etc/udev/rules.d/99-netplan-ens4.rules": `ATTR{address}=="02:00:00:00:01:01", NAME="ens4"`,
			"/etc/systemd/system/multi-user.target.wants/multinicd-recover.service": ""}, boot - 60,
			"the name multinic1 has not come with the last boot: /etc/udev/rules.d/99-netplan-ens4.rules"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := host.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			hosttest.Files(t, h.Root, map[string]string{"/proc/stat": "btime 1764500000\n", file: "# " + nic.Mark + "\n", "/etc/netplan/90-multinic11.yaml": "# " + nic.Mark + "\n"})
			hosttest.Files(t, h.Root, test.files)
			at := time.Unix(test.written, 0)
			if err := os.Chtimes(h.Path(file), at, at); err != nil {
				t.Fatal(err)
			}
			w := &wired{host: h, survey: survey.New(h, nil, nil, nil)}
			got := w.namer(nic.Link{Name: "eth1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}, "multinic1")
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
