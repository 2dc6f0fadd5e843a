package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/nic"
	"multinicd/plan"
)

// What changes on the link of NIC 1, which is ours, in one line a part. NIC 1 has 10.1.0.5/24, MTU
// 1400 and a route; it was found as eth1, down, with MTU 1500.
func TestMakeChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change func(in *input)
		want   string
	}{
		"nothing where all is as wanted":        {func(*input) {}, ""},
		"a link that somebody took down":        {func(in *input) { in.link().Up = false }, "~ down -> up"},
		"a name that somebody gave":             {func(in *input) { in.link().Name = "wan" }, "~ name wan -> multinic1"},
		"not the name where the kernel refused": {func(in *input) { in.link().Name, in.record.NICs[0].RenameBlocked = "eth1", true }, ""},
		"that name too, once the link is down":  {func(in *input) { in.link().Name, in.link().Up, in.record.NICs[0].RenameBlocked = "eth1", false, true }, "~ name eth1 -> multinic1; ~ down -> up"},
		"an address that somebody added stays":  {func(in *input) { in.has(in.link(), "10.9.0.1/24") }, ""},
		"an address that is retired goes": {func(in *input) {
			in.has(in.link(), "10.9.0.1/24")
			in.record.NICs[0].Retired = retired("10.9.0.1/24", "10.9.0.2/24")
		}, "- address 10.9.0.1/24"},
		"a route that somebody added stays": {func(in *input) { in.link().Routes = append(in.link().Routes, route("172.16.0.0/12")) }, ""},
		"a route that is retired goes": {func(in *input) {
			in.link().Routes = append(in.link().Routes, route("172.16.0.0/12"))
			in.record.NICs[0].Retired = retired(route("172.16.0.0/12"))
		}, "- route 172.16.0.0/12"},
		"the kernel's own route is not deleted": {func(in *input) { in.record.NICs[0].Retired = retired(from("10.1.0.5", route("10.1.0.0/24"))) }, ""},
		"the kernel's own route serves":         {func(in *input) { in.routes(route("10.0.0.0/8 10.1.0.1"), route("10.1.0.0/24")) }, ""},
		"not where its address goes":            {func(in *input) { in.is("10.1.1.5/24"); in.routes(route("10.0.0.0/8 10.1.0.1"), route("10.1.0.0/24")) }, "- address 10.1.0.5/24; + address 10.1.1.5/24; + route 10.1.0.0/24"},
		"another's route for the same does not go": {func(in *input) {
			in.link().Routes[0].Protocol = 4
			in.is("10.1.1.5/24")
			in.routes(route("10.0.0.0/8 10.1.0.1"), route("10.1.0.0/24"))
		}, "- address 10.1.0.5/24; + address 10.1.1.5/24"},
		"nor does the kernel's for another address": {func(in *input) {
			in.is("10.1.0.5/24", "10.7.0.5/24")
			in.has(in.link(), "10.9.0.1/24")
			in.record.NICs[0].Retired = retired("10.9.0.1/24")
			in.routes(route("10.0.0.0/8 10.1.0.1"), route("10.1.0.0/24"))
		}, "- address 10.9.0.1/24; + address 10.7.0.5/24"},
		"given back: all that is ours":                {func(in *input) { in.want = nil }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500; ~ up -> down; - address 10.1.0.5/24; - route 10.0.0.0/8 via 10.1.0.1"},
		"given back: not what is gone already":        {func(in *input) { in.want, in.link().Addresses, in.link().Routes = nil, nil, nil }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500; ~ up -> down"},
		"given back: not the name that somebody gave": {func(in *input) { in.give(); in.link().Name = "wan" }, "~ mtu 1400 -> 1500; ~ up -> down"},
		"given back: not a name that is unknown":      {func(in *input) { in.give(); in.record.NICs[0].Found.Name = "" }, "~ mtu 1400 -> 1500"},
		"given back: not a name that it had before":   {func(in *input) { in.give(); in.record.NICs[0].Found.Name = "multinic1" }, "~ mtu 1400 -> 1500; ~ up -> down"},
		"given back: not the MTU that somebody gave":  {func(in *input) { in.give(); in.link().MTU = 9000 }, "~ name multinic1 -> eth1; ~ up -> down"},
		"given back: not an MTU that is unknown":      {func(in *input) { in.give(); in.record.NICs[0].Found.MTU = 0 }, "~ name multinic1 -> eth1; ~ up -> down"},
		"given back: not an MTU that was not ours":    {func(in *input) { in.give(); in.record.NICs[0].Config.MTU = 0 }, "~ name multinic1 -> eth1; ~ up -> down"},
		"given back: up where it was found up":        {func(in *input) { in.give(); in.record.NICs[0].Found.Up = true }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500"},
		"given back: down where somebody took it so":  {func(in *input) { in.give(); in.link().Up = false }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500"},
		"given back before: only what came back": {func(in *input) {
			in.want, in.record.NICs[0].Applied, in.record.NICs[0].Retired = nil, false, retired("10.1.0.5/24")
		}, "~ mtu 1400 -> 1500; ~ up -> down; - address 10.1.0.5/24"},
		"given back before: what came back beside another's address": {func(in *input) {
			in.want, in.record.NICs[0].Applied, in.record.NICs[0].Retired = nil, false, retired("10.1.0.5/24")
			in.has(in.link(), "10.9.0.1/24")
		}, "- address 10.1.0.5/24"},
		"given back before: what came back where it is another's by now": {func(in *input) {
			in.want, in.record.NICs[0].Applied, in.record.NICs[0].Retired = nil, false, retired("10.1.0.5/24")
			in.link().Claim = &nic.Claim{Owner: "netplan"}
		}, "- address 10.1.0.5/24"},
		"given back before: nothing where somebody took it up": {func(in *input) {
			in.want, in.record.NICs[0].Applied, in.record.NICs[0].Retired, in.link().Addresses = nil, false, retired("10.1.0.5/24"), nil
		}, ""},
		"an address that the kernel found in use is put there anew": {func(in *input) { in.link().Addresses[0].Duplicate = true }, "+ address 10.1.0.5/24"},
		"an address that is there for a time only is to stay":       {func(in *input) { in.expires("10.1.0.5/24") }, "~ address 10.1.0.5/24 for a time -> for good"},
		"what a DHCP client brings goes": {func(in *input) {
			in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: prefixes("10.9.0.5/24")[0], Lifetime: nic.Lifetime{Valid: 60}})
			in.link().Routes = append(in.link().Routes, proto(16, route("172.16.0.0/12 10.9.0.1")), proto(16, from("10.9.0.5", route("10.9.0.1/32"))))
		}, "- address 10.9.0.5/24; - route 172.16.0.0/12 via 10.9.0.1; - route 10.9.0.1/32 src 10.9.0.5"},
		"and once only where it is retired, too": {func(in *input) {
			in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: prefixes("10.9.0.5/24")[0], Lifetime: nic.Lifetime{Valid: 60}})
			in.link().Routes = append(in.link().Routes, proto(16, route("172.16.0.0/12 10.9.0.1")))
			in.record.NICs[0].Retired = retired("10.9.0.5/24", route("172.16.0.0/12 10.9.0.1"))
		}, "- address 10.9.0.5/24; - route 172.16.0.0/12 via 10.9.0.1"},
		"a route by DHCP that is wanted stays":               {func(in *input) { in.link().Routes[1].Protocol = 16 }, ""},
		"nothing where an enslaved twin of the NIC has come": {func(in *input) { in.twin() }, ""},
		"the MTU that a link on it needs stays": {func(in *input) {
			in.link().MTU = 1500
			in.lying("mv0", 1500)
		}, ""},
		"the MTU gets as small as a link on it lets it": {func(in *input) {
			in.link().MTU = 9000
			in.lying("mv0", 1450)
		}, "~ mtu 9000 -> 1450"},
		"the MTU gets smaller than that of a link beside it": {func(in *input) {
			in.link().MTU = 1500
			in.lying("mv0", 1500)
			in.Links[3].Lower = 2
		}, "~ mtu 1500 -> 1400"},
		"an MTU that is wanted no more goes, but not below a link on it": {func(in *input) {
			in.nic().MTU, in.record.NICs[0].Config.MTU, in.link().MTU = 0, 9000, 9000
			in.lying("mv0", 9000)
		}, ""},
		"given back: not down under a link that is up": {func(in *input) { in.give(); in.lying("mv0", 1400) }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500"},
		"given back: down under a link that is down":   {func(in *input) { in.give(); in.lying("mv0", 1400); in.Links[3].Up = false }, "~ name multinic1 -> eth1; ~ mtu 1400 -> 1500; ~ up -> down"},
		"given back: not smaller than a link on it": {func(in *input) {
			in.give()
			in.record.NICs[0].Found.MTU, in.record.NICs[0].Found.Up = 1300, true
			in.lying("mv0", 1400)
		}, "~ name multinic1 -> eth1"},
		"given back, but protected by now: nothing": {func(in *input) {
			in.want = nil
			in.Links[0].Routes = in.Links[0].Routes[:1]
			in.link().Routes = append(in.link().Routes, route("::/0 fe80::1"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(1, "10.1.0.5/24")
			c.MTU, c.Routes = 1400, []nic.Route{route("10.0.0.0/8 10.1.0.1")}
			x := &input{View: host(), want: []nic.Config{c}, record: plan.Record{NICs: []plan.Owned{owned(c)}}}
			x.Links[1] = up(link(1), c)
			x.Links[1].MTU = 1400
			test.change(x)
			var got []string
			for _, a := range plan.Make(x.want, nil, x.View, x.record).Actions {
				if a.Kind == plan.Refuse || a.Kind == plan.Wait {
					t.Fatalf("%s: %s", a.Reason, a.Message)
				}
				got = append(got, strings.Split(strings.TrimSpace(a.Change.String()), "\n")...)
			}
			if got := strings.Join(got, "; "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The undo of an end of a lease brings it back as it was found: as another's, and for as long.
func TestALeaseThatWasEndedComesBackAsItWas(t *testing.T) {
	in := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24", "10.1.0.6/24")}}
	in.link().Claim = generated
	lease := nic.Lifetime{Valid: 60, Preferred: 30}
	for _, a := range prefixes("10.1.0.5/24", "10.9.0.5/24") {
		in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: a, Lifetime: lease})
	}
	his := proto(16, route("172.16.0.0/12 10.9.0.1"))
	in.link().Routes = []nic.Route{his}
	a := plan.Make(in.want, nil, in.View, in.record).Actions[0]
	undo := nic.Change{}
	for _, s := range plan.Live(a.Change, true) {
		if l := s.Undo.Link; l != nil {
			undo.Add, undo.Terms, undo.AddRoutes = append(undo.Add, l.Add...), append(undo.Terms, l.Terms...), append(undo.AddRoutes, l.AddRoutes...)
		}
		if s.Kind == plan.StepFree && !slices.Equal(s.Do.Addresses, []netip.Addr{netip.MustParseAddr("10.1.0.6")}) {
			t.Errorf("the neighbours are asked for %v", s.Do.Addresses)
		}
	}
	if diff := cmp.Diff(prefixes("10.9.0.5/24"), undo.Add, compare); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]nic.Term{{Address: prefixes("10.1.0.5/24")[0], Now: lease}, {Address: prefixes("10.9.0.5/24")[0], Now: lease}}, undo.Terms, compare); diff != "" {
		t.Errorf("lifetimes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]nic.Route{his}, undo.AddRoutes, compare); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestThePlanSaysWhatALinkOnItNeeds(t *testing.T) {
	in := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
	in.ours()
	in.nic().MTU = 1400
	in.lying("mv0", 1500)
	a := plan.Make(in.want, nil, in.View, in.record).Actions[0]
	if want := "it has MTU 1500 and not 1400, since link mv0, which lies on it, needs that"; a.Note != want || a.NIC.MTU != 1500 || a.Asked.MTU != 1400 {
		t.Errorf("got %q, MTU %d for %d", a.Note, a.NIC.MTU, a.Asked.MTU)
	}
	in.Links = in.Links[:3]
	if a := plan.Make(in.want, nil, in.View, in.record).Actions[0]; a.Note != "" || a.NIC.MTU != 1400 {
		t.Errorf("nothing lies on it, but: %q, MTU %d", a.Note, a.NIC.MTU)
	}
}

// expires gives an address that is there a lifetime.
func (in *input) expires(a string) {
	for i, h := range in.link().Addresses {
		if h.Prefix.String() == a {
			in.link().Addresses[i] = nic.Address{Prefix: h.Prefix, Lifetime: nic.Lifetime{Valid: 40, Preferred: 40}}
		}
	}
}

// give takes NIC 1 out of the object; it has neither addresses nor routes.
func (in *input) give() {
	in.want = nil
	in.link().Addresses, in.link().Routes = nil, nil
	in.record.NICs[0].Config.Addresses, in.record.NICs[0].Config.Routes = nil, nil
}
