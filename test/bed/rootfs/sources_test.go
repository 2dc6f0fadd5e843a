package rootfs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMirrorsAreThoseOfTheMachinesOwnDebian(t *testing.T) {
	t.Setenv("MULTINICD_MIRROR", "")
	t.Setenv("MULTINICD_SECURITY_MIRROR", "")
	want := []string{
		"deb http://mirror.test/debian bookworm main",
		"deb http://mirror.test/debian bookworm-updates main",
		"deb http://mirror.test/security bookworm-security main",
	}
	for _, test := range []struct {
		name string
		have sources
		want []string
	}{
		{"the classic form", parseList(`
# deb http://old.test/debian bookworm main
deb http://mirror.test/debian bookworm main contrib # ours
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.test/debian bookworm-updates main
deb http://mirror.test/security bookworm-security main`), want},
		{"deb822, with comments within a stanza and values over lines", parseDeb822(`Types: deb deb-src
# http://snapshot.test/
URIs: http://mirror.test/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 Suites: none

Types: deb
URIs: http://mirror.test/security
suites: bookworm-security
Components: main contrib
`), want},
		{"third parties with Debian's codename come first", parseList(`
deb http://third.test bookworm main
deb http://other.test bookworm-pgdg main
deb http://mirror.test/debian bookworm main
deb http://mirror.test/debian bookworm-updates main
deb http://mirror.test/security bookworm-security main`), want},
		{"another suite than the machine's is asked for", parseList(`
deb http://mirror.test/debian sid main
deb http://mirror.test/debian trixie main
deb http://mirror.test/debian trixie-updates main`), want[:2]},
		{"a stanza that is turned off", parseDeb822("Types: deb\nEnabled: no\nURIs: http://x.test\nSuites: bookworm bookworm-updates\nComponents: main\n"), nil},
		{"nothing of Debian", parseList("deb http://ubuntu.test noble universe"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.have.lines("bookworm")
			if (err != nil) != (test.want == nil) {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDebianTestingHasOneSource(t *testing.T) {
	have := parseList("deb http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-updates main\ndeb http://mirror.test/security bookworm-security main")
	got, err := have.lines(Testing)
	if diff := cmp.Diff([]string{"deb http://mirror.test/debian forky main"}, got); diff != "" || err != nil {
		t.Errorf("lines (-want +got), %v:\n%s", err, diff)
	}
}

func FuzzAptSources(f *testing.F) {
	f.Add("deb [a=b] http://mirror.test/debian bookworm main\n")
	f.Add("Types: deb\nURIs: http://mirror.test\nSuites: bookworm\nComponents: main\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseList(text), parseDeb822(text)...) {
			if s.uri == "" || s.suite == "" || strings.ContainsAny(s.uri+s.suite, " \t\n") {
				t.Errorf("got source %+v, want one word each", s)
			}
		}
	})
}
