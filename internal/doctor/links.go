package doctor

import (
	"fmt"
	"net/netip"
	"slices"

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
		case own != nil && l.Claim != nil && !own.Adopted:
			one.ID, one.Severity = "two-owners", Problem
			one.Evidence = fmt.Sprintf("multinicd configures it as %s, and so does %s: %s", own.Config.Name, l.Claim.Owner, l.Claim.Evidence)
			one.Advice = "remove that configuration, or set adopt: true on the NIC in the object"
		case own != nil:
			one.Evidence = "multinicd, as " + own.Config.Name
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
		default:
			one.Evidence = "on, which is the default: when networkd is started anew, or reads its files again, it deletes what it has not made itself: routes and rules of the container network, and ours until we have put them back"
			one.Advice = "write " + s.Key + "=no below [Network] into /etc/systemd/networkd.conf.d/10-multinicd.conf; it counts from the next boot on"
		}
		out = append(out, one)
	}
	return out
}

func rpFilter(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		own := f.owned(l)
		if own == nil || max(f.RPFilter, l.Conf.RPFilter) != 1 || len(own.Config.Rules) > 0 {
			continue
		}
		out = append(out, Finding{"rp-filter", Warning, l.Name,
			fmt.Sprintf("the reverse path filter is strict (net.ipv4.conf.all.rp_filter %d, that of the link %d): what comes from a network to which another link leads is dropped", f.RPFilter, l.Conf.RPFilter),
			"if hosts beyond its subnet speak to this NIC, give it a gateway in the object, or set net.ipv4.conf.all.rp_filter=2 in /etc/sysctl.d"})
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

// subnets finds those that overlap: of equal ones each NIC of ours has a table of its own, but nobody helps where one lies in the other.
func subnets(f Facts) (out []Finding) {
	type on struct {
		link   string
		subnet netip.Prefix
	}
	var all []on
	for _, l := range f.Links {
		for _, a := range l.Addresses {
			if s := a.Prefix.Masked(); !a.Prefix.IsSingleIP() && !s.Addr().IsLinkLocalUnicast() && !s.Addr().IsLoopback() && !slices.Contains(all, on{l.Name, s}) {
				all = append(all, on{l.Name, s})
			}
		}
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.link == b.link || !a.subnet.Overlaps(b.subnet) {
				continue
			}
			one := Finding{ID: "overlapping-subnets", Severity: Warning, Subject: a.link + " " + b.link,
				Evidence: fmt.Sprintf("%s on %s and %s on %s overlap: what is sent to the smaller one leaves by its link alone", a.subnet, a.link, b.subnet, b.link),
				Advice:   "give one of them another subnet"}
			if a.subnet == b.subnet {
				one.Evidence = fmt.Sprintf("%s is on %s and on %s: an answer may leave by the other link", a.subnet, a.link, b.link)
				one.Advice = "where the NICs are multinicd's, leave routing.same_subnet at \"auto\": each gets a table of its own; otherwise give one of them another subnet"
			}
			out = append(out, one)
		}
	}
	return out
}

func names(f Facts) (out []Finding) {
	for _, l := range f.nics() {
		if own := f.owned(l); own != nil && own.Config.Name != l.Name {
			out = append(out, Finding{"rename-at-reboot", Warning, l.Name,
				fmt.Sprintf("it is to be called %s, and the kernel does not rename a link that is up", own.Config.Name), "the next reboot renames it; until then use the present name"})
		}
	}
	return out
}
