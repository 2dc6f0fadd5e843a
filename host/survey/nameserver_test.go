package survey

import (
	"fmt"
	"testing"

	"multinicd/internal/hosttest"
)

func TestNameServers(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"resolv.conf, with a comment and options": {map[string]string{"/etc/resolv.conf": "# by hand\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n"},
			"/etc/resolv.conf [192.0.2.53 2001:db8::53] "},
		"a stub, and what stands behind it": {map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\n"},
			"/run/systemd/resolve/resolv.conf [192.0.2.53] "},
		"one that both name":       {map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.53\n", "/run/NetworkManager/no-stub-resolv.conf": "nameserver 192.0.2.53\n"}, "/etc/resolv.conf [192.0.2.53] "},
		"what is no address":       {map[string]string{"/etc/resolv.conf": "nameserver dns\nnameserver\nnameserver fe80::1%eth0\n"}, ""},
		"a host without the files": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			got := ""
			for file, servers := range s.NameServers() {
				got += fmt.Sprint(file, " ", servers, " ")
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
