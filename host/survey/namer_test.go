package survey

import (
	"strings"
	"testing"
	"time"

	"multinicd/internal/hosttest"
	"multinicd/nic"
)

func TestWhatGivesALinkAnotherName(t *testing.T) {
	const rules, cloud = "/etc/udev/rules.d/70-persistent-net.rules", "/etc/netplan/50-cloud-init.yaml"
	for name, test := range map[string]struct {
		files map[string]string
		want  string // the beginnings of the sentences
	}{
		"nothing":                     {},
		"a rule for its MAC":          {map[string]string{rules: `SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="02:00:00:00:01:01", NAME="eth1"` + "\n"}, rules + ` has a rule for its MAC with NAME="eth1"`},
		"such a rule, over two lines": {map[string]string{"/etc/udev/rules.d/10-x.rules": "ATTR{address}==\"02:00:00:00:01:01\", \\\n  NAME:=\"data\"\n"}, "/etc/udev/rules.d/10-x.rules"},
		"a rule with the name":        {map[string]string{rules: `ATTR{address}=="02:00:00:00:01:01", NAME="multinic1"`}, ""},
		"a rule that asks":            {map[string]string{rules: `ATTR{address}=="02:00:00:00:01:01", NAME=="eth1", TAG+="x"`}, ""},
		"a rule for another":          {map[string]string{rules: `ATTR{address}=="02:00:00:00:01:02", NAME="eth1"`}, ""},
		"a rule in a comment":         {map[string]string{rules: `# ATTR{address}=="02:00:00:00:01:01", NAME="eth1"`}, ""},
		"cloud-init's set-name":       {map[string]string{cloud: "network: {version: 2, ethernets: {ens4: {dhcp4: true, match: {macaddress: \"02:00:00:00:01:01\"}, set-name: ens4}}}"}, cloud + " has set-name: ens4"},
		"our own":                     {map[string]string{"/etc/netplan/90-multinic1.yaml": "# " + nic.Mark + "\nnetwork: {ethernets: {x: {match: {macaddress: \"02:00:00:00:01:01\"}, set-name: ens4}}}"}, ""},
		"a file that is broken":       {map[string]string{cloud: "network: [\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			got := strings.Join(s.Namers(nic.Link{Name: "ens4", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}, "multinic1"), "; ")
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhenTheKernelBegan(t *testing.T) {
	s := newSurvey(t)
	if got := s.Booted(); !got.IsZero() {
		t.Errorf("unknown: got %s", got)
	}
	hosttest.Files(t, s.host.Root, map[string]string{"/proc/stat": "cpu  1 2\nbtime 1764500000\nprocesses 9\n"})
	if got := s.Booted(); !got.Equal(time.Unix(1764500000, 0)) {
		t.Errorf("got %s", got)
	}
}
