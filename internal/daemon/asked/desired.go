package asked

import (
	"fmt"
	"slices"

	v1 "multinicd/api/v1"
	"multinicd/nic"
	"multinicd/plan"
)

// Desired is an object in our own words.
type Desired struct {
	NICs    []nic.Config  // sorted by id
	Invalid []Invalid     // entries that today's rules refuse; in the order of the object
	Hold    []nic.MAC     // NICs left as they are: their entry cannot be read
	HoldAll bool          // an entry cannot be read so far as to know its NIC: none is taken back
	Refused *plan.Refusal // the whole object is refused; the rest is empty
}

// Invalid is an entry that is refused for its own sake.
type Invalid struct {
	ID      int     // -1 where it cannot be read
	Name    string  // multinic<ID>; where that cannot be read, what was given, made printable
	MAC     nic.MAC // zero where that is what is wrong
	Text    string  // macAddress as it was given, in lower case, as far as it can be printed
	Message string
}

// Parse turns an object into what is wanted of this node. Objects from before today's rules may
// break them: an entry that does is refused alone, and one that cannot be read never makes a NIC
// count as unwanted.
func Parse(obj *v1.MultiNicNodeConfig, node string) Desired {
	if obj.Spec.NodeName != node {
		return Desired{Refused: &plan.Refusal{Reason: plan.InvalidSpec, Message: fmt.Sprintf("spec.nodeName: the object is for node %q, this is %q", obj.Spec.NodeName, node)}}
	}
	bad := map[int]string{}
	nics, errs := obj.Validate()
	for _, e := range errs {
		if e.Index < 0 {
			return Desired{Refused: &plan.Refusal{Reason: plan.InvalidSpec, Message: e.Error()}}
		}
		if bad[e.Index] == "" {
			bad[e.Index] = e.Error()
		}
	}
	var out Desired
	for i, entry := range obj.Spec.Interfaces {
		mac, err := nic.ParseMAC(entry.MACAddress)
		if msg := bad[i]; msg != "" || err != nil {
			if msg == "" {
				msg = fmt.Sprintf("spec.interfaces[%d].macAddress: %v", i, err)
			}
			out.refuse(entry, nics[i], mac, msg)
			continue
		}
		out.NICs = append(out.NICs, config(nics[i], mac, entry.PortID))
	}
	nic.SortConfigs(out.NICs)
	return out
}

func (d *Desired) refuse(entry v1.Interface, n v1.Normal, mac nic.MAC, msg string) {
	const most = 32 // bytes of what may be anything: a line of the status shows it
	bad := Invalid{ID: -1, Name: v1.Printable(entry.Name, most), MAC: mac, Text: v1.Printable(n.MACAddress, most), Message: msg}
	if n.Name != "" && n.ID >= 0 && n.ID <= v1.MaxID {
		bad.ID, bad.Name = int(n.ID), nic.NameFor(int(n.ID))
	}
	d.Invalid = append(d.Invalid, bad)
	if mac.IsZero() {
		d.HoldAll = true
		return
	}
	d.Hold = append(d.Hold, mac)
}

func config(n v1.Normal, mac nic.MAC, port string) nic.Config {
	out := nic.Config{ID: int(n.ID), Name: n.Name, MAC: mac, Addresses: n.Addresses, MTU: int(n.MTU), Gateway: n.Gateway, Adopt: n.Adopt, PortID: port}
	for _, r := range n.Routes {
		route := nic.Route{To: r.To, Via: r.Via, Metric: int(r.Metric), Table: int(r.Table)}
		if !slices.ContainsFunc(out.Routes, func(o nic.Route) bool { return o.Key() == route.Key() }) {
			out.Routes = append(out.Routes, route)
		}
	}
	return out
}

// Held lists what must not be taken back: the entries that cannot be read, or, where one tells
// nothing of its NIC, all that we own.
func (d Desired) Held(rec plan.Record) []nic.MAC {
	out := d.Hold
	if d.HoldAll {
		for _, o := range rec.NICs {
			out = append(out, o.MAC)
		}
	}
	return out
}
