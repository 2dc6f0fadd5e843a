package survey

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/nic"
)

// The backends that Detect and Stack choose from. "ifcfg" is never chosen by itself.
const (
	Netplan               = "netplan"                // netplan's YAML, for systemd-networkd
	NetplanNetworkManager = "netplan-networkmanager" // netplan's YAML, for NetworkManager
	NetworkManager        = "networkmanager"         // NetworkManager's own profiles
	Ifcfg                 = "ifcfg"                  // the same in the form of ifcfg files; never chosen by itself
)

// Stack says who configures a link, or links in general, on this host.
type Stack struct {
	Backend  string   // one of the above; "": nobody that we know how to talk to
	Refusal  string   // why there is none, and what to do; set only where Backend is ""
	Evidence []string // sentences for a person, what was found and what was not; never empty
	// InHand: somebody has the link in hand already. Otherwise the link just follows the host.
	InHand bool
	// Hopeless: no link of this host can have a backend.
	Hopeless bool
}

// env is what the choice is made from. Everything in it is asked for only where it counts.
type env struct {
	exists func(file string) bool
	system string // what /etc/os-release calls it; "": it does not say
	// manager asks NetworkManager about a link; it is called only where NetworkManager has run. ErrNoBus: it does not answer now.
	manager func(link string) (bus.Device, error)
	// networkd gives systemd-networkd's word on a link (ADMIN_STATE of /run/systemd/netif/links), and the file it configures it by.
	networkd func(index int) (state host.LinkState, file string)
	// yaml gives the definitions of netplan that are for the link, and the renderer that all others get with the file that says so; both may be "".
	yaml func(l nic.Link) (found []definition, renderer, file string)
	// initialised says whether udev has finished with a link: before, NetworkManager leaves it alone.
	initialised func(index int) bool
	// uplink is the link with the default route; ok false: there is none.
	uplink func() (l nic.Link, ok bool)
}

// NMDeviceState and NMDeviceStateReason, where they count (NetworkManager's nm-dbus-interface.h; the reasons since 1.48).
const (
	stateDisconnected = 30
	reasonDefault     = 69
	reasonUserConf    = 74
	reasonUserUdev    = 77
)

// Where programs leave traces while they run, in this boot.
const (
	managerDevices  = "/run/NetworkManager/devices"
	invocation      = "/run/systemd/units/invocation:"
	networkdRuntime = "/run/systemd/network/10-netplan-"
	netplanRuntime  = "/run/NetworkManager/system-connections/netplan-"
	rendererManager = "NetworkManager"
)

// generators are where netplan's is: it moved to libexec in 0.106 (Debian 12), the link from lib stays.
var generators = []string{"/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/lib/netplan/generate"}

// found is what the whole host has.
type found struct {
	env
	generator                 string // netplan's; "": not installed
	networkdRuns, managerRuns bool
	renderer, rendererFile    string // of netplan, as a whole
	definitions               []definition
	evidence                  []string
}

func (f *found) say(format string, args ...any) {
	f.evidence = append(f.evidence, fmt.Sprintf(format, args...))
}

func (f *found) stack(backend string, inHand bool) Stack {
	return Stack{Backend: backend, Evidence: f.evidence, InHand: inHand}
}

func (f *found) none(inHand bool, format string, args ...any) Stack {
	return Stack{Refusal: fmt.Sprintf(format, args...), Evidence: f.evidence, InHand: inHand}
}

