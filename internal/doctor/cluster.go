package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"multinicd/nic"
	"multinicd/plan/lifeline"
)

// added lists the addresses that our NICs give the host: "198.51.100.10 (multinic1)".
func (f Facts) added() (out []string) {
	for _, o := range f.Record.NICs {
		for _, a := range o.Config.Addresses {
			if o.Applied {
				out = append(out, fmt.Sprintf("%s (%s)", a.Addr(), o.Config.Name))
			}
		}
	}
	return out
}

// primary names the link that the node is known by, or else one with a default route; "the primary
// NIC" if there is none.
func (f Facts) primary() string {
	for _, is := range []func(nic.Link) bool{
		func(l nic.Link) bool {
			return slices.ContainsFunc(f.NodeAddrs, func(a lifeline.NodeAddr) bool { return l.Holds(a.Addr) })
		},
		func(l nic.Link) bool { return slices.ContainsFunc(l.Routes, inMain) },
	} {
		if i := slices.IndexFunc(f.Links, func(l nic.Link) bool { return f.owned(l) == nil && is(l) }); i >= 0 {
			return f.Links[i].Name
		}
	}
	return ""
}

func kubelet(f Facts) []Finding {
	if f.Kubelet == "" || len(f.NodeIPs) > 0 || len(f.added()) == 0 {
		return nil
	}
	return []Finding{{"kubelet-node-ip", Problem, "", f.Kubelet + " without --node-ip, and our NICs add addresses to the host: the cloud provider lists them as the node's too, and the API server may call the kubelet on one that it cannot reach (kubectl logs and exec fail)",
		"give the kubelet --node-ip=ADDRESS of the primary NIC (kubeadm: nodeRegistration.kubeletExtraArgs, else KUBELET_EXTRA_ARGS), and start it anew"}}
}

// containers is about container networks, which look for an interface anew at each start of their Pods.
func containers(f Facts) (out []Finding) {
	added := f.added()
	if len(added) == 0 {
		return nil
	}
	primary := cmp.Or(f.primary(), "NAME-OF-THE-PRIMARY-NIC")
	for _, c := range f.CNIs {
		one := Finding{"container-network", Warning, c.Name, "", ""}
		if c.Told != "" {
			one.Severity, one.Evidence = Info, c.File+": it is told which interface to take: "+c.Told
			out = append(out, one)
			continue
		}
		one.Evidence = fmt.Sprintf("%s, and nothing shows that it is told which interface to take: when its Pod starts anew, it may take one of ours, %s", c.File, strings.Join(added, ", "))
		switch c.Name {
		case "Calico":
			one.Evidence += "; then the other nodes no longer reach the Pods of this one"
			one.Advice = "set IP_AUTODETECTION_METHOD=kubernetes-internal-ip on calico-node (with the operator: spec.calicoNetwork.nodeAddressAutodetectionV4: {kubernetes: NodeInternalIP} in the Installation); for IPv6 IP6_AUTODETECTION_METHOD"
		case "Cilium":
			one.Evidence += "; it attaches its programs to every NIC with an address, and answers NodePorts there"
			one.Advice = fmt.Sprintf("set devices in Cilium's values (devices={%s}, or a pattern that fits the primary NIC of every node)", primary)
		default:
			one.Evidence += "; it goes by the default route, and a second one may come first"
			one.Advice = fmt.Sprintf("give flanneld --iface=%s (k3s: flannel-iface in /etc/rancher/k3s/config.yaml)", primary)
		}
		out = append(out, one)
	}
	return out
}

// maxPorts is how many ports one finding names.
const maxPorts = 20

// ports says what a NIC of ours has opened: whoever listens on all addresses listens on its own, too.
func ports(f Facts) []Finding {
	added := f.added()
	var open []string
	for _, p := range f.Ports {
		text := fmt.Sprint(p.Number)
		if p.Program != "" {
			text += " (" + p.Program + ")"
		}
		open = append(open, text)
	}
	if more := len(open) - maxPorts; more > 0 {
		open = append(open[:maxPorts], fmt.Sprintf("and %d more", more))
	}
	if len(added) == 0 || len(open) == 0 && f.Kubelet == "" {
		return nil
	}
	one := Finding{ID: "open-ports", Severity: Info, Advice: "where the networks of these NICs are not trusted, close the ports in the security group of the NIC's own port, or let the programs listen on the node's address alone (sshd: ListenAddress)"}
	if len(open) > 0 {
		one.Evidence = fmt.Sprintf("reached by the addresses %s too: TCP ports %s, whose programs listen on all addresses", strings.Join(added, ", "), strings.Join(open, ", "))
	}
	if f.Kubelet != "" {
		also := fmt.Sprintf("NodePorts of Services are answered at %s too, unless kube-proxy has --nodeport-addresses", strings.Join(added, ", "))
		if one.Evidence != "" {
			also = "NodePorts of Services too, unless kube-proxy has --nodeport-addresses"
		}
		one.Evidence = strings.TrimPrefix(one.Evidence+"; "+also, "; ")
		one.Advice += "; for NodePorts --nodeport-addresses=primary, or the node's own network"
	}
	return []Finding{one}
}
