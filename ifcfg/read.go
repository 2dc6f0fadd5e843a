package ifcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/plan"
)

// Profile is what a profile says of a NIC. Addresses, routes and rules come IPv4 first, as they were written.
type Profile struct {
	UUID   string
	Config nic.Config
}

// Read gives the profile in file and in those that belong to it; read gives a file's content, nil where it is not there.
func Read(file string, read func(file string) []byte) (Profile, error) {
	if path.Dir(file) == KeyfileDir {
		return ReadKeyfile(read(file))
	}
	name := strings.TrimPrefix(path.Base(file), "ifcfg-")
	return ReadIfcfg(read(file), read(path.Join(ScriptsDir, "route-"+name)), read(path.Join(ScriptsDir, "route6-"+name)))
}

// Owned reads back what our files of this dialect say: all that is known of them where the record was lost. It is sorted by file; how the links were
// found is not known. A file that cannot be read is left out, and named in the error beside the rest.
func (b *Backend) Owned() ([]plan.Owned, error) {
	var out []plan.Owned
	err := filestep.EachMarked(b.Files, b.Dialect.File(nic.NamePrefix+"*"), Owned, func(name string, _ []byte) error {
		var unread error
		p, err := Read(name, func(file string) []byte {
			data, _, failed := b.Files.Read(file)
			if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
				unread = errors.Join(unread, fmt.Errorf("reading %s: %w", file, failed))
			}
			return data
		})
		if err == nil {
			out = append(out, plan.Owned{MAC: p.Config.MAC, Config: p.Config, Applied: true})
		}
		return errors.Join(unread, err)
	})
	return out, err
}

// reader parses values, and keeps the first error.
type reader struct{ err error }

func (r *reader) fail(what, value string) {
	if r.err == nil {
		r.err = fmt.Errorf("reading the profile: %q is no %s", value, what)
	}
}

func (r *reader) number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		r.fail("number", s)
	}
	return int(n)
}

func (r *reader) prefix(s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		r.fail("prefix", s)
	}
	return p
}

func (r *reader) addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		r.fail("address", s)
	}
	return a
}

func (r *reader) address(c *nic.Config, s string) { c.Addresses = append(c.Addresses, r.prefix(s)) }

func (r *reader) name(c *nic.Config, s string) {
	digits, ok := strings.CutPrefix(s, nic.NamePrefix)
	if !ok {
		r.fail("name of a NIC", s)
	}
	c.Name, c.ID = s, r.number(digits)
}

func (r *reader) mac(c *nic.Config, s string) {
	m, err := nic.ParseMAC(s)
	if err != nil {
		r.fail("MAC", s)
	}
	c.MAC = m
}

// rule reads what ruleText writes, in any order.
func (r *reader) rule(c *nic.Config, s string) {
	var out nic.Rule
	words := strings.Fields(s)
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "priority":
			out.Priority = r.number(words[i+1])
		case "from":
			out.From = r.prefix(words[i+1])
		case "table":
			out.Table = r.number(words[i+1])
		default:
			r.fail("rule", s)
		}
	}
	c.Rules = append(c.Rules, out)
}

// routes reads what renderRoutes writes.
func (r *reader) routes(c *nic.Config, data []byte) {
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		route := nic.Route{To: r.prefix(words[0])}
		for i := 1; i < len(words); i++ {
			if words[i] == "onlink" {
				route.OnLink = true
				continue
			}
			if i+1 == len(words) {
				r.fail("route", line)
				return
			}
			switch words[i] {
			case "via":
				route.Via = r.addr(words[i+1])
			case "src":
				route.Source = r.addr(words[i+1])
			case "metric":
				route.Metric = r.number(words[i+1])
			case "table":
				route.Table = r.number(words[i+1])
			default:
				r.fail("route", line)
			}
			i++
		}
		c.Routes = append(c.Routes, route)
	}
}

// ReadIfcfg reads what RenderIfcfg writes, with what others may have added to it, and the routes of both families; nil: none.
func ReadIfcfg(data, routes, routes6 []byte) (Profile, error) {
	keys := map[string]string{}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return Profile{}, fmt.Errorf("reading line %d: %q is no assignment", n+1, line)
		}
		value, err := unquoteShell(value)
		if err != nil {
			return Profile{}, fmt.Errorf("reading line %d: %w", n+1, err)
		}
		keys[key] = value
	}
	p := Profile{UUID: keys["UUID"]}
	var r reader
	r.name(&p.Config, keys["NAME"])
	r.mac(&p.Config, keys["HWADDR"])
	p.Config.MTU = r.number(keys["MTU"])
	for n := ""; keys["IPADDR"+n] != ""; {
		r.address(&p.Config, keys["IPADDR"+n]+"/"+keys["PREFIX"+n])
		next := 1
		if n != "" {
			next = r.number(n) + 1
		}
		n = strconv.Itoa(next)
	}
	if first := keys["IPV6ADDR"]; first != "" && keys["IPV6INIT"] == "yes" {
		for _, a := range append([]string{first}, strings.Fields(keys["IPV6ADDR_SECONDARIES"])...) {
			r.address(&p.Config, a)
		}
	}
	r.routes(&p.Config, routes)
	r.routes(&p.Config, routes6)
	for _, key := range []string{"ROUTING_RULE_", "ROUTING_RULE6_"} {
		for n := 1; keys[key+strconv.Itoa(n)] != ""; n++ {
			r.rule(&p.Config, keys[key+strconv.Itoa(n)])
		}
	}
	return p, r.err
}

// unquoteShell reads what quoteShell, or the plugin's svEscape, wrote: one word, as it is, in double quotes, or as $'...' with octal escapes.
func unquoteShell(s string) (string, error) {
	var b strings.Builder
	switch {
	case strings.HasPrefix(s, "\""):
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] == '"' && i == len(s)-1:
				return b.String(), nil
			case s[i] == '"':
				return "", fmt.Errorf("%q goes on behind its quotes", s)
			case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
				i++
			}
			b.WriteByte(s[i])
		}
		return "", fmt.Errorf("%q has no end", s)
	case strings.HasPrefix(s, "$'"):
		for i := 2; i < len(s); i++ {
			switch {
			case s[i] == '\'' && i == len(s)-1:
				return b.String(), nil
			case s[i] == '\'':
				return "", fmt.Errorf("%q goes on behind its quotes", s)
			case s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3':
				v, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
				if err != nil {
					return "", fmt.Errorf("%q: %w", s, err)
				}
				b.WriteByte(byte(v))
				i += 3
				continue
			case s[i] == '\\' && i+1 < len(s):
				i++
			}
			b.WriteByte(s[i])
		}
		return "", fmt.Errorf("%q has no end", s)
	case strings.ContainsAny(s, " \t\"'$`\\;&|<>()"):
		return "", fmt.Errorf("%q is more than one word", s)
	}
	return s, nil
}
