package plan_test

import (
	"testing"

	"multinicd/nic"
	"multinicd/plan"
)

func TestNamesAtBoot(t *testing.T) {
	for name, test := range map[string]struct {
		change func(m *plan.View, o *plan.Owned)
		want   string
	}{
		"cloud-init called it by its own name":     {func(m *plan.View, _ *plan.Owned) { m.Links[1].Name = "ens4" }, "eth ens4 -> multinic1"},
		"it has its name":                          {func(m *plan.View, _ *plan.Owned) { m.Links[1].Name = "multinic1" }, ""},
		"it is up: the kernel may refuse":          {func(m *plan.View, _ *plan.Owned) { m.Links[1].Up = true }, ""},
		"another link has the name":                {func(m *plan.View, _ *plan.Owned) { m.Links[2].Name = "multinic1" }, ""},
		"another link has it as a second name":     {func(m *plan.View, _ *plan.Owned) { m.Links[2].AltNames = []string{"multinic1"} }, ""},
		"it was given back":                        {func(_ *plan.View, o *plan.Owned) { o.Applied = false }, ""},
		"it is not plugged in":                     {func(m *plan.View, _ *plan.Owned) { m.Links = m.Links[:1] }, ""},
		"a bond has taken it":                      {func(m *plan.View, _ *plan.Owned) { m.Links[1].Master = 9 }, ""},
		"a name that is never touched has its MAC": {func(m *plan.View, _ *plan.Owned) { m.Deny = []string{"eth1"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := host()
			o := owned(config(1, "10.1.0.5/24"))
			m.Links[1].Up = false
			test.change(&m, &o)
			got := ""
			for _, c := range plan.Names(m, plan.Record{NICs: []plan.Owned{o}}) {
				if c.Index != m.Links[1].Index || c.MAC != mac(1) {
					t.Errorf("another link: %+v", c)
				}
				got += "eth " + c.Had + " -> " + c.Name
				c.Index, c.MAC, c.Had, c.Name = 0, nic.MAC{}, "", ""
				if !c.Empty() {
					t.Errorf("more than a name: %+v", c)
				}
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
