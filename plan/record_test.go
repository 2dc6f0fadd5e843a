package plan_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/nic"
	"multinicd/plan"
)

var compare = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

func retired(things ...any) (out []plan.Retired) {
	for _, x := range things {
		switch x := x.(type) {
		case string:
			out = append(out, plan.Retired{Address: netip.MustParsePrefix(x)})
		case nic.Route:
			out = append(out, plan.Retired{Route: &x})
		case nic.Rule:
			out = append(out, plan.Retired{Rule: &x})
		}
	}
	return out
}

// edited are addresses that somebody wrote into our files.
func edited(addrs ...string) (out []plan.Retired) {
	for _, p := range prefixes(addrs...) {
		out = append(out, plan.Retired{Address: p, Edited: true})
	}
	return out
}

// byHand puts addresses on the link, as the kernel tells of a person.
func (in *input) byHand(addrs ...string) {
	for _, p := range prefixes(addrs...) {
		in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: p, Permanent: true, Hand: true})
	}
}

func fromRule(prefix string, table, priority int) nic.Rule {
	return nic.Rule{From: netip.MustParsePrefix(prefix), Table: table, Priority: priority}
}

// What is remembered of NIC 1 once a plan is done.
func TestMakeRemembers(t *testing.T) {
	before := config(1, "10.1.0.5/24")
	before.Routes = []nic.Route{route("10.0.0.0/8 10.1.0.1")}
	kept := owned(before)
	for name, test := range map[string]struct {
		change func(in *input)
		want   *plan.Owned
	}{
		"a new NIC as it was found": {func(in *input) { in.record.NICs = nil; *in.link() = link(1); in.link().MTU, in.link().Up = 1450, true },
			&plan.Owned{MAC: mac(1), Config: before, Applied: true, Found: plan.Found{Name: "eth1", MTU: 1450, Up: true}}},
		"one that is as it should be, unchanged": {func(*input) {}, &kept},
		"a changed address retires the old one": {func(in *input) { in.is("10.1.0.6/24") }, remember(kept, func(o *plan.Owned) {
			o.Config.Addresses, o.Retired = prefixes("10.1.0.6/24"), retired("10.1.0.5/24")
		})},
		"another length is another address": {func(in *input) { in.is("10.1.0.5/16") }, remember(kept, func(o *plan.Owned) {
			o.Config.Addresses, o.Retired = prefixes("10.1.0.5/16"), retired("10.1.0.5/24")
		})},
		"a changed route retires the old one": {func(in *input) { in.routes(route("10.0.0.0/8 10.1.0.2")) }, remember(kept, func(o *plan.Owned) {
			o.Config.Routes, o.Retired = []nic.Route{route("10.0.0.0/8 10.1.0.2")}, retired(route("10.0.0.0/8 10.1.0.1"))
		})},
		"the same route said otherwise retires nothing": {func(in *input) { in.routes(in2(254, "10.0.0.0/8 10.1.0.1")) }, remember(kept, func(o *plan.Owned) {
			o.Config.Routes = []nic.Route{in2(254, "10.0.0.0/8 10.1.0.1")}
		})},
		"what is wanted again is not retired any more": {func(in *input) { in.record.NICs[0].Retired = retired("10.1.0.5/24", "10.1.0.4/24") }, remember(kept, func(o *plan.Owned) {
			o.Retired = retired("10.1.0.4/24")
		})},
		"an address that somebody wrote into our file is retired, whether it is there yet or not": {func(in *input) {
			in.link().Written = prefixes("10.1.0.5/24", "10.1.0.77/24", "10.1.0.78/24")
			in.has(in.link(), "10.1.0.77/24")
		}, remember(kept, func(o *plan.Owned) { o.Retired = edited("10.1.0.77/24", "10.1.0.78/24") })},
		"one that somebody has put there by hand as well is his own": {func(in *input) {
			in.link().Written = prefixes("10.1.0.5/24", "10.1.0.77/24")
			in.byHand("10.1.0.77/24")
		}, &kept},
		"one that was in our file, and was put there by hand since, is his own too": {func(in *input) {
			in.record.NICs[0].Retired = append(retired("10.1.0.76/24"), edited("10.1.0.77/24", "10.1.0.78/24")...)
			in.byHand("10.1.0.76/24", "10.1.0.77/24")
		}, remember(kept, func(o *plan.Owned) { o.Retired = append(retired("10.1.0.76/24"), edited("10.1.0.78/24")...) })},
		"an address in our file is wanted by the next object": {func(in *input) {
			in.is("10.1.0.77/24")
			in.link().Written = prefixes("10.1.0.77/24")
		}, remember(kept, func(o *plan.Owned) {
			o.Config.Addresses, o.Retired = prefixes("10.1.0.77/24"), retired("10.1.0.5/24")
		})},
		"a NIC that is given back retires what somebody wrote into its file": {func(in *input) {
			in.want = nil
			in.link().Written = prefixes("10.1.0.77/24")
		}, remember(kept, func(o *plan.Owned) {
			o.Applied, o.Retired = false, append(retired("10.1.0.5/24", route("10.0.0.0/8 10.1.0.1")), edited("10.1.0.77/24")...)
		})},
		"a NIC that is given back retires all that was ours": {func(in *input) { in.want = nil }, remember(kept, func(o *plan.Owned) {
			o.Applied, o.Retired = false, retired("10.1.0.5/24", route("10.0.0.0/8 10.1.0.1"))
		})},
		"a NIC given back that had nothing is forgotten": {func(in *input) {
			in.want, in.record.NICs[0].Config.Addresses, in.record.NICs[0].Config.Routes = nil, nil, nil
		}, nil},
		"a NIC that comes again keeps how it was found first": {func(in *input) {
			in.record.NICs[0].Applied, in.record.NICs[0].Retired = false, retired("10.1.0.5/24", "10.1.0.4/24")
			*in.link() = link(1)
			in.link().Name = "multinic1"
		}, remember(kept, func(o *plan.Owned) { o.Retired = retired("10.1.0.4/24") })},
		"a NIC taken over retires what its owner configured, and only that": {func(in *input) {
			in.record.NICs = nil
			in.nic().Adopt = true
			*in.link() = link(1)
			in.link().Claim = claim
			in.has(in.link(), "10.9.0.5/24", "10.1.0.5/24", "fe80::1/64")
			in.link().Addresses = append(in.link().Addresses, nic.Address{Prefix: netip.MustParsePrefix("2001:db8::5/64"), Advertised: true}, nic.Address{Prefix: netip.MustParsePrefix("10.9.0.6/24")})
			in.link().Rules = []nic.Rule{fromRule("10.9.0.5/32", 101, 32765), fromRule("10.1.0.5/32", 102, 32764), fromRule("10.9.0.0/24", 101, 32762), fromRule("10.8.0.5/32", 101, 32761)}
			for protocol, r := range map[int]string{2: "10.9.0.0/24", 4: "172.16.0.0/12 10.9.0.1", 9: "2001:db8::/64", 80: "10.244.0.0/16 10.9.0.1"} {
				r := route(r)
				r.Protocol = protocol
				in.link().Routes = append(in.link().Routes, r)
			}
		}, remember(kept, func(o *plan.Owned) {
			o.Config.Adopt, o.Adopted, o.From = true, true, "taken over from netplan: 50-cloud-init.yaml names its MAC"
			o.Retired = retired("10.9.0.5/24", "10.9.0.6/24", route("172.16.0.0/12 10.9.0.1"), fromRule("10.9.0.5/32", 101, 32765), fromRule("10.1.0.5/32", 102, 32764))
		})},
		"a NIC taken over from a machine needs no word": {func(in *input) {
			in.record.NICs = nil
			*in.link() = link(1)
			in.link().Claim = generated
			in.has(in.link(), "10.9.0.5/24")
			in.link().Routes = inTable(101, "172.16.0.0/12 10.9.0.1")
		}, remember(kept, func(o *plan.Owned) {
			o.Adopted, o.From = true, "taken over from netplan: 90-default.yaml matches every en*"
			o.Retired = retired("10.9.0.5/24", in2(101, "172.16.0.0/12 10.9.0.1"))
		})},
		"a lease on the very address that is wanted is taken over": {func(in *input) {
			in.record.NICs = nil
			*in.link() = link(1)
			in.temporary("10.1.0.5/24")
			in.link().Routes = inTable(254, "172.16.0.0/12 10.1.0.1")
		}, remember(kept, func(o *plan.Owned) {
			o.Adopted, o.From = true, "taken over with address 10.1.0.5/24, which somebody had leased"
			o.Retired = retired(in2(254, "172.16.0.0/12 10.1.0.1"))
		})},
		"a NIC of the former agent retires what that configured, and the rules of its addresses": {func(in *input) {
			in.record.NICs = nil
			*in.link() = link(1)
			in.link().Former = []string{"/etc/netplan/91-multinic1.yaml"}
			in.has(in.link(), "10.9.0.5/24", "10.1.0.5/24", "fe80::1/64")
			in.link().Routes = append(inTable(0, "172.16.0.0/12 10.9.0.1"), inTable(101, "0.0.0.0/0 10.9.0.1")...)
			elsewhere := route("10.7.0.0/16")
			elsewhere.Table = 102
			in.other().Routes = append(in.other().Routes, elsewhere)
			// The third rule leads into another's table.
			in.link().Rules = []nic.Rule{fromRule("10.9.0.5/32", 101, 32765), fromRule("10.1.0.5/32", 101, 32764), fromRule("10.9.0.5/32", 102, 32763),
				fromRule("10.9.0.0/24", 101, 32762), fromRule("10.8.0.5/32", 101, 32761), fromRule("10.9.0.5/32", 99, 32760), fromRule("10.9.0.5/32", 254, 32759)}
		}, remember(kept, func(o *plan.Owned) {
			table101 := route("0.0.0.0/0 10.9.0.1")
			table101.Table = 101
			o.Retired = retired("10.9.0.5/24", route("172.16.0.0/12 10.9.0.1"), table101, fromRule("10.9.0.5/32", 101, 32765), fromRule("10.1.0.5/32", 101, 32764))
		})},
		"what a person has set by hand is taken over with leave": {func(in *input) {
			in.record.NICs = nil
			in.nic().Adopt = true
			*in.link() = link(1)
			in.has(in.link(), "10.9.0.5/24")
		}, remember(kept, func(o *plan.Owned) {
			o.Config.Adopt, o.Adopted, o.From = true, true, "taken over with address 10.9.0.5/24, which a person had set by hand"
			o.Retired = retired("10.9.0.5/24")
		})},
		"leave to take over that is not needed takes nothing over": {func(in *input) {
			in.record.NICs = nil
			in.nic().Adopt = true
			*in.link() = link(1)
			in.has(in.link(), "10.1.0.5/24")
		}, remember(kept, func(o *plan.Owned) { o.Config.Adopt = true })},
	} {
		t.Run(name, func(t *testing.T) {
			x := &input{View: host(), want: []nic.Config{before}, record: plan.Record{NICs: []plan.Owned{kept}}}
			x.Links[1] = up(link(1), before)
			test.change(x)
			var got *plan.Owned
			for _, a := range plan.Make(x.want, x.hold, x.View, x.record).Actions {
				if a.Kind != plan.Configure && a.Kind != plan.Remove {
					t.Fatalf("%s: %s", a.Reason, a.Message)
				}
				got = a.After
			}
			if diff := cmp.Diff(test.want, got, compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func remember(o plan.Owned, change func(*plan.Owned)) *plan.Owned {
	change(&o)
	return &o
}

func TestRetiredIsBoundedAndTheOldestGo(t *testing.T) {
	rec, m := plan.Record{}, host()
	for i := range 300 {
		c := config(1, fmt.Sprintf("10.1.%d.%d/24", i/250, 1+i%250))
		a := plan.Make([]nic.Config{c}, nil, m, rec).Actions[0]
		if a.Kind != plan.Configure {
			t.Fatal(a.Message)
		}
		rec = rec.With(c.MAC, a.After)
	}
	got, _ := rec.Find(mac(1))
	if len(got.Retired) != 256 {
		t.Errorf("%d are retired, want 256", len(got.Retired))
	}
	if last := got.Retired[255].Address.String(); last != "10.1.1.49/24" {
		t.Errorf("the newest is %s", last)
	}
	if data, err := json.Marshal(rec); err != nil || len(data) > 64<<10 {
		t.Errorf("a record of %d bytes, %v", len(data), err)
	}
}

func TestRecordWith(t *testing.T) {
	one, two, three := owned(config(1)), owned(config(2)), owned(config(3))
	changed := remember(two, func(o *plan.Owned) { o.Adopted = true })
	for name, test := range map[string]struct {
		have []plan.Owned
		mac  nic.MAC
		to   *plan.Owned
		want []plan.Owned
	}{
		"the first":                         {nil, mac(1), &one, []plan.Owned{one}},
		"another in front":                  {[]plan.Owned{two}, mac(1), &one, []plan.Owned{one, two}},
		"another between":                   {[]plan.Owned{one, three}, mac(2), &two, []plan.Owned{one, two, three}},
		"another behind":                    {[]plan.Owned{one, two}, mac(3), &three, []plan.Owned{one, two, three}},
		"one that is there is replaced":     {[]plan.Owned{one, two, three}, mac(2), changed, []plan.Owned{one, *changed, three}},
		"one that is there is forgotten":    {[]plan.Owned{one, two, three}, mac(2), nil, []plan.Owned{one, three}},
		"one that is not there is no error": {[]plan.Owned{one, three}, mac(2), nil, []plan.Owned{one, three}},
	} {
		t.Run(name, func(t *testing.T) {
			before := plan.Record{NICs: append([]plan.Owned(nil), test.have...)}
			after := before.With(test.mac, test.to)
			if diff := cmp.Diff(test.want, after.NICs, compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(test.have, before.NICs, compare); diff != "" {
				t.Errorf("the receiver changed: -want +got:\n%s", diff)
			}
			got, ok := after.Find(test.mac)
			if ok != (test.to != nil) || ok && !cmp.Equal(got, *test.to, compare) {
				t.Errorf("found %v, %v", got, ok)
			}
		})
	}
}

func TestNewBoot(t *testing.T) {
	applied := *remember(owned(config(1)), func(o *plan.Owned) { o.RenameBlocked, o.Adopted, o.Retired = true, true, retired("10.1.0.1/24") })
	given := *remember(owned(config(2)), func(o *plan.Owned) { o.Applied, o.Retired = false, retired("10.2.0.1/24") })
	before := plan.Record{NICs: []plan.Owned{applied, given}}
	want := []plan.Owned{*remember(applied, func(o *plan.Owned) { o.RenameBlocked, o.Retired = false, nil })}
	if diff := cmp.Diff(want, before.NewBoot().NICs, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(before.NICs) != 2 || before.NICs[0].Retired == nil {
		t.Error("the receiver changed")
	}
}

func TestRecordSurvivesTheDisk(t *testing.T) {
	c := config(1, "10.1.0.5/24", "2001:db8::5/64")
	c.Routes = []nic.Route{from("10.1.0.5", route("10.0.0.0/8 10.1.0.1")), in2(100, "::/0")}
	want := plan.Record{NICs: []plan.Owned{*remember(owned(c), func(o *plan.Owned) {
		o.Adopted, o.RenameBlocked, o.Retired = true, true, retired("10.1.0.4/24", route("10.0.0.0/8 10.1.0.9"))
	})}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got plan.Record
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatIsRetiredAgainIsRememberedOnce(t *testing.T) {
	first, second := config(1, "10.1.0.5/24"), config(1, "10.1.0.6/24")
	first.Routes, second.Routes = []nic.Route{route("10.0.0.0/8 10.1.0.1"), route("172.16.0.0/12 10.1.0.1")}, []nic.Route{route("10.0.0.0/8 10.1.0.2")}
	rec := plan.Record{}
	for i := range 6 {
		a := plan.Make([]nic.Config{[]nic.Config{first, second}[i%2]}, nil, host(), rec).Actions[0]
		rec = rec.With(mac(1), a.After)
	}
	// Each way round adds the other one, and what is wanted again is taken out.
	want := retired("10.1.0.5/24", route("10.0.0.0/8 10.1.0.1"), route("172.16.0.0/12 10.1.0.1"))
	if got, _ := rec.Find(mac(1)); !cmp.Equal(want, got.Retired, compare) {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, got.Retired, compare))
	}
	// A NIC that is given back retires again what was retired before.
	got, _ := rec.Find(mac(1))
	got.Retired = append(got.Retired, retired("10.1.0.6/24", route("10.0.0.0/8 10.1.0.2"))...)
	given := plan.Make(nil, nil, host(), rec.With(mac(1), &got)).Actions[0].After
	if diff := cmp.Diff(got.Retired, given.Retired, compare); diff != "" {
		t.Errorf("given back: -want +got:\n%s", diff)
	}
}
