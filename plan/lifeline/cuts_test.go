package lifeline_test

import (
	"net/netip"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan/lifeline"
)

// leads gives a link one more route.
func leads(l *nic.Link, to string) { l.Routes = append(l.Routes, route(to)) }

// A route through NIC 1 to 198.51.100.0/24, in which the API server is: a longer prefix saves the
// path only on the link that the path takes.
func TestWhoseTrafficARouteCuts(t *testing.T) {
	const cut = "for 198.51.100.1, which is the API server"
	for name, test := range map[string]struct {
		change func(in *input)
		want   string
	}{
		"by the default route":               {func(*input) {}, cut},
		"by an equal prefix of the primary":  {func(in *input) { leads(&in.Links[0], "198.51.100.0/24 192.0.2.254") }, ""},
		"by a longer prefix of the primary":  {func(in *input) { leads(&in.Links[0], "198.51.100.0/25 192.0.2.254") }, ""},
		"by a shorter prefix of the primary": {func(in *input) { leads(&in.Links[0], "198.51.0.0/16 192.0.2.254") }, cut},
		"by a longer prefix of another link": {func(in *input) { leads(in.other(), "198.51.100.0/25 10.2.0.1") }, cut},
		"by a longer prefix in another table only": {func(in *input) {
			in.Links[0].Routes = append(in.Links[0].Routes, inTable(100, route("198.51.100.0/25")))
		}, cut},
	} {
		t.Run(name, func(t *testing.T) {
			x := &input{lifeline.Host{Links: hosttest.StockLinks(), Paths: []lifeline.Path{api}}}
			test.change(x)
			if got := x.Cuts(netip.MustParsePrefix("198.51.100.0/24"), *x.link()); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A route through NIC 1 to 10.0.0.0/8, in which 10.96.0.0/12 is protected: the place is another
// link's only where that link leads to all of it.
func TestWhichProtectedPlacesARouteDraws(t *testing.T) {
	for name, test := range map[string]struct {
		change func(in *input)
		drawn  bool
	}{
		"nobody leads there":                       {func(*input) {}, true},
		"another link leads to all of it":          {func(in *input) { leads(in.other(), "10.96.0.0/12 10.2.0.1") }, false},
		"another link leads to a part of it":       {func(in *input) { leads(in.other(), "10.96.0.0/16 10.2.0.1") }, true},
		"the NIC itself leads there":               {func(in *input) { leads(in.link(), "10.96.0.0/12 10.1.0.1") }, true},
		"the NIC leads there, and may":             {func(in *input) { leads(in.link(), "10.96.0.0/12 10.1.0.1"); in.Protect[0].Here = true }, false},
		"the NIC leads to a part of it, and may":   {func(in *input) { leads(in.link(), "10.96.0.0/16 10.1.0.1"); in.Protect[0].Here = true }, true},
		"nobody leads there, and the NIC may keep": {func(in *input) { in.Protect[0].Here = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			place := lifeline.Protected{To: netip.MustParsePrefix("10.96.0.0/12"), What: "of the Services"}
			x := &input{lifeline.Host{Links: hosttest.StockLinks(), Protect: []lifeline.Protected{place}}}
			test.change(x)
			got := x.Draws(netip.MustParsePrefix("10.0.0.0/8"), nic.TableMain, *x.link())
			if (got != nil) != test.drawn || got != nil && got.To != place.To {
				t.Errorf("got %+v, want it drawn: %v", got, test.drawn)
			}
		})
	}
}
