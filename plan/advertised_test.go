package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/nic"
	"multinicd/plan"
)

// What a link is to have of IPv6, by what it has, what is wanted and what was. Of NIC 1; see input.
func TestALinkIsClosedToRouterAdvertisements(t *testing.T) {
	open, closed, four := nic.Conf6{AcceptRA: 1}, nic.Conf6{}, nic.Conf6{AddrGenMode: nic.AddrGenNone}
	for name, test := range map[string]struct {
		has    *nic.Conf6
		change func(in *input)
		want   *nic.Conf6 // nil: no change
	}{
		"a new one, for IPv4":                                      {&open, func(*input) {}, &four},
		"a new one, for IPv6, keeps its link-local address":        {&open, func(in *input) { in.is("2001:db8:7::5/64") }, &closed},
		"one whose addresses the kernel makes of a secret":         {&nic.Conf6{AcceptRA: 1, AddrGenMode: 3}, func(in *input) { in.is("2001:db8:7::5/64") }, &nic.Conf6{AddrGenMode: 3}},
		"one without any address":                                  {&open, func(in *input) { in.is() }, &four},
		"one that 0.1.0 has configured":                            {&open, func(in *input) { in.ours() }, &closed},
		"one that is closed":                                       {&four, func(in *input) { in.ours() }, nil},
		"opened by hand":                                           {&nic.Conf6{AcceptRA: 2, AddrGenMode: nic.AddrGenNone}, func(in *input) { in.ours() }, &four},
		"that no process can set from here":                        {nil, func(*input) {}, nil},
		"which has IPv6 switched off":                              {&nic.Conf6{AcceptRA: 1, Off: true}, func(*input) {}, nil},
		"which has IPv6 switched off, and is to have an address":   {&nic.Conf6{AcceptRA: 1, Off: true}, func(in *input) { in.is("2001:db8:7::5/64") }, &closed},
		"of NetworkManager, which makes the link-local address":    {&four, func(in *input) { in.is("2001:db8:7::5/64") }, nil},
		"that is to have IPv6 too, and had none by our doing":      {&four, func(in *input) { in.ours(); in.record.NICs[0].Conf6 = &open; in.is("10.1.0.5/24", "2001:db8:7::5/64") }, &closed},
		"that is to have IPv6 too, and had none when it was found": {&four, func(in *input) { in.ours(); in.record.NICs[0].Conf6 = &four; in.is("10.1.0.5/24", "2001:db8:7::5/64") }, nil},
		"that is to have IPv6 no more": {&closed, func(in *input) {
			in.ours()
			in.record.NICs[0].Conf6, in.record.NICs[0].Config.Addresses = &open, prefixes("10.1.0.5/24", "2001:db8:7::5/64")
			in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8:7::5/64"), Permanent: true})
		}, &four},
		"that is as wanted, and has a link-local address all the same": {&closed, func(in *input) { in.ours() }, nil},
		"that has a link-local address, and is changed anyway":         {&closed, func(in *input) { in.ours(); in.nic().MTU = 1400 }, &four},
		"that gets IPv6 with its MTU":                                  {nil, func(in *input) { in.ours(); in.record.NICs[0].Conf6 = &open; in.link().MTU, in.nic().MTU = 576, 1500 }, &four},
		"that loses IPv6 with its MTU":                                 {&open, func(in *input) { in.nic().MTU = 576 }, nil},
		"with an MTU that is too small":                                {nil, func(in *input) { in.ours(); in.record.NICs[0].Conf6 = &open; in.link().MTU, in.nic().MTU = 576, 576 }, nil},
		"that was given back and comes back":                           {&open, func(in *input) { in.ours(); in.record.NICs[0].Applied, in.record.NICs[0].Conf6 = false, &open }, &closed},
	} {
		t.Run(name, func(t *testing.T) {
			in := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24")}}
			if in.link().Conf6 = test.has; test.has != nil {
				has := *test.has
				in.link().Conf6 = &has
			}
			test.change(in)
			a := plan.Make(in.want, in.hold, in.View, in.record).Actions[0]
			if a.Kind != plan.Configure {
				t.Fatalf("got %s: %s", a.Kind, a.Message)
			}
			if diff := cmp.Diff(test.want, a.Change.Conf6); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			if test.has != nil && a.After.Conf6 == nil {
				t.Error("what it had is not remembered")
			}
			// Carried out, nothing is left to do, and the kernel is as it is to be.
			if in.link().MTU < 1280 && in.nic().MTU >= 1280 {
				in.link().Conf6 = &nic.Conf6{AcceptRA: 1} // the kernel begins anew
			}
			if err := carryOut(a.Change, &in.View); err != nil {
				t.Fatal(err)
			}
			if in.nic().MTU != 0 && in.nic().MTU < 1280 {
				in.link().Conf6 = nil // and so it does where IPv6 ends
			}
			again := plan.Make(in.want, in.hold, in.View, in.record.With(a.NIC.MAC, a.After)).Actions[0]
			if again.Change.Conf6 != nil {
				t.Errorf("the second time: %s", again.Change)
			}
			for _, m := range plan.Verify(a.NIC, *in.link(), *a.After) {
				if m.Field == "conf" {
					t.Errorf("%s", m)
				}
			}
			// Undone, it is as it was.
			if test.has != nil && in.link().Conf6 != nil {
				if err := carryOut(a.Change.Inverse(), &in.View); err != nil {
					t.Fatal(err)
				}
				if *in.link().Conf6 != *test.has {
					t.Errorf("undone it has %s, had %s", in.link().Conf6, test.has)
				}
			}
		})
	}
}

