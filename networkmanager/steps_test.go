package networkmanager_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// A profile that comes in force, or goes, takes what it finds on the link: what is others' comes
// back behind it, as far as it stands without ours.
func TestWhatOthersHaveOnTheLinkIsPutBack(t *testing.T) {
	prefix := netip.MustParsePrefix
	ours, foreign, carried, beside := prefix("192.0.2.7/24"), prefix("10.99.0.1/16"), prefix("10.98.0.0/16"), prefix("10.97.0.0/16")
	coming := prefix("10.66.1.1/24") // of another profile, which NetworkManager's own file does not name yet
	had := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Addresses: []netip.Prefix{ours}}
	want := had
	want.Addresses = []netip.Prefix{prefix("192.0.2.8/24")}
	link := nic.Link{Index: 11, Name: "multinic1", MAC: had.MAC, Up: true, Carrier: true, MTU: 1500,
		Addresses: []nic.Address{{Prefix: ours, Permanent: true}, {Prefix: foreign, Permanent: true}, {Prefix: prefix("10.66.0.1/16")}, {Prefix: prefix("fe80::1/64"), Permanent: true}, {Prefix: coming, Permanent: true}},
		Routes: []nic.Route{{To: foreign.Masked(), Protocol: 2}, {To: carried, Via: netip.MustParseAddr("10.99.0.2"), Protocol: 12},
			{To: beside, Via: netip.MustParseAddr("192.0.2.2"), Protocol: 80}}}
	change := nic.Change{Index: 11, MAC: had.MAC, Had: "multinic1", Del: had.Addresses}
	configure := change
	configure.Add = want.Addresses
	for name, a := range map[string]plan.Action{
		"another address":       {Kind: plan.Configure, NIC: want, Link: &link, Change: configure, After: &plan.Owned{}},
		"the NIC is given back": {Kind: plan.Remove, NIC: had, Link: &link, Change: change},
	} {
		t.Run(name, func(t *testing.T) {
			m := hosttest.New(link)
			for file, data := range (networkmanager.Keyfile{}).Files(had) {
				m.Put(t, file, data, networkmanager.Mode(file))
			}
			m.Put(t, "/run/NetworkManager/devices/11", []byte("connection-uuid="+networkmanager.UUID(had.MAC)+"\n"), 0o644)
			m.Put(t, networkmanager.KeyfileDir+"/theirs.nmconnection", []byte("[connection]\nid=theirs\n[ipv4]\naddress1=10.66.1.1/24\ndns=10.99.0.1;\nmethod=manual\n"), 0o600)
			m.Put(t, networkmanager.RuntimeDir+"/multinic1.nmconnection", []byte("[ipv4]\naddress1=10.99.0.1/16\n[.nmmeta]\nexternal=true\n"), 0o600)
			steps, err := (&networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}).Steps(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			load := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Kind == plan.StepLoad })
			var again []string
			for i, s := range steps {
				if s.Do.Link == nil {
					continue
				}
				for _, p := range s.Do.Link.Add {
					if (p == foreign || p == coming) && i > load {
						again = append(again, p.String())
					}
				}
				for _, r := range s.Do.Link.AddRoutes {
					if !slices.Contains(again, r.To.String()) {
						again = append(again, r.To.String())
					}
				}
			}
			if got, want := fmt.Sprint(again), fmt.Sprint([]string{foreign.String(), carried.String()}); got != want {
				t.Errorf("put back are %s, want %s", got, want)
			}
			before := slices.ContainsFunc(steps[:load], func(s plan.Step) bool { return s.Kind == plan.StepRetire && !s.Undo.Zero() })
			if before != (a.Kind == plan.Configure) {
				t.Errorf("netlink changes the addresses before NetworkManager does: %v", before)
			}
		})
	}
}

