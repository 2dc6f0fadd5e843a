package house

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mostExposure is the goal of the project; for comparison, systemd 257's own networkd has 3.1, the kubelet 9.6.
const mostExposure = 2.3

func TestTheUnitsAreSandboxed(t *testing.T) {
	for _, unit := range []string{"multinicd.service", "multinicd-recover.service"} {
		t.Run(unit, func(t *testing.T) { sandboxed(t, unit) })
	}
}

func sandboxed(t *testing.T, unit string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--no-pager",
		filepath.Join(root, "systemd", unit)).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security (of Debian's systemd): %v\n%s", err, out)
	}
	m := regexp.MustCompile(`Overall exposure level for ` + regexp.QuoteMeta(unit) + `: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze says no overall exposure:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	if exposure > mostExposure {
		t.Errorf("exposure %.1f, want at most %.1f:\n%s", exposure, mostExposure, out)
	}
}

func TestTheUnitKeepsItsPromises(t *testing.T) {
	set := map[string][]string{}
	for line := range strings.Lines(read(t, "systemd/multinicd.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			set[key] = append(set[key], strings.Fields(value)...)
		}
	}
	for _, c := range []struct{ name, key, want string }{
		{"it is ready when the local state is enforced", "Type", "notify"},
		{"a stuck loop is restarted", "WatchdogSec", "60"},
		{"a crash is restarted", "Restart", "always"},
		{"systemd does not give up", "StartLimitIntervalSec", "0"},
		{"it has two capabilities", "CapabilityBoundingSet", "CAP_NET_ADMIN CAP_NET_RAW"},
		{"its state is private", "StateDirectoryMode", "0700"},
		{"it leaves no dump with a token", "LimitCORE", "0"},
		{"stopping it leaves the NICs as they are", "ExecStop", ""},
		{"and so does starting it again", "ExecStopPost", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(set[c.key], " "); got != c.want {
				t.Errorf("%s=%s, want %s", c.key, got, c.want)
			}
		})
	}
	for _, key := range []string{"After", "Wants", "Requires", "BindsTo"} {
		if strings.Contains(strings.Join(set[key], " "), "network-online.target") {
			t.Errorf("%s= waits for network-online.target; the node must get its NICs without it", key)
		}
	}
	for _, folder := range set["ReadWritePaths"] {
		if !strings.HasPrefix(folder, "-/") {
			t.Errorf("ReadWritePaths=%s has no '-': the unit would fail where the folder is absent", folder)
		}
	}
}
