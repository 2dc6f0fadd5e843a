package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// netip.Addr keeps its fields to itself.
var addrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want func(*Config)
	}{
		"an empty file means the defaults": {"", func(*Config) {}},
		"an API by server and token": {`
[api]
server = "https://192.0.2.1:6443"
ca_file = "/etc/multinicd/ca.crt"
token_file = "/etc/multinicd/token"
`, func(c *Config) {
			c.API.Server = "https://192.0.2.1:6443"
			c.API.CAFile = "/etc/multinicd/ca.crt"
			c.API.TokenFile = "/etc/multinicd/token"
		}},
		"an API by kubeconfig, in a dotted key": {`api.kubeconfig = "/root/kubeconfig"`, func(c *Config) {
			c.API.Kubeconfig = "/root/kubeconfig"
		}},
		"tables may be inline": {`source = {mode = "poll", interval = "1m30s"}`, func(c *Config) {
			c.Source.Mode, c.Source.Interval = "poll", 90*time.Second
		}},
		"a file as the source": {"[source]\nmode = 'file'\nfile = '/etc/multinicd/node.yaml'", func(c *Config) {
			c.Source.Mode, c.Source.File = "file", "/etc/multinicd/node.yaml"
		}},
		"everything else": {`
node = "worker-node-01.example.org"
instance_id = "i-0123456789abcdef0"
on_delete = "restore"
[source]
resync = "30s"
cleanup = false
[api]
namespace = "a"
report_namespace = "b"
[join]
kubelet_kubeconfig = ""
[backend]
name = "ifcfg"
activation = "networkd"
dad = "rfc5227"
[links]
virtual_kinds = ["veth", "tun"]
deny_names = ["storage*"]
take_over = "none"
adopt = false
[routing]
same_subnet = "off"
allow_tables = [52, 100]
protect = ["10.96.0.0/12", "2001:db8:5::/48"]
[probe]
api = false
timeout = "25s"
tcp = ["192.0.2.1:443", "[2001:db8::1]:443", "registry.example.org:5000"]
neighbours = ["192.0.2.1", "2001:db8::1"]
[state]
dir = "/srv/multinicd"
[status]
socket = "/run/x.sock"
[log]
level = "debug"
`, func(c *Config) {
			*c = Config{
				Node: "worker-node-01.example.org", InstanceID: "i-0123456789abcdef0", OnDelete: "restore",
				Source:  Source{Mode: "watch", Interval: 30 * time.Second, Resync: 30 * time.Second},
				API:     API{Namespace: "a", ReportNamespace: "b"},
				Backend: Backend{Name: "ifcfg", Activation: "networkd", DAD: "rfc5227"},
				Links:   Links{VirtualKinds: []string{"veth", "tun"}, DenyNames: []string{"storage*"}, TakeOver: "none"},
				Routing: Routing{SameSubnet: "off", AllowTables: []int{52, 100},
					Protect: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("2001:db8:5::/48")}},
				Probe: Probe{
					Timeout:    25 * time.Second,
					TCP:        []string{"192.0.2.1:443", "[2001:db8::1]:443", "registry.example.org:5000"},
					Neighbours: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
				},
				State: State{Dir: "/srv/multinicd"}, Status: Status{Socket: "/run/x.sock"}, Log: Log{Level: slog.LevelDebug},
			}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := Default()
			tt.want(&want)
			got, err := Parse("multinicd.toml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, addrs); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	long := "/" + strings.Repeat("x", 107)
	tests := map[string]struct{ text, want string }{
		"a misspelt key, naming the nearest": {
			"node = \"a\"\n[source]\n\nintervall = \"30s\"\n",
			`multinicd.toml:4: unknown key "source.intervall": did you mean "source.interval"?`},
		"a key in the wrong table": {
			"[source]\nnamespace = \"x\"\n",
			`multinicd.toml:2: unknown key "source.namespace": did you mean "api.namespace"?`},
		"a key outside its table": {
			"kubeconfig = '/x'\n",
			`multinicd.toml:1: unknown key "kubeconfig": did you mean "api.kubeconfig"?`},
		"a key in the wrong case": {
			"Node = 'x'\n",
			`multinicd.toml:1: unknown key "Node": did you mean "node"?`},
		"a key like no other": {
			"frobnicate_everything = 1\n",
			`multinicd.toml:1: unknown key "frobnicate_everything"`},
		"a misspelt table, once": {
			"\n[sorce]\nmode = 'poll'\ninterval = '30s'\n",
			`multinicd.toml:2: unknown table "sorce": did you mean "source"?`},
		"a table within a wrong table": {
			"\n[frob.nicate]\nx = 1\n",
			`multinicd.toml:2: unknown table "frob.nicate"`},
		"a table where a value belongs": {
			"[node]\nname = 'x'\n",
			`multinicd.toml:1: node must be a string, not a table`},
		"a value where a table belongs": {
			"\nsource = 'poll'\n",
			`multinicd.toml:2: source must be a table, not a string`},
		"a list of tables where a table belongs": {
			"[[source]]\nmode = 'poll'\n",
			`multinicd.toml:1: source must be a table, not a list of tables`},
		"an integer as a duration": {
			"[source]\ninterval = 30\n",
			`multinicd.toml:2: source.interval must be a duration in quotes, such as "30s", not an integer`},
		"a duration without a unit": {
			"[source]\ninterval = '30'\n",
			`multinicd.toml:2: source.interval "30" is not a duration, such as "30s" or "5m"`},
		"a duration below its range": {
			"[source]\ninterval = '1s'\n",
			`multinicd.toml:2: source.interval "1s" is out of range, which is "5s" to "1h"`},
		"a duration above its range": {
			"[probe]\ntimeout = '26s'\n",
			`multinicd.toml:2: probe.timeout "26s" is out of range, which is "1s" to "25s"`},
		"an unknown choice": {
			"[source]\nmode = 'push'\n",
			`multinicd.toml:2: source.mode "push" is not one of "watch", "poll" or "file"`},
		"an unknown activation": {
			"[backend]\nactivation = 'reboot'\n",
			`multinicd.toml:2: backend.activation "reboot" is not one of "live", "networkd" or "netplan"`},
		"a number as the node's name": {
			"node = 1.5\n",
			`multinicd.toml:1: node must be a string, not a float`},
		"an upper-case node name": {
			"node = 'Worker-01'\n",
			`multinicd.toml:1: node "Worker-01" is not a name of at most 200 lower-case letters, digits, '-' and '.'`},
		"an instance id with a blank": {
			"instance_id = 'a b'\n",
			`multinicd.toml:1: instance_id "a b" is not an id of at most 128 visible ASCII characters`},
		"a server without TLS": {
			"[api]\nserver = 'http://192.0.2.1'\ntoken_file = '/t'\n",
			`multinicd.toml:2: api.server "http://192.0.2.1" is not an https:// URL of a host`},
		"a server without a token": {
			"[api]\nserver = 'https://192.0.2.1'\n",
			`multinicd.toml:2: api.server needs api.token_file beside it`},
		"a token without a server": {
			"[api]\ntoken_file = '/t'\n",
			`multinicd.toml:2: api.token_file counts only together with api.server, which is not set`},
		"a CA without a server": {
			"[api]\nkubeconfig = '/k'\nca_file = '/t'\n",
			`multinicd.toml:3: api.ca_file counts only together with api.server, which is not set`},
		"two ways to the API": {
			"[api]\nserver = 'https://a'\ntoken_file = '/t'\nkubeconfig = '/k'\n",
			`multinicd.toml:4: api.server and api.kubeconfig exclude each other`},
		"a relative path": {
			"[state]\ndir = 'var/lib'\n",
			`multinicd.toml:2: state.dir "var/lib" is not an absolute path`},
		"a socket's path that no socket can have": {
			"[status]\nsocket = '" + long + "'\n",
			`multinicd.toml:2: status.socket "` + long + `" is longer than the 107 bytes that a socket's path may have`},
		"no file for the mode that needs one": {
			"[source]\nmode = 'file'\n",
			`multinicd.toml:2: source.mode is "file": source.file must say which`},
		"a file for a mode that does not read it": {
			"[source]\nfile = '/x'\n",
			`multinicd.toml:2: source.file counts only with source.mode = "file", and that is "watch"`},
		"a bridge as a physical link": {
			"[links]\nvirtual_kinds = ['veth', 'bridge']\n",
			`multinicd.toml:2: links.virtual_kinds has a wrong item 2: "bridge" is never taken for physical: such a link borrows the MAC of another`},
		"a string for a list": {
			"[links]\ndeny_names = 'x*'\n",
			`multinicd.toml:2: links.deny_names must be a list of strings, not a string`},
		"a number in a list of strings": {
			"[links]\ndeny_names = ['x', 1]\n",
			`multinicd.toml:2: links.deny_names has a wrong item 2: must be a string, not an integer`},
		"a string in a list of numbers": {
			"[routing]\nallow_tables = [100, '52']\n",
			`multinicd.toml:2: routing.allow_tables has a wrong item 2: must be a number, not a string`},
		"a table that there cannot be": {
			"[routing]\nallow_tables = [0]\n",
			`multinicd.toml:2: routing.allow_tables has a wrong item 1: 0 is not in the range 1 to 2147483647`},
		"an address for a network": {
			"[routing]\nprotect = ['10.96.0.1']\n",
			`multinicd.toml:2: routing.protect has a wrong item 1: "10.96.0.1" is no network, such as "10.96.0.0/12"`},
		"a network with an address in it": {
			"[routing]\nprotect = ['10.96.0.1/12']\n",
			`multinicd.toml:2: routing.protect has a wrong item 1: "10.96.0.1/12" has bits set behind its length; the network is "10.96.0.0/12"`},
		"a broken pattern": {
			"[links]\ndeny_names = ['[']\n",
			`multinicd.toml:2: links.deny_names has a wrong item 1: "[" is not a pattern of link names, such as "storage*"`},
		"a probe without a port": {
			"[probe]\ntcp = ['192.0.2.1']\n",
			`multinicd.toml:2: probe.tcp has a wrong item 1: "192.0.2.1" is not host:port`},
		"a neighbour by name": {
			"[probe]\nneighbours = ['gateway']\n",
			`multinicd.toml:2: probe.neighbours has a wrong item 1: ParseAddr("gateway"): unable to parse IP`},
		"a string for a boolean": {
			"[probe]\napi = 'yes'\n",
			`multinicd.toml:2: probe.api must be true or false, not a string`},
		"an unknown level": {
			"[log]\nlevel = 'trace'\n",
			`multinicd.toml:2: log.level "trace" is not one of "debug", "info", "warn" or "error"`},
		"every mistake at once, in the order of the lines": {
			"nod = 'x'\n[log]\nlevel = 1\n[sate]\n",
			"multinicd.toml:1: unknown key \"nod\": did you mean \"node\"?\n" +
				"multinicd.toml:3: log.level must be a string, not an integer\n" +
				`multinicd.toml:4: unknown table "sate": did you mean "state"?`},
		"broken TOML": {
			"node = 'x'\nnode\n",
			`multinicd.toml:2: expected '.' or '=', but got '\n' instead`},
		"a key twice": {
			"node = 'x'\nnode = 'y'\n",
			`multinicd.toml:2: Key 'node' has already been defined.`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("/etc/multinicd/multinicd.toml", []byte(tt.text))
			if err == nil {
				t.Fatalf("got %+v, want the error %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(Config{}, got, addrs); diff != "" {
				t.Errorf("a refused file gives more than the zero Config:\n%s", diff)
			}
		})
	}
}

func TestReference(t *testing.T) {
	commented := string(Reference())
	got, err := Parse("reference.toml", Reference())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, addrs); diff != "" {
		t.Errorf("as shipped: -want +got:\n%s", diff)
	}

	uncommented := regexp.MustCompile(`(?m)^#(\w+ = )`).ReplaceAllString(commented, "$1")
	got, err = Parse("reference.toml", []byte(uncommented))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, addrs); diff != "" {
		t.Errorf("uncommented: -want +got:\n%s", diff)
	}

	var c Config
	for _, s := range c.settings() {
		table, name, ok := strings.Cut(s.key, ".")
		section := uncommented
		if !ok {
			name = table
			section, _, _ = strings.Cut(section, "\n[")
		} else {
			_, section, _ = strings.Cut(section, "\n["+table+"]\n")
			section, _, _ = strings.Cut(section, "\n[")
		}
		before, _, ok := strings.Cut("\n"+section, "\n"+name+" = ")
		if !ok {
			t.Errorf("%s is not in reference.toml", s.key)
			continue
		}
		comment := before[strings.LastIndex(before, "\n\n")+1:]
		if !strings.Contains(comment, "# ") || !strings.Contains(comment, s.doc) {
			t.Errorf("the comment of %s does not say %s:\n%s", s.key, s.doc, comment)
		}
	}
}

