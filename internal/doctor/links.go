package doctor

import (
	"fmt"
	"slices"
	"strings"

	"multinicd/nic"
	"multinicd/plan"
)

// nics are the links that could be NICs.
func (f Facts) nics() (out []nic.Link) {
	for _, l := range f.Links {
		if l.Kind == "" && l.Device || slices.Contains(f.Kinds, l.Kind) && l.Name != "lo" {
			out = append(out, l)
		}
	}
	return out
}

// owned finds what we remember of a link that is ours now.
func (f Facts) owned(l nic.Link) *plan.Owned {
	for i, o := range f.Record.NICs {
		if o.Applied && l.HasMAC(o.MAC) {
			return &f.Record.NICs[i]
		}
	}
	return nil
}

// owners says who configures each link.
func owners(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		one := Finding{ID: "link-owner", Severity: Info, Subject: l.Name}
		switch {
		case own != nil && l.Claim != nil && !own.Adopted && !l.Claim.Machine:
			one.ID, one.Severity = "two-owners", Problem
			one.Evidence = fmt.Sprintf("multinicd configures it as %s, and so does %s: %s", own.Config.Name, l.Claim.Owner, l.Claim.Evidence)
			one.Advice = "remove that configuration, or set adopt: true on the NIC in the object"
		case own != nil:
			one.Evidence = "multinicd, as " + own.Config.Name
			if own.From != "" {
				one.Evidence += ", " + plan.FoundThen(own.From)
			}
			if l.Claim != nil {
				out = append(out, Finding{"claimed-too", Info, l.Name, fmt.Sprintf("%s has a configuration for it too: %s; multinicd's counts before it, also at the next boot", l.Claim.Owner, l.Claim.Evidence), ""})
			}
		case l.Claim != nil:
			one.Evidence = fmt.Sprintf("%s: %s", l.Claim.Owner, l.Claim.Evidence)
		default:
			one.Evidence = "nobody"
		}
		if owner := f.Owners[l.Index]; owner != "" {
			one.Evidence += "; " + owner
		}
		out = append(out, one)
	}
	return out
}

// foreign is about a restart of networkd, which deletes what it has not made itself.
func foreign(f Facts) (out []Finding) {
	if !f.NetworkdRuns {
		return nil
	}
	// A restart deletes nothing where nobody has made routes or rules beside networkd.
	harm := f.Kubelet != "" || len(f.CNIs) > 0 ||
		slices.ContainsFunc(f.Record.NICs, func(o plan.Owned) bool { return o.Applied && len(o.Config.Routes)+len(o.Config.Rules) > 0 })
	for _, s := range f.Foreign {
		one := Finding{ID: "networkd-foreign", Severity: Warning, Subject: s.Key}
		switch {
		case s.Off && s.InForce:
			one.Severity, one.Evidence = Info, "off: "+s.File+" says so, and networkd was started after it was written"
		case s.Unread != "":
			one.Evidence = s.Unread + " sets it, but networkd runs as the user systemd-network, who may not read it: it does not count, and when networkd is started anew it deletes routes and rules of others"
			one.Advice = "chmod a+r " + s.Unread + ", and a+rx the folder that it is in; it counts from the next boot on"
		case s.Off:
			one.Evidence = s.File + " switches it off, but networkd was started before that was written"
			one.Advice = "nothing now: it counts from the next boot on; do not start networkd anew on a node with Pods"
		case !harm:
			one.Evidence = "on, which is the default; nothing here depends on it: there is neither a kubelet nor a container network, and no NIC of ours has routes or rules"
		default:
			one.Evidence = "on, which is the default: when networkd is started anew, or reads its files again, it deletes what it has not made itself: routes and rules of the container network, and ours until we have put them back"
			one.Advice = "write " + s.Key + "=no below [Network] into /etc/systemd/networkd.conf.d/10-multinicd.conf; it counts from the next boot on"
		}
		if !harm {
			one.Severity = Info
		}
		out = append(out, one)
	}
	return out
}

func rpFilter(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		if own == nil || max(f.RPFilter, l.Conf.RPFilter) != 1 {
			continue
		}
		if len(own.Config.Rules) > 0 {
			if slices.ContainsFunc(own.Config.Rules, func(r nic.Rule) bool { return r.NoDefault }) {
				out = append(out, Finding{"rp-filter", Info, l.Name,
					fmt.Sprintf("the reverse path filter is strict (net.ipv4.conf.all.rp_filter %d, that of the link %d): what comes by the NIC's gateway from a network to which another link leads, as the primary's own subnet, is dropped", f.RPFilter, l.Conf.RPFilter),
					fmt.Sprintf("if hosts there speak to this NIC by a router, give the NIC their network as a route with table: %d (docs/routing.md, \"A gateway\")", nic.Table(own.Config.ID))})
			}
			continue
		}
		out = append(out, Finding{"rp-filter", Warning, l.Name,
			fmt.Sprintf("the reverse path filter is strict (net.ipv4.conf.all.rp_filter %d, that of the link %d): what comes from a network to which another link leads is dropped", f.RPFilter, l.Conf.RPFilter),
			fmt.Sprintf("if hosts beyond its subnet speak to this NIC, give it a gateway in the object; or set it for this link alone, now by sysctl -w net.ipv4.conf.%s.rp_filter=2, and for each boot by the line net.ipv4.conf.%s.rp_filter = 2 in a file of yours in /etc/sysctl.d (the greater of the two values counts; the one of all links stays as it is: Calico ends where that is 2)", l.Name, own.Config.Name)})
	}
	return out
}

// advertisements finds NICs that a router on their network can give routes to.
func advertisements(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		if f.owned(l) == nil || l.Conf6 == nil || l.Conf6.Off || l.Conf6.AcceptRA == 0 {
			continue
		}
		out = append(out, Finding{"router-advertisements", Warning, l.Name,
			fmt.Sprintf("it listens to IPv6 routers (net.ipv6.conf.%s.accept_ra is %d): one on its network can give this host a default route", l.Name, l.Conf6.AcceptRA),
			"start multinicd, which closes it; where that runs already, it does so when a router is heard, or when it looks next (source.resync)"})
	}
	return out
}

// ipv6 says so where a host can have no IPv6 address: an object that wants one is refused.
func ipv6(f Facts) []Finding {
	if f.NoIPv6 == "" {
		return nil
	}
	return []Finding{{"ipv6-off", Info, "", f.NoIPv6 + ": a NIC with an IPv6 address is refused (NotSupported)", ""}}
}

// names is about links that have not the name that they are to have.
func names(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		if own == nil || own.Config.Name == l.Name {
			continue
		}
		one := Finding{"rename-at-reboot", Warning, l.Name, fmt.Sprintf("it is to be called %s, and the kernel does not rename a link that is up", own.Config.Name), "the next reboot renames it; until then use the present name"}
		switch why := f.Names[l.Index]; {
		case len(why.By) > 0:
			one.Evidence = fmt.Sprintf("it is to be called %s; in the way at each boot: %s", own.Config.Name, strings.Join(why.By, "; "))
			one.Advice = "take that out, unless somebody needs the name; addresses and routes do not depend on it. multinicd-recover.service gives the name back before the link is up, where that is enabled"
		case why.Booted:
			one.Evidence = fmt.Sprintf("it is to be called %s, and the host has booted since the file that says so was written", own.Config.Name)
			one.Advice = "systemctl enable multinicd-recover.service, which names it before it is up; or make the initrd anew (dracut -f, or update-initramfs -u), where udev may have named it by older files"
		}
		out = append(out, one)
	}
	return out
}