// look finds what the host has, and netplan's definitions for a link; the zero Link has none.
func (e env) look(l nic.Link) *found {
	f := &found{env: e}
	if e.system != "" {
		f.say("the system is %s", e.system)
	}
	if i := slices.IndexFunc(generators, e.exists); i >= 0 {
		f.generator = generators[i]
	}
	if f.networkdRuns = e.exists(host.NetworkdState); f.networkdRuns {
		f.say("systemd-networkd runs: %s is there", host.NetworkdState)
	} else {
		f.say("systemd-networkd does not run: there is no %s", host.NetworkdState)
	}
	if f.managerRuns = e.exists(managerDevices); f.managerRuns {
		f.say("NetworkManager runs: %s is there", managerDevices)
	} else {
		f.say("NetworkManager does not run: there is no %s", managerDevices)
	}
	if f.generator == "" {
		f.say("netplan is not installed: there is no /usr/libexec/netplan/generate")
		return f
	}
	f.say("netplan is installed: %s", f.generator)
	if f.definitions, f.renderer, f.rendererFile = e.yaml(l); f.renderer != "" {
		f.say("netplan's renderer is %s: %s says so", f.renderer, f.rendererFile)
	}
	return f
}

// forHost chooses for links that nobody has yet.
func (e env) forHost() Stack { return e.look(nic.Link{}).host() }

func (f *found) host() Stack {
	switch {
	case f.generator != "" && f.renderer == rendererManager && f.managerRuns:
		return f.stack(NetplanNetworkManager, false)
	case f.generator != "" && f.networkdRuns:
		return f.stack(Netplan, false)
	case f.managerRuns && !f.networkdRuns:
		return f.stack(NetworkManager, false)
	case f.managerRuns:
		return f.likeUplink()
	case f.networkdRuns:
		s := f.none(false, "systemd-networkd configures the network here without netplan, in whose files multinicd would keep its configuration; install netplan (netplan.io), which goes with it")
		s.Hopeless = true
		return s
	}
	s := f.nobody()
	s.Hopeless = true
	return s
}

// likeUplink chooses between NetworkManager and a networkd without netplan, of which only the first can be had.
func (f *found) likeUplink() Stack {
	l, ok := f.uplink()
	if !ok {
		return f.stack(NetworkManager, false)
	}
	if state, file := f.networkd(l.Index); owns(state) {
		f.say("systemd-networkd has the primary link %s in hand (%s, by %s)", l.Name, state, file)
		return f.none(false, "systemd-networkd configures the primary link %s, without netplan, in whose files multinicd would keep its configuration; install netplan (netplan.io), or set backend.name = \"networkmanager\" in multinicd.toml", l.Name)
	}
	return f.stack(NetworkManager, false)
}

// nobody says who else it may be.
func (f *found) nobody() Stack {
	for _, other := range []struct{ name, trace string }{
		{"wicked", invocation + "wickedd.service"},
		{"wicked", "/run/wicked"},
		{"ConnMan", invocation + "connman.service"},
		{"ifupdown", invocation + "networking.service"},
		{"ifupdown", "/run/network/ifstate"},
		{"the old network service", invocation + "network.service"},
	} {
		if f.exists(other.trace) {
			f.say("%s runs: %s is there", other.name, other.trace)
			return f.none(false, "%s configures the network here, and multinicd has no way to keep a configuration there; it needs netplan with systemd-networkd, or NetworkManager", other.name)
		}
	}
	return f.none(false, "nobody configures the network here in a way that multinicd writes: it needs netplan with systemd-networkd, or NetworkManager")
}

