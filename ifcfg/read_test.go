package ifcfg_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/ifcfg"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

func TestOwnedReadsWhatWeWroteAndNothingElse(t *testing.T) {
	prefix := netip.MustParsePrefix
	one := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{prefix("192.0.2.7/24")}}
	two := nic.Config{ID: 2, Name: "multinic2", MAC: nic.MAC{2, 0, 0, 0, 1, 2}, Addresses: []netip.Prefix{prefix("198.51.100.7/32"), prefix("2001:db8::7/128")},
		Routes: []nic.Route{{To: prefix("198.51.100.0/24"), Table: 10002}, {To: prefix("2001:db8::/64"), Metric: 1024, Table: 10002}},
		Rules:  []nic.Rule{{Priority: 20002, From: prefix("198.51.100.7/32"), Table: 10002}, {Priority: 20002, From: prefix("2001:db8::7/128"), Table: 10002}}}
	for _, dialect := range []ifcfg.Dialect{ifcfg.Keyfile, ifcfg.Ifcfg} {
		t.Run(string(dialect), func(t *testing.T) {
			m := hosttest.New()
			for _, c := range []nic.Config{one, two} {
				for file, data := range dialect.Files(c) {
					m.Put(t, file, data, ifcfg.Mode(file))
				}
			}
			other := map[ifcfg.Dialect]ifcfg.Dialect{ifcfg.Keyfile: ifcfg.Ifcfg, ifcfg.Ifcfg: ifcfg.Keyfile}[dialect]
			render := map[ifcfg.Dialect]func(nic.Config) []byte{ifcfg.Keyfile: ifcfg.RenderKeyfile, ifcfg.Ifcfg: ifcfg.RenderIfcfg}
			m.Put(t, other.File("multinic6"), render[other](nic.Config{ID: 6, Name: "multinic6", MAC: nic.MAC{2, 0, 0, 0, 1, 6}}), 0o600)
			m.Put(t, dialect.File("multinic3"), []byte("# somebody's\nNAME=multinic3\nHWADDR=02:00:00:00:01:03\n"), 0o600)
			m.Put(t, dialect.File("multinicuser"), render[dialect](one), 0o600)
			m.Put(t, dialect.File("multinic5"), append(render[dialect](one), "torn"...), 0o600)
			got, err := (&ifcfg.Backend{Files: m, Dialect: dialect}).Owned()
			if err == nil || strings.Count(err.Error(), "reading /") != 1 || !strings.Contains(err.Error(), dialect.File("multinic5")) {
				t.Errorf("the file that cannot be read: %v", err)
			}
			want := []plan.Owned{{MAC: one.MAC, Config: one, Applied: true}, {MAC: two.MAC, Config: two, Applied: true}}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b nic.Config) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
