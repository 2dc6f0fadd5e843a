// Package ifcfg is NetworkManager's format of ifcfg files, for hosts whose NetworkManager has the
// plugin ifcfg-rh.
//
// In goes a nic.Config; out come the files that say it, and back: the profile, and the routes in
// files of their own. Which file is written when is up to networkmanager.Backend, whose Format
// this is.
//
// It reads and writes no file by itself, and asks nobody. What both formats say in the same words
// is in package networkmanager.
//
// Start reading at Format.Files, then Render.
package ifcfg

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/networkmanager"
	"multinicd/nic"
)

// Format is the format of nm-settings-ifcfg-rh(5).
type Format struct{}

// File implements networkmanager.ProfileFormat.
func (Format) File(name string) string { return path.Join(networkmanager.ScriptsDir, "ifcfg-"+name) }

// Files implements networkmanager.ProfileFormat.
func (f Format) Files(c nic.Config) map[string][]byte {
	out := networkmanager.Beside(c)
	out[f.File(c.Name)] = Render(c)
	for prefix, is := range routeFiles {
		if data := renderRoutes(networkmanager.Family(c, is)); data != nil {
			out[path.Join(networkmanager.ScriptsDir, prefix+c.Name)] = data
		}
	}
	return out
}

// Read implements networkmanager.ProfileFormat.
func (Format) Read(file string, read func(file string) []byte) (networkmanager.Profile, error) {
	name := strings.TrimPrefix(path.Base(file), "ifcfg-")
	return Read(read(file), read(path.Join(networkmanager.ScriptsDir, "route-"+name)), read(path.Join(networkmanager.ScriptsDir, "route6-"+name)))
}

var routeFiles = map[string]func(netip.Addr) bool{"route-": netip.Addr.Is4, "route6-": netip.Addr.Is6}

// Render gives the profile of a NIC in the form of nm-settings-ifcfg-rh(5), which is a list of
// shell assignments. The profile says what networkmanager.RenderKeyfile says, except the routes,
// which have files of their own. The same input gives the same bytes.
func Render(c nic.Config) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, filestep.Mark+" changes made here are overwritten. NIC %s, MAC %s.\n", c.Name, c.MAC)
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, quoteShell(value)) }
	set("TYPE", "Ethernet")
	set("NAME", c.Name)
	set("UUID", networkmanager.UUID(c.MAC))
	set("HWADDR", strings.ToUpper(c.MAC.String()))
	set("ONBOOT", "yes")
	set("AUTOCONNECT_PRIORITY", strconv.Itoa(networkmanager.AutoconnectPriority))
	if c.MTU != 0 {
		set("MTU", strconv.Itoa(c.MTU))
	}
	set("BOOTPROTO", "none")
	four := networkmanager.Family(c, netip.Addr.Is4)
	for i, a := range four.Addresses {
		n := ""
		if i > 0 {
			n = strconv.Itoa(i)
		}
		set("IPADDR"+n, a.Addr().String())
		set("PREFIX"+n, strconv.Itoa(a.Bits()))
	}
	if len(four.Addresses) > 0 {
		set("DEFROUTE", "no")
		set("ACD_TIMEOUT", "0")
		set("IPV4_ROUTE_METRIC", "0")
		for i, r := range four.Rules {
			set(fmt.Sprintf("ROUTING_RULE_%d", i+1), networkmanager.RuleText(r))
		}
	}
	six := networkmanager.Family(c, netip.Addr.Is6)
	if len(six.Addresses) == 0 {
		set("IPV6INIT", "no")
		set("IPV6_DISABLED", "yes")
		return []byte(b.String())
	}
	set("IPV6INIT", "yes")
	set("IPV6_AUTOCONF", "no")
	set("IPV6ADDR", six.Addresses[0].String())
	var more []string
	for _, a := range six.Addresses[1:] {
		more = append(more, a.String())
	}
	if more != nil {
		set("IPV6ADDR_SECONDARIES", strings.Join(more, " "))
	}
	set("IPV6_DEFROUTE", "no")
	set("IPV6_ADDR_GEN_MODE", "eui64")
	set("IPV6_PRIVACY", "no")
	set("IPV6_ROUTE_METRIC", strconv.Itoa(networkmanager.PrefixMetric6))
	for i, r := range six.Rules {
		set(fmt.Sprintf("ROUTING_RULE6_%d", i+1), networkmanager.RuleText(r))
	}
	return []byte(b.String())
}

// renderRoutes gives the routes of one family, a line each, in the words of ip-route(8); nil where
// there are none.
func renderRoutes(c nic.Config) []byte {
	if len(c.Routes) == 0 || len(c.Addresses) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(filestep.Mark + " changes made here are overwritten.\n")
	for _, r := range c.Routes {
		b.WriteString(r.To.String())
		if r.Via.IsValid() {
			b.WriteString(" via " + r.Via.WithZone("").String())
		}
		if r.Source.IsValid() {
			b.WriteString(" src " + r.Source.WithZone("").String())
		}
		fmt.Fprintf(&b, " metric %d", r.Metric)
		if r.OnLink && r.Via.IsValid() {
			b.WriteString(" onlink")
		}
		if r.Table != 0 && r.Table != nic.TableMain {
			fmt.Fprintf(&b, " table %d", r.Table)
		}
		b.WriteString("\n")
	}
	return []byte(b.String())
}

// quoteShell writes a value as NetworkManager's plugin does (svEscape in
// src/core/settings/plugins/ifcfg-rh/shvar.c). A value that the shell takes as it is stays so.
// Others stand in double quotes, with \ before what counts within them. With control characters a
// value stands as $'...'.
func quoteShell(value string) string {
	plain, control := true, false
	for _, c := range []byte(value) {
		control = control || c < ' ' || c == 0x7f
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_./:,@%+", c) >= 0)
	}
	var b strings.Builder
	switch {
	case plain:
		return value
	case control:
		b.WriteString("$'")
		for _, c := range []byte(value) {
			switch {
			case c < ' ' || c == 0x7f:
				fmt.Fprintf(&b, "\\%03o", c)
			case c == '\'' || c == '\\':
				b.WriteByte('\\')
				fallthrough
			default:
				b.WriteByte(c)
			}
		}
		b.WriteString("'")
	default:
		b.WriteByte('"')
		for _, c := range []byte(value) {
			if strings.IndexByte("\"\\$`", c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
		b.WriteByte('"')
	}
	return b.String()
}