func TestALinkIsGivenBackAsOpenAsItWasFound(t *testing.T) {
	for name, test := range map[string]struct {
		was, has nic.Conf6
		wanted   string // the address that it had of us
		want     *nic.Conf6
	}{
		"as it was found":                            {nic.Conf6{AcceptRA: 1}, nic.Conf6{AddrGenMode: nic.AddrGenNone}, "10.1.0.5/24", &nic.Conf6{AcceptRA: 1}},
		"with IPv6":                                  {nic.Conf6{AcceptRA: 2, AddrGenMode: 3}, nic.Conf6{AddrGenMode: 3}, "2001:db8:7::5/64", &nic.Conf6{AcceptRA: 2, AddrGenMode: 3}},
		"with IPv6 that was off":                     {nic.Conf6{AcceptRA: 1, Off: true}, nic.Conf6{}, "2001:db8:7::5/64", &nic.Conf6{AcceptRA: 1, Off: true}},
		"found closed":                               {nic.Conf6{AddrGenMode: nic.AddrGenNone}, nic.Conf6{AddrGenMode: nic.AddrGenNone}, "10.1.0.5/24", nil},
		"what somebody has changed since stays":      {nic.Conf6{AcceptRA: 1}, nic.Conf6{AcceptRA: 2, AddrGenMode: 3}, "10.1.0.5/24", nil},
		"what somebody has switched off stays so":    {nic.Conf6{AcceptRA: 1}, nic.Conf6{AcceptRA: 1, Off: true}, "10.1.0.5/24", nil},
		"what a network manager makes with IPv6 too": {nic.Conf6{AcceptRA: 1}, nic.Conf6{AddrGenMode: nic.AddrGenNone}, "2001:db8:7::5/64", &nic.Conf6{AcceptRA: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			in := &input{View: host(), want: []nic.Config{config(1, test.wanted)}}
			in.ours()
			in.link().Conf6, in.record.NICs[0].Conf6 = &test.has, &test.was
			in.want = in.want[1:]
			i := slices.IndexFunc(plan.Make(in.want, nil, in.View, in.record).Actions, func(a plan.Action) bool { return a.Kind == plan.Remove })
			a := plan.Make(in.want, nil, in.View, in.record).Actions[i]
			if a.Link == nil {
				t.Fatalf("no link is given back: %s", a.Message)
			}
			if diff := cmp.Diff(test.want, a.Change.Conf6); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatWasAdvertisedIsDrift(t *testing.T) {
	in := &input{View: host(), want: []nic.Config{config(1, "10.1.0.5/24", "2001:db8:7::5/64")}}
	in.ours()
	in.advertised(in.link())
	in.advertised(&in.Links[0]) // the primary's own: its default route counts, and stays
	onLink := proto(2, route("2001:db8:66::/64"))
	more := proto(9, route("2001:db8:77::/48 fe80::bad"))
	in.link().Routes = append(in.link().Routes, onLink, more, proto(4, route("2001:db8:88::/48 fe80::1")), proto(2, route("fe80::/64")), proto(2, route("2001:db8:7::/64")), proto(2, route("2001:db8:99::1/128")))
	// Somebody's.
	in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8:55::1/64"), Permanent: true})
	a := plan.Make(in.want, nil, in.View, in.record).Actions[0]
	if a.Kind != plan.Configure {
		t.Fatalf("got %s: %s", a.Kind, a.Message)
	}
	if diff := cmp.Diff(prefixes("2001:db8:f::1234/64"), a.Change.Advertised, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	var got []string
	for _, r := range a.Change.AdvertisedRoutes {
		got = append(got, r.String())
	}
	if diff := cmp.Diff([]string{"default via fe80::bad", "2001:db8:66::/64", "2001:db8:77::/48 via fe80::bad"}, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if len(a.Change.Del)+len(a.Change.DelRoutes) > 0 {
		t.Errorf("it would take more: %s", a.Change)
	}
	if len(plan.Make(in.want, nil, in.View, in.record).Actions) != 2 {
		t.Error("there is an action on another link")
	}

	// Also of one that is given back: it is, and nothing keeps it.
	in.want = nil
	for _, a := range plan.Make(in.want, nil, in.View, in.record).Actions {
		if a.Kind != plan.Remove || a.Link == nil {
			t.Errorf("given back: %s of link %v: %s", a.Kind, a.Link, a.Message)
		}
	}
}
