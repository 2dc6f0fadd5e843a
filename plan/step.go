package plan

import (
	"io/fs"
	"net/netip"

	"multinicd/nic"
)

// Step is one part of a change, made together with its undo. Steps are data, so that a journal can hold them and a daemon that
// was killed can undo, or finish, what it began. Both Do and Undo may be run again without harm.
type Step struct {
	Name string // "guard", "rename", "mtu", "up", "free", "addresses", "routes", "verify", "probe", "validate", "persist", "runtime"
	Do   Op
	Undo Op `json:",omitzero"` // zero: nothing to undo
	// Final: once this step is done the change is in force at the next boot too, and recovery goes on with it instead of back.
	Final bool `json:",omitempty"`
}

// Op is one thing to do. At most one of Link, File and Check is set.
type Op struct {
	Link  *nic.Change `json:",omitempty"`
	File  *File       `json:",omitempty"`
	Check Check       `json:",omitempty"`
	// Addresses are what CheckFree asks about, and set only with it.
	Addresses []netip.Addr `json:",omitempty"`
}

// Zero says that there is nothing to do.
func (o Op) Zero() bool { return o.Link == nil && o.File == nil && o.Check == "" }

// Check is a look at the world that may end a change.
type Check string

// The checks.
const (
	CheckGuard    Check = "guard"    // the link may still be touched: rule 1 again, right before the change
	CheckFree     Check = "free"     // no neighbour has the addresses that are to be added
	CheckVerify   Check = "verify"   // the kernel shows what is wanted
	CheckProbe    Check = "probe"    // what answered before the change still answers
	CheckValidate Check = "validate" // the host's own tool accepts the files that are to be put in place
)

// File is a file as it is to be: whole, or absent.
type File struct {
	Path   string // absolute, as the host sees it
	Data   []byte
	Mode   fs.FileMode // permission bits only
	Absent bool
}

// Live gives the steps that make a change in the kernel, each with its undo, in an order in which no step undoes another:
// names and MTU while the link may still be down, addresses before the routes that need them. A link that is to go down does so last.
// With dad, neighbours are asked for new IPv4 addresses first; IPv6 has the kernel's own detection, which CheckVerify waits for.
func Live(c nic.Change, dad bool) []Step {
	var steps []Step
	add := func(name string, part nic.Change) {
		if part.Empty() {
			return
		}
		inverse := part.Inverse()
		steps = append(steps, Step{Name: name, Do: Op{Link: &part}, Undo: Op{Link: &inverse}})
	}
	part := func() nic.Change { return nic.Change{Index: c.Index, MAC: c.MAC, Had: c.Had} }
	rename, mtu, up, down, routes, addresses := part(), part(), part(), part(), part(), part()
	rename.Name = c.Name
	mtu.MTU, mtu.HadMTU = c.MTU, c.HadMTU
	up.Up, down.Down = c.Up, c.Down
	addresses.Add, addresses.Del = c.Add, c.Del
	routes.AddRoutes, routes.DelRoutes = c.AddRoutes, c.DelRoutes
	if !c.Down {
		add("rename", rename)
		for _, p := range []*nic.Change{&mtu, &up, &addresses, &routes} {
			if c.Name != "" {
				p.Had = c.Name
			}
		}
		add("mtu", mtu)
		add("up", up)
		if free := only4(c.Add); dad && len(free) > 0 {
			steps = append(steps, Step{Name: "free", Do: Op{Check: CheckFree, Addresses: free}})
		}
		add("addresses", addresses)
		if len(c.Del) == 0 {
			add("routes", routes)
			return steps
		}
		// A deleted route may lead by way of a deleted address: it comes back with that, and cannot before.
		steps[len(steps)-1].Undo.Link.AddRoutes = c.DelRoutes
		if add("routes", routes); !routes.Empty() {
			steps[len(steps)-1].Undo.Link.AddRoutes = nil
		}
		return steps
	}
	add("routes", routes)
	add("addresses", addresses)
	add("down", down)
	add("rename", rename)
	if c.Name != "" {
		mtu.Had = c.Name
	}
	add("mtu", mtu) // behind the rename, since udev may set the MTU then
	return steps
}

func only4(ps []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, p := range ps {
		if p.Addr().Is4() {
			out = append(out, p.Addr())
		}
	}
	return out
}