func TestReferenceIsTheCallersToChange(t *testing.T) {
	Reference()[0] = 'x'
	if Reference()[0] != '#' {
		t.Error("Reference hands out the package's own bytes")
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "multinicd.toml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, []byte(`node = "a"`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got.Node != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(path, make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: got %v", err)
	}
}

func TestIdle(t *testing.T) {
	here := func(path string) bool { return path == "/var/lib/multinicd/credential/server" }
	nowhere := func(string) bool { return false }
	tests := map[string]struct {
		text   string
		exists func(string) bool
		idle   bool
	}{
		"as shipped":                       {string(Reference()), nowhere, true},
		"with a stored credential":         {"", here, false},
		"with one where nobody looks":      {"state.dir = '/srv'", here, true},
		"with a server":                    {"[api]\nserver = 'https://a'\ntoken_file = '/t'", nowhere, false},
		"with a kubeconfig":                {"api.kubeconfig = '/k'", nowhere, false},
		"with a local file":                {"[source]\nmode = 'file'\nfile = '/f'", nowhere, false},
		"polling without a way to the API": {"source.mode = 'poll'", nowhere, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("multinicd.toml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Idle(tt.exists); (got != "") != tt.idle {
				t.Errorf("got %q, want idle %v", got, tt.idle)
			}
		})
	}
}

// FuzzParse: no text makes Parse panic, every message has a line, and what is accepted is accepted again.
func FuzzParse(f *testing.F) {
	f.Add(string(Reference()))
	f.Add("source = {mode = 'poll', interval = '1m'}\n[api]\nkubeconfig = '/k'")
	f.Add("[a.b.c]\nx = [1, {y = 2}]\n[[source]]\n")
	f.Add("\"\" = 1\n'a.b' = 2\nsource.\"mode\" = \"poll\"")
	f.Add("node = 1979-05-27T07:32:00Z")
	message := regexp.MustCompile(`^multinicd\.toml:[1-9][0-9]*: `)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("multinicd.toml", []byte(text))
		if err != nil {
			if !message.MatchString(err.Error()) {
				t.Errorf("no file and line: %v", err)
			}
			return
		}
		again, err := Parse("multinicd.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, addrs); diff != "" {
			t.Errorf("a second time: -want +got:\n%s", diff)
		}
	})
}
