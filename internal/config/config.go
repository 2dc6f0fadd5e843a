// Package config reads multinicd.toml, the one file that an operator writes on a host.
//
// In goes the file's text; out comes a Config in which every value has been checked. Choices are
// known ones, durations lie in their ranges, addresses are addresses. A key that is left out has
// its default. So an empty file is valid. It means: idle, until somebody says where the desired
// state comes from.
//
// The package opens only that file and knows no other package of ours. It does not look whether a
// folder exists, what the host is called or who is root: the caller passes such facts in.
//
// Start at Config. Then read settings.go, where each key stands on one line with its type and
// range. reference.toml tells the operator the same; a test checks that both agree.
package config

import (
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Config is a valid multinicd.toml. The zero value is not valid: start from Default, Load or Parse.
// Paths are absolute, as the operator wrote them. A caller that works below another root joins them
// with it.
type Config struct {
	// Node is the node's name in the cluster, in lower case. Empty means the name that the host
	// itself says, see node.Names.
	Node string
	// InstanceID is compared with the object's instanceId. Empty means the host's own evidence.
	InstanceID string
	// OnDelete is "retain" or "restore": what happens to the NICs when the node's object is
	// deleted.
	OnDelete string

	Source  Source
	API     API
	Join    Join
	Backend Backend
	Links   Links
	Routing Routing
	Probe   Probe
	State   State
	Status  Status
	Log     Log
}

// Source says where the desired state comes from.
type Source struct {
	Mode     string        // "watch", "poll" or "file"
	Interval time.Duration // between two polls, or two looks at the file
	Resync   time.Duration // between two looks at the whole machine when nothing happens
	File     string        // absolute path, set exactly when Mode is "file"
	Cleanup  bool          // whether the cluster may order a cleanup
}

// API says how the API server is reached. At most one of Server and Kubeconfig is set. With
// neither, the credential in Config.CredentialDir counts.
type API struct {
	Server          string // https URL
	CAFile          string // PEM; empty means the host's own trust store
	TokenFile       string // set exactly when Server is
	Kubeconfig      string
	Namespace       string // of the MultiNicNodeConfig
	ReportNamespace string // of the node's report and Lease
}

// Join says how a node that has joined may join again by itself.
type Join struct {
	KubeletKubeconfig string // absolute path; empty: the node may not join again by itself
}

// Backend says in which dialect the host's configuration is written, and how a change gets into the
// kernel.
type Backend struct {
	Name       string // "auto", "netplan", "networkmanager" or "ifcfg"
	Activation string // "live", "networkd" or "netplan"
	DAD        string // "off", "fast" or "rfc5227"
}

// Links widens or narrows what counts as a link that may be configured.
type Links struct {
	VirtualKinds []string // kernel kinds (IFLA_INFO_KIND) taken for physical; nil in service
	// path.Match patterns of link names never touched, besides the built-in ones
	DenyNames []string
	// TakeOver is "generated" or "none": what gives way to an object that does not ask for more.
	TakeOver string
	// Adopt says whether an object may ask for what a person has configured, too.
	Adopt bool
}

// Routing says what is done in addition to addresses and routes.
type Routing struct {
	SameSubnet string // "auto" or "off"
	// tables that a route may name, in addition to main and the NIC's own
	AllowTables []int
	Protect     []netip.Prefix // networks whose traffic no NIC of ours may take; masked
}

// Probe says what must still answer after a change, if it answered before the change.
type Probe struct {
	API        bool
	Timeout    time.Duration // from the change to the decision to undo it
	TCP        []string      // host:port
	Neighbours []netip.Addr  // asked for by ARP or neighbour discovery
}

// State is where the daemon keeps what must survive a restart.
type State struct{ Dir string }

// Status is the socket that `multinicd status` reads.
type Status struct{ Socket string }

// Log says how much is logged.
type Log struct{ Level slog.Level }

// maxSize bounds the file: a hundred times what a long one needs.
const maxSize = 1 << 20

//go:embed reference.toml
var reference []byte

// Reference returns the commented file that packages install as /etc/multinicd/multinicd.toml.
// Without a change it means the same as an empty file. The caller may keep and change the slice.
func Reference() []byte { return append([]byte(nil), reference...) }

// Default returns what an empty file means.
func Default() Config {
	return Config{
		OnDelete: "retain",
		Source:   Source{Mode: "watch", Interval: 30 * time.Second, Resync: 5 * time.Minute, Cleanup: true},
		API:      API{Namespace: "multinic-system", ReportNamespace: "multinic-nodes"},
		Join:     Join{KubeletKubeconfig: "/etc/kubernetes/kubelet.conf"},
		Backend:  Backend{Name: "auto", Activation: "live", DAD: "fast"},
		Links:    Links{TakeOver: "generated", Adopt: true},
		Routing:  Routing{SameSubnet: "auto"},
		Probe:    Probe{API: true, Timeout: 20 * time.Second},
		State:    State{Dir: "/var/lib/multinicd"},
		Status:   Status{Socket: "/run/multinicd/multinicd.sock"},
		Log:      Log{Level: slog.LevelInfo},
	}
}

// Load reads and parses the file at path. If the file is not there, the error wraps fs.ErrNotExist;
// the caller decides how grave that is.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return Parse(path, text)
}

// CredentialDir is the folder in which `multinicd join` stores the node's own credential: the files
// server, ca.crt, token, request and door.
func (c Config) CredentialDir() string { return filepath.Join(c.State.Dir, "credential") }

// Idle says why no source of desired state can be run yet, in words for the status line. It is ""
// if one can be run. exists says whether a file is there. Idle calls it only for the credential,
// and only if no other way to the API is configured.
func (c Config) Idle(exists func(path string) bool) string {
	if c.Source.Mode == "file" || c.API.Server != "" || c.API.Kubeconfig != "" {
		return ""
	}
	if server := filepath.Join(c.CredentialDir(), "server"); !exists(server) {
		return fmt.Sprintf("no way to the API is configured: %s does not exist (multinicd join makes it), and api.server and api.kubeconfig are not set", server)
	}
	return ""
}
