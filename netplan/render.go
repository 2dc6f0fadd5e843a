// Package netplan writes what is wanted of a NIC in netplan's dialect, and turns a planned action
// into the steps of a change on hosts where netplan and systemd-networkd own the links.
//
// In go a plan.Action and the files as they are; out come []plan.Step: the one link is changed over
// netlink first, then verified and probed, and only then persisted, so that a crash before the end
// boots the old configuration by itself.
//
// It asks netplan or networkd to apply something only where multinicd.toml wants that
// (activate.go): it deletes routes, rules and addresses of other links (systemd 252 and 257,
// netplan 0.106 and 1.1.2, measured November 2026).
//
// Start reading at Render, then Backend.Steps in steps.go.
package netplan

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/sysctl"
)

// Where the files are. Names in Dir count in lexical order.
const (
	Dir        = "/etc/netplan"
	RuntimeDir = "/run/systemd/network"
)

// File is the path of the YAML that holds a NIC.
func File(c nic.Config) string { return path.Join(Dir, "90-"+c.Name+".yaml") }

// ID is the name of the netplan definition that holds a NIC. networkd takes the first file that
// matches a link, in lexical order of 10-netplan-<ID>, so that ours counts before an image's
// catch-all (all-en) and before what cloud-init writes (ens4), now and at any later boot.
func ID(c nic.Config) string { return "0-" + c.Name }

// formerID is the name that the definition had before: netplan's generator has made files of that
// name at the last boot, where the YAML is of an older version.
func formerID(c nic.Config) string { return c.Name }

// lastID is the name of a second definition of the NIC, which names the link and says nothing else.
// What boots must not depend on the name: netplan puts the name into [Match] of a definition that
// has set-name, and cloud-init gives a NIC that it knows its own name back at every boot (Debian
// 12, 13 and testing, November 2026). So the first definition matches by MAC alone. netplan makes a
// udev rule of each definition that names its link, and there the last in lexical order has its
// way.
func lastID(c nic.Config) string { return "zz-" + c.Name }

func runtimeFiles(id string) (network, link string) {
	stem := path.Join(RuntimeDir, "10-netplan-"+id)
	return stem + ".network", stem + ".link"
}

// Folders lists the folders of the files of both renderers. netplan's generator calls a file by an
// id of ours, which may begin with other letters than a NIC's name.
func Folders() []filestep.Folder {
	return []filestep.Folder{
		{Dir: Dir, Names: "90-", Secret: true},
		{Dir: RuntimeDir, Names: "10-netplan-"},
		{Dir: ProfileDir, Names: "netplan-", Secret: true},
		{Dir: sysctl.Dir, Names: "90-"},
	}
}

// OurFile says whether a file is ours by its name. Files are owned by name.
func OurFile(file string) bool {
	dir, base := path.Split(file)
	switch path.Clean(dir) {
	case Dir:
		return ownName(strings.TrimSuffix(strings.TrimPrefix(base, "90-"), ".yaml")) && strings.HasPrefix(base, "90-") && strings.HasSuffix(base, ".yaml")
	case RuntimeDir:
		id, ok := strings.CutPrefix(base, "10-netplan-")
		stem := strings.TrimSuffix(strings.TrimSuffix(id, ".network"), ".link")
		return ok && stem != id && ownName(strings.TrimPrefix(strings.TrimPrefix(stem, "0-"), "zz-"))
	case ProfileDir:
		id, ok := strings.CutPrefix(base, "netplan-")
		stem, profile := strings.CutSuffix(id, ".nmconnection")
		return ok && profile && ownName(strings.TrimPrefix(strings.TrimPrefix(stem, "0-"), "zz-"))
	}
	return false
}

func ownName(name string) bool {
	digits, ok := strings.CutPrefix(name, nic.NamePrefix)
	return ok && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
}

// Render gives the whole YAML of one NIC. Every value in it is typed, so no text of a user can
// reach the file; the same input gives the same bytes. Keys that the live change does not make are
// off: no DHCP, no router advertisements, and no IPv6 link-local address where no IPv6 is wanted.
// optional keeps a boot from waiting for a NIC that is not plugged in.
func Render(c nic.Config) []byte { return render(c, rendererNetworkd, nil) }

// Renderers of netplan, in its own words.
const (
	rendererNetworkd = "networkd"
	rendererManager  = "NetworkManager"
)

// render gives the same for a renderer. more writes what else is to stand in the definition.
func render(c nic.Config, renderer string, more func(line func(format string, args ...any))) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(filestep.Mark+" changes made here are overwritten. NIC %s, MAC %s.", c.Name, c.MAC)
	line("network:")
	line("  version: 2")
	line("  ethernets:")
	line("    %s:", ID(c))
	line("      renderer: %s", renderer)
	line("      match:")
	line("        macaddress: \"%s\"", c.MAC)
	line("      optional: true")
	line("      dhcp4: false")
	line("      dhcp6: false")
	line("      accept-ra: false")
	line("      link-local: [%s]", strings.TrimPrefix(linkLocal(c), "no"))
	if c.MTU != 0 {
		line("      mtu: %d", c.MTU)
	}
	if len(c.Addresses) > 0 {
		line("      addresses:")
		for _, a := range c.Addresses {
			line("      - \"%s\"", a)
		}
	}
	if len(c.Routes) > 0 {
		line("      routes:")
		for _, r := range c.Routes {
			renderRoute(line, r, renderer != rendererNetworkd)
		}
	}
	// See ruleLines.
	rules := slices.DeleteFunc(slices.Clone(c.Rules), func(r nic.Rule) bool { return r.NoDefault })
	if len(rules) > 0 {
		line("      routing-policy:")
		for _, r := range rules {
			line("      - from: \"%s\"", r.From)
			if r.To.IsValid() {
				line("        to: \"%s\"", r.To)
			}
			line("        table: %d", r.Table)
			line("        priority: %d", r.Priority)
		}
	}
	if more != nil {
		more(line)
	}
	line("    %s:", lastID(c))
	line("      renderer: %s", renderer)
	line("      match:")
	line("        macaddress: \"%s\"", c.MAC)
	line("      set-name: %s", c.Name)
	line("      optional: true")
	return []byte(b.String())
}

// renderRoute writes a metric of 0 too where another would be taken by default.
func renderRoute(line func(string, ...any), r nic.Route, zero bool) {
	line("      - to: \"%s\"", r.To)
	if r.Via.IsValid() {
		line("        via: \"%s\"", r.Via.WithZone(""))
		if r.OnLink {
			line("        on-link: true")
		}
	} else {
		line("        scope: link")
	}
	if r.Source.IsValid() {
		line("        from: \"%s\"", r.Source.WithZone(""))
	}
	if r.Metric != 0 || zero {
		line("        metric: %d", r.Metric)
	}
	if r.Table != 0 && r.Table != nic.TableMain {
		line("        table: %d", r.Table)
	}
}

// linkLocal is networkd's word for it: LinkLocalAddressing= in systemd.network(5).
func linkLocal(c nic.Config) string {
	if slices.ContainsFunc(c.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		return "ipv6"
	}
	return "no"
}
