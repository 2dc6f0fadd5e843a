package ifcfg

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Written gives the addresses that an ifcfg file has, whoever wrote them there. It reads what Read
// refuses, too: a line that it does not understand has none.
func Written(data []byte) (out []netip.Prefix) {
	keys := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if value, err := unquoteShell(value); err == nil {
			keys[key] = value
		}
	}
	add := func(text string) {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	for key, value := range keys {
		if n, ok := strings.CutPrefix(key, "IPADDR"); ok {
			length := keys["PREFIX"+n]
			if mask := net.ParseIP(keys["NETMASK"+n]).To4(); length == "" && mask != nil {
				ones, _ := net.IPMask(mask).Size()
				length = strconv.Itoa(ones)
			}
			add(value + "/" + length)
		}
	}
	for _, text := range append([]string{keys["IPV6ADDR"]}, strings.Fields(keys["IPV6ADDR_SECONDARIES"])...) {
		add(text)
	}
	return out
}
