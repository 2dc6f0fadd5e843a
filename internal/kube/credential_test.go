package kube

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multinicd/internal/kube/credential"
)

func TestNothingPrintsTheTokenOfAClient(t *testing.T) {
	const secret = "eyJhbGciOi"
	c := &Client{credential: credential.Credential{Server: &url.URL{}, Token: credential.Fixed(credential.NewToken(secret))}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		_, _ = fmt.Fprintf(&out, verb+"\n"+verb+"\n", c, c.credential)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "client", c)
	}
	if s := out.String(); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
		t.Errorf("the token is in:\n%s", s)
	}
}

func TestTheTokenIsReadAnewForEachRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var got []string
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, object(3, ""))
		})
		c := api.client()
		file := filepath.Join(api.dir, "token")
		c.Get(t.Context())
		api.write("token", "secret-2")
		c.Get(t.Context())
		// While it is being replaced, the last one has to do.
		api.write("token", "")
		c.Get(t.Context())
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		c.Get(t.Context())
		if diff := cmp.Diff([]string{"Bearer secret-1", "Bearer secret-2", "Bearer secret-2", "Bearer secret-2"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestATokenThatCannotBeReadIsToldAsOurFault(t *testing.T) {
	for name, text := range map[string]string{"none": "", "two lines": "a\nb", "binary": "a\x00b"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(func(w http.ResponseWriter, r *http.Request) {
					if isWatch(r) {
						hold(w, r)
						return
					}
					_, _ = io.WriteString(w, listOf(10, object(3, "")))
				})
				api.write("token", text)
				w := watch(t, api.client())
				wantTold(t, w, "Credential")
				wantAsked(t, api)
				after(time.Minute)
				api.write("token", "secret-1")
				after(5 * time.Second)
				if got := brief(w.last()); got != "generation 3" {
					t.Errorf("once the token is there: got %s", got)
				}
			})
		})
	}
}

func TestTheCAIsReadAnewWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFakeAPI(t)
		api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(3, "")) })
		ca, err := os.ReadFile(filepath.Join(api.dir, "ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		api.write("ca.crt", otherCA)
		c := api.client()
		if got := brief(c.Get(t.Context())); got != "Untrusted" {
			t.Errorf("with another CA: got %s", got)
		}
		api.write("ca.crt", "half a fi")
		if got := brief(c.Get(t.Context())); got != "Untrusted" {
			t.Errorf("while the CA is being replaced: got %s", got)
		}
		api.write("ca.crt", string(ca))
		if got := brief(c.Get(t.Context())); got != "generation 3" {
			t.Errorf("with the right CA: got %s", got)
		}
	})
}

func TestACAThatChangesWhileAConnectionIsIdleStopsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(3, "")) })
		c := api.client()
		for range 3 {
			if got := brief(c.Get(t.Context())); got != "generation 3" {
				t.Errorf("got %s", got)
			}
			after(time.Second)
			api.write("ca.crt", mustRead(filepath.Join(api.dir, "ca.crt"))+"\n")
		}
		if api.dials != 3 {
			t.Errorf("dialled %d times, want a connection for each CA", api.dials)
		}
	})
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.crt", otherCA)
	kubeconfig := func(cluster, user string) string {
		return file("kubeconfig", `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {`+cluster+`}}], users: [{name: u, user: {`+user+`}}]}`)
	}
	good := "server: 'https://192.0.2.1:6443', certificate-authority: " + ca
	tests := map[string]struct {
		opts Options
		host string // "" means refused
		want string
	}{
		"a server":                   {Options{Server: "https://192.0.2.1:6443", CAFile: ca, TokenFile: "/t"}, "192.0.2.1:6443", ""},
		"a server on the usual port": {Options{Server: "https://api.example.org/", CAFile: ca, TokenFile: "/t"}, "api.example.org:443", ""},
		"a server by IPv6":           {Options{Server: "https://[2001:db8::1]", TokenFile: "/t"}, "[2001:db8::1]:443", ""},
		"plain http":                 {Options{Server: "http://192.0.2.1"}, "", "is not an https:// URL"},
		"a CA that is not there":     {Options{Server: "https://192.0.2.1", CAFile: "/none"}, "", "reading the CA"},
		"a CA that is none":          {Options{Server: "https://192.0.2.1", CAFile: file("bad.crt", "x")}, "", "reading the CA"},
		"a kubeconfig": {Options{Kubeconfig: kubeconfig(good, "token: a")},
			"192.0.2.1:6443", ""},
		"a kubeconfig that runs a program": {Options{Kubeconfig: file("exec", strings.Replace(mustRead(kubeconfig(good, "")), "user: {}", "user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}}", 1))},
			"", "credential plugin"},
		"a kubeconfig that trusts anybody": {Options{Kubeconfig: file("insecure", mustRead(kubeconfig("server: 'https://a', insecure-skip-tls-verify: true", "token: a")))},
			"", "insecure-skip-tls-verify"},
		"a kubeconfig that is not there": {Options{Kubeconfig: "/none"}, "", "reading /none"},
		"nothing":                        {Options{}, "", "no credential"},
		"an empty credential folder":     {Options{CredentialDir: t.TempDir()}, "", "no credential"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "a kubeconfig" {
				kubeconfig(good, "token: a")
			}
			tt.opts.Node = "node-a"
			c, err := New(tt.opts)
			switch {
			case tt.host == "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case tt.host != "" && err != nil:
				t.Error(err)
			case tt.host != "" && c.ServerHost() != tt.host:
				t.Errorf("got %s, want %s", c.ServerHost(), tt.host)
			}
			if tt.want == "no credential" && !errors.Is(err, credential.ErrNone) {
				t.Errorf("got %v, want ErrNone", err)
			}
		})
	}
	if _, err := New(Options{Server: "https://192.0.2.1"}); err == nil {
		t.Error("a client without a node was made")
	}
}

