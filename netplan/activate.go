package netplan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"multinicd/nic"
	"multinicd/plan"
)

// The services that may be asked to take over what netlink has done, once the change is verified,
// probed and in the files: backend.activation of multinicd.toml. "": nobody is asked.
const (
	Networkd = "networkd" // reads its files again, where that can touch no other link
	Netplan  = "netplan"  // applies, which touches other links
)

// activated puts the steps together, and adds those that ask a service where one is to be asked.
// The request comes last. Its undo stands before the files: so the service is asked again when the
// files are as they were, and then the kernel gets what the service has taken.
func (b *Backend) activated(a plan.Action, live, late []plan.Step) []plan.Step {
	verb := b.asked(a)
	touched := func(f plan.File) bool { return path.Dir(f.Path) == RuntimeDir }
	if verb == plan.Apply {
		touched = func(f plan.File) bool { return path.Dir(f.Path) == Dir }
	}
	if a.Kind == plan.Remove && b.Activation != Networkd && verb == plan.Reload && len(late) == 0 && len(live) > 0 {
		// The files are gone, and networkd has read them all the same, restarted at the wrong moment. It
		// has to forget them first, or else it sets the link up once more.
		forget := plan.Manage{Verb: verb, Index: a.Link.Index, MAC: a.NIC.MAC, UUID: "forget " + a.NIC.MAC.String()}
		return append([]plan.Step{{Kind: plan.StepActivate, Do: plan.Op{Manage: &forget}}}, live...)
	}
	// Where two NICs swap their names, a service would see one of them under a wrong name for a
	// moment.
	if a.Link == nil || a.Change.Way != nil || verb == "" ||
		!slices.ContainsFunc(late, func(s plan.Step) bool { return s.Do.File != nil && touched(*s.Do.File) }) {
		return append(live, late...)
	}
	sum := sha256.New()
	for _, s := range late {
		if f := s.Do.File; f != nil {
			fmt.Fprintf(sum, "%s %v %s\n", f.Path, f.Absent, f.Data)
		}
	}
	ask := plan.Manage{Verb: verb, Index: a.Link.Index, MAC: a.NIC.MAC, UUID: hex.EncodeToString(sum.Sum(nil))}
	back := ask
	back.Undo = true
	before := plan.KernelBefore(a)
	kernel := plan.Step{Kind: plan.StepKernel, Undo: plan.Op{Link: &before}}
	if a.Kind == plan.Configure {
		network, _ := runtimeFiles(b.known(a.NIC))
		ask.Name, ask.Files = a.NIC.Name, []string{network}
		live = append(live, kernel)
	} else { // undone behind the others: the link is down where it was given back
		live = append([]plan.Step{kernel}, live...)
	}
	steps := append(live, b.generated(a, verb)...)
	steps = append(steps, plan.Step{Kind: plan.StepService, Undo: plan.Op{Manage: &back}})
	steps = append(steps, late...)
	steps = append(steps, plan.Step{Kind: plan.StepActivate, Do: plan.Op{Manage: &ask}})
	if again := afterwards(a); verb == plan.Reload && !again.Empty() {
		steps = append(steps, plan.Step{Kind: plan.StepKernel, Do: plan.Op{Link: &again}})
	}
	return append(steps, plan.Step{Kind: plan.StepVerify, Do: plan.Op{Check: plan.CheckVerify}},
		plan.Step{Kind: plan.StepProbe, Do: plan.Op{Check: plan.CheckProbe}})
}

// afterwards is what a link is to be once more, when networkd has done its part.
func afterwards(a plan.Action) nic.Change {
	if a.Kind == plan.Remove {
		return released(a)
	}
	return kept(a)
}

// kept is an address that was leased before and is wanted, and what needs that: networkd may have
// taken the address along with the lease.
func kept(a plan.Action) nic.Change {
	out := nic.Change{Index: a.Link.Index, MAC: a.NIC.MAC, Had: a.Link.Name}
	if a.Change.Name != "" {
		out.Had = a.Change.Name
	}
	for _, t := range a.Change.Extends() {
		out.Add, out.AddRoutes = append(out.Add, t.Address), a.NIC.Routes
	}
	return out
}

// released is what a link that is given back is to be once more, when networkd has let go of it.
// networkd may have set the link up and closed it to routers just before, by our file, and takes
// nothing back but addresses and routes. What somebody else has set of IPv6 stays as it was found.
func released(a plan.Action) nic.Change {
	c := a.Change
	out := nic.Change{Index: a.Link.Index, MAC: a.NIC.MAC, Had: a.Link.Name, MTU: c.MTU, HadMTU: c.HadMTU, Down: c.Down, Conf6: c.Conf6, HadConf6: c.HadConf6}
	if c.Name != "" {
		out.Had = c.Name
	}
	if out.Conf6 == nil {
		out.Conf6, out.HadConf6 = a.Link.Conf6, a.Link.Conf6
	}
	if out.Conf6 != nil {
		out.HadConf6 = &nic.Conf6{AcceptRA: 0, AddrGenMode: nic.AddrGenNone, Off: out.HadConf6.Off}
	}
	return out
}

// asked says which service is to take a change over; "": none. Whatever is configured, networkd is
// asked where its configuration of the link is not what the files say. That is an image's
// catch-all, or cloud-init's file, whose lease networkd would renew for as long as it runs. Of a
// NIC that is given back it is our own file, whose address would come again with the carrier.
func (b *Backend) asked(a plan.Action) plan.Verb {
	switch {
	case b.Activation == Networkd:
		return plan.Reload
	case b.Activation == Netplan:
		return plan.Apply
	case b.renderer != rendererNetworkd || a.Link == nil:
		return ""
	}
	if file := b.Bus.NetworkdFile(a.Link.Index); file != "" && OurFile(file) == (a.Kind == plan.Remove) {
		return plan.Reload
	}
	return ""
}

// generated gives undo steps that remove the files for networkd which netplan's generator has made
// of a new NIC, in case netplan's second apply does not remove them.
func (b *Backend) generated(a plan.Action, verb plan.Verb) (steps []plan.Step) {
	if verb != plan.Apply || a.Kind != plan.Configure {
		return nil
	}
	network, link := runtimeFiles(b.known(a.NIC))
	for _, f := range []string{network, link} {
		if _, _, err := b.Files.Read(f); errors.Is(err, fs.ErrNotExist) {
			steps = append(steps, plan.Step{Kind: plan.StepRuntime, Undo: plan.Op{File: &plan.File{Path: f, Absent: true}}})
		}
	}
	return steps
}

// skeleton is what netplan's generator (0.106 and 1.1.2) would write of a NIC for networkd, for
// Retarget to fill in. It finds the link by its present MAC: virtual machines may have no permanent
// MAC, and the name may still be another one.
func skeleton(c nic.Config) []byte {
	return fmt.Appendf(nil, "[Match]\nMACAddress=%s\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n", c.MAC)
}
