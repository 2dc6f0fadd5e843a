package host

import (
	"context"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Stack says who configures networking on this host.
type Stack struct {
	Backend  string   // "netplan", "networkmanager", or "": nobody that we know how to talk to
	Evidence []string // sentences for a person, what was found and what was not; never empty
}

// Detect finds out who configures networking here, by files alone.
func (h *Host) Detect(ctx context.Context) (Stack, error) {
	if err := ctx.Err(); err != nil {
		return Stack{}, err
	}
	var s Stack
	found := func(ok bool, yes, no string) bool {
		if ok {
			s.Evidence = append(s.Evidence, yes)
		} else if no != "" {
			s.Evidence = append(s.Evidence, no)
		}
		return ok
	}
	if data, _, err := h.Read("/etc/os-release"); err == nil {
		_ = ini(data, func(_, key, value string) error {
			found(key == "PRETTY_NAME", "the system is "+strings.Trim(value, `"`), "")
			return nil
		})
	}
	// The generator moved to libexec in 0.106 (Debian 12), the link from lib stays.
	generator := h.first("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/lib/netplan/generate")
	netplan := found(generator != "", "netplan is installed: "+generator, "netplan is not installed: there is no /usr/libexec/netplan/generate")
	networkd := found(h.exists("/run/systemd/netif"), "systemd-networkd runs: /run/systemd/netif is there", "systemd-networkd does not run: there is no /run/systemd/netif")
	manager := found(h.exists("/run/NetworkManager"), "NetworkManager runs: /run/NetworkManager is there", "NetworkManager does not run: there is no /run/NetworkManager")
	renderer, file, err := h.renderer()
	if err != nil {
		return Stack{}, err
	}
	found(renderer != "", fmt.Sprintf("netplan's renderer is %s: %s says so", renderer, file), "")
	switch {
	case netplan && networkd && renderer != "NetworkManager":
		s.Backend = "netplan"
	case manager:
		s.Backend = "networkmanager"
	}
	return s, nil
}

// renderer gives the renderer that netplan's YAML asks for as a whole, and the file; "" is networkd, netplan's default.
func (h *Host) renderer() (name, file string, err error) {
	files, err := h.sourceFiles(sources[0])
	if err != nil {
		return "", "", err
	}
	for _, f := range files {
		var tree struct{ Network struct{ Renderer string } }
		data, _, err := h.Read(f)
		if err != nil || yaml.Unmarshal(data, &tree) != nil {
			continue // netplan itself will say so when it is asked
		}
		if tree.Network.Renderer != "" {
			name, file = tree.Network.Renderer, f // the last one wins
		}
	}
	return name, file, nil
}

// first gives the first path that is there, or "".
func (h *Host) first(paths ...string) string {
	for _, p := range paths {
		if h.exists(p) {
			return p
		}
	}
	return ""
}