// A link that is down may have a carrier; one that is up and has none gets what is wanted over
// netlink.
func TestLost(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	for name, test := range map[string]struct {
		link   *nic.Link
		same   bool
		active string
		want   bool
	}{
		"a link with a carrier, and another profile": {link: &nic.Link{Up: true, Carrier: true}, active: "another", want: true},
		"and no profile":                      {link: &nic.Link{Up: true, Carrier: true}, want: true},
		"and ours":                            {link: &nic.Link{Up: true, Carrier: true}, active: networkmanager.UUID(c.MAC)},
		"and all that is wanted":              {link: &nic.Link{Up: true, Carrier: true}, same: true},
		"a link that is up without a carrier": {link: &nic.Link{Up: true}},
		"a link that is down":                 {link: &nic.Link{}, want: true},
		"and ours, by a file that may be old": {link: &nic.Link{}, active: networkmanager.UUID(c.MAC), want: true},
		"no link":                             {},
	} {
		t.Run(name, func(t *testing.T) {
			a := plan.Action{Kind: plan.Configure, NIC: c, Link: test.link, Change: nic.Change{Up: !test.same}}
			if got := networkmanager.Lost(a, test.active); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// What netlink puts back belongs under our profile, and the file by which that is in force may be old.
func TestRepairPutsNothingBackUnderAnotherProfile(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	ours := networkmanager.UUID(c.MAC)
	for name, test := range map[string]struct {
		carrier     bool
		active, now string // by NetworkManager's file, and by its word
		want        error
	}{
		"ours is in force":                           {true, ours, ours, nil},
		"another was brought in force meanwhile":     {true, ours, "another", nic.ErrAnotherProfile},
		"none is in force by now":                    {true, ours, "", nil},
		"the former agent's is, and stays":           {true, "", "another", nil},
		"without a carrier it may be NetworkManager": {false, ours, "another", nil},
	} {
		t.Run(name, func(t *testing.T) {
			link := nic.Link{Index: 11, Name: "multinic1", MAC: c.MAC, Up: true, Carrier: test.carrier}
			m := hosttest.New(link)
			m.NM = &hosttest.Manager{Profiles: func() []string { return nil }}
			m.StartManager()
			m.NM.Force(11, test.now)
			b := &networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}
			steps := b.Repair(plan.Action{Kind: plan.Configure, NIC: c, Link: &link, Change: nic.Change{Index: 11, MTU: 1400}}, test.active)
			if err := (networkmanager.Manager{Bus: m}).Manage(t.Context(), *steps[0].Do.Manage); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A profile that cannot be read off just now is not "none": with that the undo of a change would
// leave the link without the one that was in force.
func TestAStateFileThatCannotBeReadIsNoAbsence(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}
	link := &nic.Link{Index: 11, Name: "multinic1", MAC: c.MAC, Up: true, Carrier: true}
	const state = "/run/NetworkManager/devices/11"
	for name, a := range map[string]plan.Action{
		"a change":                              {Kind: plan.Configure, NIC: c, Link: link, Change: nic.Change{Index: 11, MAC: c.MAC, Had: "multinic1", Add: c.Addresses}, After: &plan.Owned{}},
		"one of a NIC that is not there":        {Kind: plan.Configure, NIC: c, After: &plan.Owned{}},
		"a NIC that is not there is given back": {Kind: plan.Remove, NIC: c},
	} {
		m := hosttest.New(*link)
		for file, data := range (networkmanager.Keyfile{}).Files(c) {
			m.Put(t, file, data, networkmanager.Mode(file))
		}
		if a.Kind == plan.Configure { // so that it has to change
			m.Put(t, networkmanager.Keyfile{}.File(c.Name), []byte("[connection]\nuuid="+networkmanager.UUID(c.MAC)+"\n"), 0o600)
		}
		m.Put(t, state, []byte("connection-uuid=another\n"), 0o644)
		b := &networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}
		if steps, err := b.Steps(t.Context(), a); err != nil || len(steps) == 0 {
			t.Fatalf("%s: %d steps, %v", name, len(steps), err)
		}
		m.Unreadable = state
		if steps, err := b.Steps(t.Context(), a); !errors.Is(err, hosttest.ErrInjected) {
			t.Errorf("%s: got %d steps, %v", name, len(steps), err)
		}
	}
}

// What somebody has written into our profile without bringing it in force is not what was in force.
func TestTheUndoBringsNoEditInForce(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}
	file := networkmanager.Keyfile{}.File(c.Name)
	edited := strings.ReplaceAll(string(networkmanager.RenderKeyfile(c)), "192.0.2.7", "192.0.2.9")
	const applied = "192.0.2.9/24"
	for name, test := range map[string]struct {
		profile string // "" : it was deleted
		more    string // an address on the link beside what is wanted
		active  string
		change  nic.Change
		asked   bool
	}{
		"edited":                                {profile: edited, active: networkmanager.UUID(c.MAC)},
		"its MTU edited":                        {profile: strings.ReplaceAll(string(networkmanager.RenderKeyfile(c)), "[ethernet]\n", "[ethernet]\nmtu=1400\n"), active: networkmanager.UUID(c.MAC)},
		"deleted":                               {active: networkmanager.UUID(c.MAC)},
		"edited and brought in force":           {profile: edited, more: applied, active: networkmanager.UUID(c.MAC), asked: true},
		"edited, and not as wanted":             {profile: edited, active: networkmanager.UUID(c.MAC), change: nic.Change{Index: 11, MTU: 1400}, asked: true},
		"edited, and another is in force":       {profile: edited, active: "another", asked: true},
		"with a line more that changes no link": {profile: string(networkmanager.RenderKeyfile(c)) + "[user]\n", active: networkmanager.UUID(c.MAC), asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			link := nic.Link{Index: 11, Name: "multinic1", MAC: c.MAC, Up: true, Carrier: true, MTU: 1500, Addresses: []nic.Address{{Prefix: c.Addresses[0], Permanent: true}}}
			if test.more != "" {
				link.Addresses = append(link.Addresses, nic.Address{Prefix: netip.MustParsePrefix(test.more), Permanent: true})
			}
			m := hosttest.New(link)
			for file, data := range (networkmanager.Keyfile{}).Files(c) {
				m.Put(t, file, data, networkmanager.Mode(file))
			}
			if err := m.Remove(file); err != nil {
				t.Fatal(err)
			}
			if test.profile != "" {
				m.Put(t, file, []byte(test.profile), 0o600)
			}
			m.Put(t, "/run/NetworkManager/devices/11", []byte("connection-uuid="+test.active+"\n"), 0o644)
			steps, err := (&networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}).Steps(t.Context(),
				plan.Action{Kind: plan.Configure, NIC: c, Link: &link, Change: test.change, After: &plan.Owned{}})
			if err != nil {
				t.Fatal(err)
			}
			asked := slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Undo.Manage != nil && s.Undo.Manage.Verb == plan.Restore })
			back := slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Undo.File != nil && s.Undo.File.Path == file })
			if asked != test.asked || !back {
				t.Errorf("the undo asks NetworkManager (%v, want %v) and puts the file back (%v, want true)", asked, test.asked, back)
			}
		})
	}
}

