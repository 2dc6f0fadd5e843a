package netplan

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"multinicd/internal/filestep"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/plan/owntable"
)

// Definition is one entry of netplan's ethernets, as far as it says what a nic.Config can say.
type Definition struct {
	ID     string
	Config nic.Config // its MAC is zero where the entry has none
	// Renderer is the entry's own, "" where it has none.
	Renderer string
	// Beyond are the keys that say more than a nic.Config does (dhcp4: true, nameservers), sorted;
	// nil: there are none.
	Beyond []string
}

// Read gives the Ethernet definitions of a YAML file, sorted by ID. A value that cannot be read is
// an error, as it is for netplan.
func Read(data []byte) ([]Definition, error) {
	var tree struct {
		Network struct {
			Ethernets map[string]map[string]yaml.Node
		}
	}
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	var out []Definition
	for _, id := range slices.Sorted(maps.Keys(tree.Network.Ethernets)) {
		name := id // of the link, where there is no set-name
		if own := strings.TrimPrefix(id, "0-"); ownName(own) {
			name = own
		}
		d := Definition{ID: id, Config: nic.Config{Name: name}}
		keys := tree.Network.Ethernets[id]
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			value := keys[key]
			known, err := d.take(key, &value)
			if err != nil {
				return nil, fmt.Errorf("reading %s of %s: %w", key, id, err)
			}
			if !known {
				d.Beyond = append(d.Beyond, key)
			}
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(d.Config.Name, nic.NamePrefix)); err == nil && ownName(d.Config.Name) {
			d.Config.ID = n
		}
		out = append(out, d)
	}
	return out, nil
}

// take reads one key. known says that a nic.Config says all of it, or that we write it for every
// NIC.
func (d *Definition) take(key string, value *yaml.Node) (known bool, err error) {
	c := &d.Config
	switch key {
	case "match":
		var m map[string]string
		if err := value.Decode(&m); err != nil {
			return false, err
		}
		if m["macaddress"] != "" {
			c.MAC, err = nic.ParseMAC(m["macaddress"])
		}
		return m["macaddress"] != "" && len(m) == 1, err
	case "set-name":
		return true, value.Decode(&c.Name)
	case "mtu":
		return true, value.Decode(&c.MTU)
	case "addresses":
		var list []netip.Prefix
		for _, n := range value.Content {
			p, err := netip.ParsePrefix(n.Value)
			if err != nil {
				return false, err // also an address with options of its own, which is a mapping
			}
			list = append(list, p)
		}
		c.Addresses = list
		return true, nil
	case "routes":
		return d.takeRoutes(value)
	case "routing-policy":
		return d.takeRules(value)
	case "dhcp4", "dhcp6", "accept-ra":
		var on bool
		err := value.Decode(&on)
		return !on, err
	case "renderer":
		d.Renderer = value.Value
		return value.Value == rendererNetworkd, nil
	case "networkmanager":
		return false, d.takePassthrough(value)
	case "optional", "link-local":
		return true, nil // about booting, and about what no object can say
	}
	return false, nil
}

func (d *Definition) takeRoutes(value *yaml.Node) (known bool, err error) {
	var list []map[string]string
	if err := value.Decode(&list); err != nil {
		return false, err
	}
	known = true
	for _, m := range list {
		r := nic.Route{}
		for key, v := range m {
			var err error
			switch key {
			case "to":
				r.To, err = destination(v, m["via"])
			case "via":
				r.Via, err = netip.ParseAddr(v)
			case "from":
				r.Source, err = netip.ParseAddr(v)
			case "metric":
				r.Metric, err = strconv.Atoi(v)
			case "table":
				r.Table, err = strconv.Atoi(v)
			case "on-link":
				r.OnLink = v == "true"
			case "scope":
				known = known && v == "link"
			default:
				known = false
			}
			if err != nil {
				return false, err
			}
		}
		d.Config.Routes = append(d.Config.Routes, r)
	}
	return known, nil
}

// destination reads "default", an address, or a prefix.
func destination(to, via string) (netip.Prefix, error) {
	if to == "default" {
		to = "0.0.0.0/0"
		if strings.Contains(via, ":") {
			to = "::/0"
		}
	}
	if a, err := netip.ParseAddr(to); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(to)
	return p.Masked(), err
}

func (d *Definition) takeRules(value *yaml.Node) (known bool, err error) {
	var list []map[string]string
	if err := value.Decode(&list); err != nil {
		return false, err
	}
	known = true
	for _, m := range list {
		r := nic.Rule{}
		for key, v := range m {
			var err error
			switch key {
			case "from":
				r.From, err = destination(v, "")
			case "to":
				r.To, err = destination(v, "")
			case "table":
				r.Table, err = strconv.Atoi(v)
			case "priority":
				r.Priority, err = strconv.Atoi(v)
			default:
				known = false
			}
			if err != nil {
				return false, err
			}
		}
		d.Config.Rules = append(d.Config.Rules, r)
	}
	return known, nil
}

// takePassthrough reads what RenderForManager has to say past netplan's own keys.
func (d *Definition) takePassthrough(value *yaml.Node) error {
	var said struct{ Passthrough map[string]string }
	if err := value.Decode(&said); err != nil {
		return err
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for n := 1; said.Passthrough[fmt.Sprintf("%s.routing-rule%d", family, n)] != ""; n++ {
			var p networkmanager.Parser
			var own nic.Config
			p.Rule(&own, said.Passthrough[fmt.Sprintf("%s.routing-rule%d", family, n)])
			if p.Err == nil { // else somebody else's words
				d.Config.Rules = append(d.Config.Rules, own.Rules...)
			}
		}
	}
	return nil
}

// ReadBack gives what our files for this backend's renderer say, for the case that the record was
// lost. The result is sorted by file, and does not know how the links were found. A file that
// cannot be read is left out, and named in the error beside the rest.
func (b *Backend) ReadBack() ([]plan.Owned, error) {
	var out []plan.Owned
	err := filestep.EachMarked(b.Files, path.Join(Dir, "90-"+nic.NamePrefix+"*.yaml"), OurFile, func(_ string, data []byte) error {
		list, err := Read(data)
		for _, d := range list {
			if !d.Config.MAC.IsZero() && d.ID != lastID(d.Config) && d.Renderer == b.renderer {
				if b.renderer == rendererNetworkd { // they are not in the YAML
					d.Config.Rules = append(d.Config.Rules, owntable.BehindMain(d.Config)...)
				}
				out = append(out, plan.Owned{MAC: d.Config.MAC, Config: d.Config, Applied: true})
			}
		}
		return err
	})
	return out, err
}
