package networkmanager_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/ifcfg"
	"multinicd/internal/hosttest"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

func TestOwnedReadsWhatWeWroteAndNothingElse(t *testing.T) {
	prefix := netip.MustParsePrefix
	one := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{prefix("192.0.2.7/24")}}
	two := nic.Config{ID: 2, Name: "multinic2", MAC: nic.MAC{2, 0, 0, 0, 1, 2}, Addresses: []netip.Prefix{prefix("198.51.100.7/32"), prefix("2001:db8::7/128")},
		Routes: []nic.Route{{To: prefix("198.51.100.0/24"), Table: 10002}, {To: prefix("2001:db8::/64"), Metric: 1024, Table: 10002}},
		Rules: []nic.Rule{{Priority: 9999, From: prefix("198.51.100.7/32"), To: prefix("198.51.100.0/24"), Table: 10002}, {Priority: 20002, From: prefix("198.51.100.7/32"), Table: 10002},
			{Priority: 10002, From: prefix("198.51.100.7/32"), Table: 254, NoDefault: true}, {Priority: 20002, From: prefix("2001:db8::7/128"), Table: 10002}}}
	for name, of := range map[string]struct{ format, other networkmanager.ProfileFormat }{
		"keyfile": {networkmanager.Keyfile{}, ifcfg.Format{}},
		"ifcfg":   {ifcfg.Format{}, networkmanager.Keyfile{}},
	} {
		t.Run(name, func(t *testing.T) {
			format := of.format
			m := hosttest.New()
			for _, c := range []nic.Config{one, two} {
				for file, data := range format.Files(c) {
					m.Put(t, file, data, networkmanager.Mode(file))
				}
			}
			profile := func(d networkmanager.ProfileFormat, c nic.Config) []byte { return d.Files(c)[d.File(c.Name)] }
			six := nic.Config{ID: 6, Name: "multinic6", MAC: nic.MAC{2, 0, 0, 0, 1, 6}}
			m.Put(t, of.other.File("multinic6"), profile(of.other, six), 0o600)
			m.Put(t, format.File("multinic3"), []byte("# somebody's\nNAME=multinic3\nHWADDR=02:00:00:00:01:03\n"), 0o600)
			m.Put(t, format.File("multinicuser"), profile(format, one), 0o600)
			m.Put(t, format.File("multinic5"), append(profile(format, one), "torn"...), 0o600)
			got, err := (&networkmanager.Backend{Files: m, Format: format}).ReadBack()
			if err == nil || strings.Count(err.Error(), "reading /") != 1 || !strings.Contains(err.Error(), format.File("multinic5")) {
				t.Errorf("the file that cannot be read: %v", err)
			}
			want := []plan.Owned{{MAC: one.MAC, Config: one, Applied: true}, {MAC: two.MAC, Config: two, Applied: true}}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b nic.Config) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
