package node

import (
	"fmt"
	"strings"
)

// Said is a name of the node, and who says so.
type Said struct{ Name, Evidence string }

// Names are what the host knows of the node's name. Each may be empty, except Host's name.
type Names struct {
	Given       Said // by a person: the option --node, or node in multinicd.toml
	Certificate Said // the kubelet's client certificate
	Told        Said // the kubelet's --hostname-override, by root's word
	Host        Said
	Token       Said // the node's own credential of multinicd, which decides nothing
}

// Name is the node's name in the cluster.
type Name struct {
	Said
	others []Said // that should be the same
}

// Choose takes what a person has given, else the name in the kubelet's certificate, which is how the API server knows the
// machine, else what the kubelet is told, else the host's name as the kubelet makes a node's name of it: in lower case.
func (n Names) Choose() Name {
	n.Host.Name = strings.ToLower(strings.TrimSpace(n.Host.Name))
	all := []Said{n.Given, n.Certificate, n.Told, n.Host}
	for i, s := range all {
		if s.Name == "" {
			continue
		}
		out := Name{Said: s}
		if i == 0 {
			// The kubelet's own name, by the better evidence. That the host has another name is nothing new.
			for _, o := range all[1:3] {
				if o.Name != "" {
					out.others = []Said{o}
					break
				}
			}
		}
		return out
	}
	return Name{Said: n.Host}
}

// Doubt says what speaks against a name, and what to do about it; both are "" where nothing does. token is that of the moment.
func (n Name) Doubt(token Said) (what, advice string) {
	if token.Name != "" && token.Name != n.Name {
		return fmt.Sprintf("the node is called %s (%s), and %s is node %s's: the API server refuses what is asked for %s with it", n.Name, n.Evidence, token.Evidence, token.Name, n.Name),
			fmt.Sprintf("join again as %s (multinicd join), or, if %s is right, set node = %q in multinicd.toml and restart multinicd", n.Name, token.Name, token.Name)
	}
	for _, o := range n.others {
		if o.Name != n.Name {
			return fmt.Sprintf("the node is called %s (%s), and the cluster knows this machine as %s (%s)", n.Name, n.Evidence, o.Name, o.Evidence),
				fmt.Sprintf("take node out of multinicd.toml (or --node off the command line), or set it to %q", o.Name)
		}
	}
	return "", ""
}