// forLink chooses for one link: who has it in hand decides, then whose configuration is meant for it, then what the host has.
func (e env) forLink(l nic.Link) Stack {
	f := e.look(l)
	device, answers := f.askManager(l)
	var networkd host.LinkState
	if f.networkdRuns {
		var file string
		networkd, file = f.networkd(l.Index)
		f.sayNetworkd(l, networkd, file)
	}
	defined, renderer := f.defined(l)
	managed := answers && device.Managed
	switch {
	case managed && device.State > stateDisconnected && owns(networkd):
		return f.none(true, "both NetworkManager and systemd-networkd have link %s in hand; leave it to one of them", l.Name)
	case owns(networkd):
		if f.generator == "" {
			return f.none(true, "systemd-networkd configures link %s, without netplan, in whose files multinicd would keep its configuration; install netplan (netplan.io), which goes with it", l.Name)
		}
		return f.stack(Netplan, true)
	case managed && (strings.HasPrefix(device.File, netplanRuntime) || device.File == "" && renderer == rendererManager):
		return f.stack(NetplanNetworkManager, true)
	case managed:
		return f.stack(NetworkManager, true)
	case defined && renderer == rendererManager && f.managerRuns:
		return f.stack(NetplanNetworkManager, true)
	case defined && renderer != rendererManager && f.networkdRuns:
		return f.stack(Netplan, true)
	}
	s := f.host()
	if answers && f.forbidden(l, device) && s.Backend != Netplan && s.Backend != "" {
		return f.none(true, "NetworkManager is told to leave link %s alone (%s); take that back, in NetworkManager.conf, by udev or by nmcli device set", l.Name, reasonText(device.Reason))
	}
	return s
}

// defined says whether netplan has a definition for a link, and for whom it, or else the whole of netplan, is.
func (f *found) defined(l nic.Link) (defined bool, renderer string) {
	renderer = f.renderer
	for _, d := range f.definitions {
		if renderer = d.renderer; renderer == "" {
			renderer = f.renderer
		}
		f.say("%s defines link %s as %q, for %s", d.file, l.Name, d.id, cmp.Or(renderer, "networkd"))
	}
	return len(f.definitions) > 0, renderer
}

// forbidden says whether NetworkManager was told not to manage a link. Before 1.48 it gives no reason for what it leaves alone.
func (f *found) forbidden(l nic.Link, d bus.Device) bool {
	if d.Reason < reasonDefault {
		return f.initialised(l.Index)
	}
	return d.Reason >= reasonUserConf && d.Reason <= reasonUserUdev
}

// owns says whether a state of networkd's means that it has a configuration for the link. "pending" and "initialized" come before it knows.
func owns(state host.LinkState) bool {
	return state == host.LinkConfiguring || state == host.LinkConfigured || state == host.LinkFailed || state == host.LinkLinger || state == "degraded"
}

func (f *found) sayNetworkd(l nic.Link, state host.LinkState, file string) {
	switch {
	case owns(state):
		f.say("systemd-networkd has link %s in hand (%s, by %s)", l.Name, state, path.Base(file))
	case state == "":
		f.say("systemd-networkd does not know link %s yet", l.Name)
	default:
		f.say("systemd-networkd does not have link %s in hand (%s)", l.Name, state)
	}
}

// askManager asks NetworkManager where it runs.
func (f *found) askManager(l nic.Link) (bus.Device, bool) {
	if !f.managerRuns {
		return bus.Device{}, false
	}
	d, err := f.manager(l.Name)
	switch {
	case errors.Is(err, bus.ErrNoDevice):
		f.say("NetworkManager does not know link %s yet", l.Name)
	case err != nil:
		f.say("NetworkManager does not answer: %v", err)
	case d.Managed && d.File != "":
		f.say("NetworkManager manages link %s, by %s", l.Name, d.File)
	case d.Managed:
		f.say("NetworkManager manages link %s, and has no profile for it in force", l.Name)
	default:
		f.say("NetworkManager does not manage link %s: %s", l.Name, reasonText(d.Reason))
	}
	return d, err == nil
}

// reasonText says why a device is not managed.
func reasonText(reason uint32) string {
	switch reason {
	case 69:
		return "it is unmanaged by default"
	case 70:
		return "it is down, and was made by somebody else"
	case 71:
		return "udev has not finished with it"
	case 72:
		return "NetworkManager is quitting"
	case 73:
		return "networking is disabled or asleep"
	case 74:
		return "NetworkManager.conf says so"
	case 75:
		return "somebody said so by nmcli device set"
	case 76:
		return "unmanaged-devices or NM_CONTROLLED says so"
	case 77:
		return "a udev rule says so"
	}
	return fmt.Sprintf("it gives no reason but number %d", reason)
}
