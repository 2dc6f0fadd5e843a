package survey

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"multinicd/host"
)

// resolvFiles are where the host's name servers stand: resolv.conf(5), and what stands behind the stub
// of systemd-resolved and behind NetworkManager's own.
var resolvFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"}

// NameServers gives the host's name servers with the file that names them, each once, in the order of
// the files. Those on this host (127.0.0.53) are left out. A file that cannot be read names none.
func (s *Survey) NameServers() iter.Seq2[string, []netip.Addr] {
	return func(yield func(string, []netip.Addr) bool) {
		var seen []netip.Addr
		for _, f := range resolvFiles {
			data, _, err := s.host.Read(f)
			if err != nil {
				continue
			}
			var found []netip.Addr
			_ = host.Lines(data, func(line string) error {
				fields := strings.Fields(line)
				if len(fields) < 2 || fields[0] != "nameserver" {
					return nil
				}
				if a, err := netip.ParseAddr(fields[1]); err == nil && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(seen, a.Unmap()) {
					found, seen = append(found, a.Unmap()), append(seen, a.Unmap())
				}
				return nil
			})
			if found != nil && !yield(f, found) {
				return
			}
		}
	}
}