// What NetworkManager has brought beside what we have put back is left, and ours goes; what
// somebody else has put there is his.
func TestARouteIsThereOnce(t *testing.T) {
	to, via := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("192.0.2.1")
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Routes: []nic.Route{{To: to, Via: via}}}
	for name, test := range map[string]struct {
		protocols []int
		want      []int // those of the routes that go
	}{
		"ours":                               {[]int{nic.RouteProtocol}, nil},
		"NetworkManager's":                   {[]int{4}, nil},
		"ours and NetworkManager's":          {[]int{4, nic.RouteProtocol}, []int{nic.RouteProtocol}},
		"ours and that of ip(8)":             {[]int{3, nic.RouteProtocol}, nil},
		"NetworkManager's and that of ip(8)": {[]int{3, 4}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := nic.Link{Index: 11, Name: c.Name, MAC: c.MAC, Up: true, Carrier: true}
			for _, p := range test.protocols {
				l.Routes = append(l.Routes, nic.Route{To: to, Via: via, Table: nic.TableMain, Protocol: p})
			}
			m := hosttest.New()
			for file, data := range (networkmanager.Keyfile{}).Files(c) {
				m.Put(t, file, data, networkmanager.Mode(file))
			}
			m.Put(t, "/run/NetworkManager/devices/11", []byte("[device]\nconnection-uuid="+networkmanager.UUID(c.MAC)+"\n"), 0o644)
			b := networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}
			steps, err := b.Steps(t.Context(), plan.Action{Kind: plan.Configure, NIC: c, Link: &l, After: &plan.Owned{}})
			if err != nil {
				t.Fatal(err)
			}
			var gone []int
			for _, s := range steps {
				if s.Do.Link != nil {
					for _, r := range s.Do.Link.DelRoutes {
						gone = append(gone, r.Protocol)
					}
				}
			}
			if !slices.Equal(gone, test.want) {
				t.Errorf("routes of protocols %v go, want %v", gone, test.want)
			}
		})
	}
}
