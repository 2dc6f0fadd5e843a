// Package ifcfg writes what is wanted of a NIC in NetworkManager's two dialects, keyfile and ifcfg, and turns a planned action into the steps
// of a change on hosts where NetworkManager owns the links.
//
// In go a plan.Action and the files as they are; out come []plan.Step: the profile is written, NetworkManager is asked over the bus to read
// that one file and to bring it in force on that one link; then the kernel is compared with what is wanted, and probed.
//
// It never asks NetworkManager to read everything again, restarts nothing, and touches no profile and no file but those named after its NICs.
//
// Start reading at Dialect.Files, then RenderKeyfile in keyfile.go and Backend.Steps in steps.go.
package ifcfg

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/sysctl"
)

// Dialect is the form of the profiles.
type Dialect string

// The dialects. NetworkManager reads keyfiles on every host, ifcfg files only where its plugin ifcfg-rh is loaded.
const (
	Keyfile Dialect = "keyfile"
	Ifcfg   Dialect = "ifcfg"
)

// Where the other files are.
const (
	ScriptsDir = "/etc/sysconfig/network-scripts"
	LinkDir    = "/etc/systemd/network"
)

// File is the profile of a NIC, by which NetworkManager calls it.
func (d Dialect) File(name string) string {
	if d == Ifcfg {
		return path.Join(ScriptsDir, "ifcfg-"+name)
	}
	return keyfile(name)
}

// Files gives all files of a NIC by path.
func (d Dialect) Files(c nic.Config) map[string][]byte {
	out := map[string][]byte{linkFile(c.Name): renderLink(c)}
	if data := sysctl.Render(c); data != nil {
		out[sysctl.File(c)] = data
	}
	if d == Keyfile {
		out[keyfile(c.Name)] = RenderKeyfile(c)
		return out
	}
	out[d.File(c.Name)] = RenderIfcfg(c)
	for prefix, is := range routeFiles {
		if data := renderRoutes(of(c, is)); data != nil {
			out[path.Join(ScriptsDir, prefix+c.Name)] = data
		}
	}
	return out
}

var routeFiles = map[string]func(netip.Addr) bool{"route-": netip.Addr.Is4, "route6-": netip.Addr.Is6}

// Mode is that of a file of ours. NetworkManager passes over a keyfile that others may read.
func Mode(file string) fs.FileMode {
	if path.Dir(file) == KeyfileDir {
		return 0o600
	}
	return 0o644
}

// patterns match, by the rules of path.Match, all files that Owned may own, and others.
var patterns = []string{
	KeyfileDir + "/" + nic.NamePrefix + "*", ScriptsDir + "/*-" + nic.NamePrefix + "*", LinkDir + "/10-" + nic.NamePrefix + "*", sysctl.Pattern,
}

// Owned says whether a file is ours by its name. Files are owned by name.
func Owned(file string) bool {
	dir, base := path.Split(file)
	var name string
	var ok bool
	switch dir {
	case KeyfileDir + "/":
		name, ok = strings.CutSuffix(base, ".nmconnection")
	case LinkDir + "/":
		if name, ok = strings.CutPrefix(base, "10-"); ok {
			name, ok = strings.CutSuffix(name, ".link")
		}
	case ScriptsDir + "/":
		prefix, rest, cut := strings.Cut(base, "-")
		name, ok = rest, cut && (prefix == "ifcfg" || prefix == "route" || prefix == "route6")
	default:
		return sysctl.Owned(file)
	}
	digits, ours := strings.CutPrefix(name, nic.NamePrefix)
	return ok && ours && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == ""
}

func linkFile(name string) string { return path.Join(LinkDir, "10-"+name+".link") }

// renderLink gives the file by which udev names the link at boot: systemd.link(5). NetworkManager has no means of its own for that.
//
// MACAddress, because systemd 239 of RHEL 8 does not know PermanentMACAddress and would take a file without another condition for one that is for all
// links. Links that borrow a NIC's MAC are left out by their type.
func renderLink(c nic.Config) []byte {
	return fmt.Appendf(nil, filestep.Mark+" changes made here are overwritten. NIC %s.\n[Match]\nMACAddress=%s\nType=!vlan bridge bond team macvlan macvtap ipvlan\n\n[Link]\nName=%s\n",
		c.Name, c.MAC, c.Name)
}

// RenderIfcfg gives the profile of a NIC in the form of nm-settings-ifcfg-rh(5), which is one of shell assignments. It says what RenderKeyfile
// says, but for the routes, which have files of their own. The same input gives the same bytes.
func RenderIfcfg(c nic.Config) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, filestep.Mark+" changes made here are overwritten. NIC %s, MAC %s.\n", c.Name, c.MAC)
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, quoteShell(value)) }
	set("TYPE", "Ethernet")
	set("NAME", c.Name)
	set("UUID", UUID(c.MAC))
	set("HWADDR", strings.ToUpper(c.MAC.String()))
	set("ONBOOT", "yes")
	set("AUTOCONNECT_PRIORITY", strconv.Itoa(autoconnectPriority))
	if c.MTU != 0 {
		set("MTU", strconv.Itoa(c.MTU))
	}
	set("BOOTPROTO", "none")
	four := of(c, netip.Addr.Is4)
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
			set(fmt.Sprintf("ROUTING_RULE_%d", i+1), ruleText(r))
		}
	}
	six := of(c, netip.Addr.Is6)
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
	set("IPV6_ROUTE_METRIC", strconv.Itoa(prefixMetric6))
	for i, r := range six.Rules {
		set(fmt.Sprintf("ROUTING_RULE6_%d", i+1), ruleText(r))
	}
	return []byte(b.String())
}

// renderRoutes gives the routes of one family, a line each, in the words of ip-route(8); nil where there are none.
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

// quoteShell writes a value as NetworkManager's plugin does (svEscape in src/core/settings/plugins/ifcfg-rh/shvar.c): as it is where the shell
// takes it so, in double quotes with \ before what counts within them, and as $'...' where there are control characters.
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