func mustRead(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestAKubeconfigSpeaksByItsToken(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var got string
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			_, _ = io.WriteString(w, object(3, ""))
		})
		for user, want := range map[string]string{
			"token: inline": "Bearer inline",
			"tokenFile: " + filepath.Join(api.dir, "token"): "Bearer secret-1",
		} {
			data := base64.StdEncoding.EncodeToString([]byte(mustRead(filepath.Join(api.dir, "ca.crt"))))
			api.write("kubeconfig", `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: 'https://example.com:6443/prefix', certificate-authority-data: `+data+`}}], users: [{name: u, user: {`+user+`}}]}`)
			c, err := New(Options{Node: "node-a", Kubeconfig: filepath.Join(api.dir, "kubeconfig")})
			if err != nil {
				t.Fatal(err)
			}
			c.connect = api.dial
			if o := c.Get(t.Context()); brief(o) != "generation 3" || got != want {
				t.Errorf("got %s (%v) with %q, want %q", brief(o), o.Err, got, want)
			}
			c.CloseIdle()
		}
		synctest.Wait()
		if got := api.requests(); got[0] != "GET /prefix"+objects+"/node-a" {
			t.Errorf("got %q", got)
		}
	})
}

func TestEndpoints(t *testing.T) {
	tests := map[string]struct {
		server    string
		connected string
		resolved  string
		want      []string
	}{
		"an address":                     {"https://192.0.2.1:6443", "", "", []string{"192.0.2.1:6443"}},
		"an IPv6 address":                {"https://[2001:db8::1]", "", "", []string{"[2001:db8::1]:443"}},
		"the one that we are talking to": {"https://192.0.2.1", "192.0.2.7:443", "", []string{"192.0.2.1:443", "192.0.2.7:443"}},
		"the same twice":                 {"https://192.0.2.1", "192.0.2.1:443", "", []string{"192.0.2.1:443"}},
		"a name that resolved before":    {"https://a.invalid", "", "192.0.2.9:443", []string{"192.0.2.9:443"}},
		"a name that resolves to none":   {"https://a.invalid", "", "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := New(Options{Node: "node-a", Server: tt.server})
			if err != nil {
				t.Fatal(err)
			}
			if tt.connected != "" {
				c.remote.connected = netip.MustParseAddrPort(tt.connected)
			}
			if tt.resolved != "" {
				c.remote.resolved = []netip.AddrPort{netip.MustParseAddrPort(tt.resolved)}
			}
			got, err := c.Endpoints(t.Context())
			if (err != nil) != (tt.want == nil) {
				t.Fatal(err)
			}
			var want []netip.AddrPort
			for _, w := range tt.want {
				want = append(want, netip.MustParseAddrPort(w))
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// otherCA is a certificate authority that nobody has the key of.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBgDCCASegAwIBAgIUEXxQpQPYdR6v0aJhDr3ae8zY+UYwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKYW5vdGhlci1jYTAgFw0yNjExMjIyMTIzMzFaGA8yMTI2MTAy
OTIxMjMzMVowFTETMBEGA1UEAwwKYW5vdGhlci1jYTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABNoYYJmmxs/ontiFXhThJzKLAKsnRTq80iKeHyAvKTDH79D8NQCS
E1ulC5AOxM/JocVTD4BSZmF4IAGy1VzvcuejUzBRMB0GA1UdDgQWBBQKrWiCRnFq
qVg58td7SQmxWEIfLTAfBgNVHSMEGDAWgBQKrWiCRnFqqVg58td7SQmxWEIfLTAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIFzipdgaWUjZz2s5mGCq
ttTigLJtGSR+9z8sGIUU83+MAiBiLkJxPLLLF7wFqU7GkxQi/Xik05ShSguaWkJb
QrmMwg==
-----END CERTIFICATE-----
`
