package openstack

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	v1 "multinicd/api/v1"
)

// FuzzAnswers: whatever Neutron answers, what comes of it was asked for, and is an object that the cluster takes, or nothing.
func FuzzAnswers(f *testing.F) {
	const (
		port1   = `{"ports":[{"id":"p1","name":"","mac_address":"FA:16:3E:00:00:01","network_id":"data","device_id":"` + instanceOne + `","device_owner":"compute:nova","project_id":"` + project + `","status":"DOWN","tags":["multinic.io/id=3"],"created_at":"2026-11-29T10:00:00Z","fixed_ips":[{"subnet_id":"data-4","ip_address":"10.0.1.1"}]}]}`
		network = `{"networks":[{"id":"data","mtu":1450}]}`
		subnet  = `{"subnets":[{"id":"data-4","cidr":"10.0.0.0/16","gateway_ip":"10.0.0.1","host_routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.2"}]}]}`
	)
	f.Add([]byte(port1), []byte(network), []byte(subnet), true)
	f.Add([]byte(strings.ReplaceAll(port1, "p1", `\u001b[2J\n`)), []byte(`{"networks":[{"id":"data","mtu":-1}]}`), []byte(`{"subnets":[{"id":"data-4","cidr":"::/0","gateway_ip":"10.0.0.1%x"}]}`), true)
	f.Add([]byte(strings.Replace(port1, "10.0.1.1", "::ffff:10.0.0.0", 1)), []byte(strings.Replace(network, "1450", "2147483647", 1)), []byte(strings.Replace(subnet, "10.0.0.2", "::1", 1)), true)
	f.Add([]byte(`{"ports":[]}`), []byte(`{}`), []byte(`null`), false)
	f.Add([]byte(`{"ports":[{"id":"p1"},null,5]}`), []byte(`[`), []byte(`{"subnets":{}}`), false)
	f.Fuzz(func(t *testing.T, ports, networks, subnets []byte, routes bool) {
		answers := map[string][]byte{"ports": ports, "networks": networks, "subnets": subnets}
		w := walker{cloud: "c", page: 100, get: func(_ context.Context, kind string, query url.Values) ([]byte, error) {
			if query.Has("marker") {
				return []byte(`{"` + kind + `":[]}`), nil
			}
			return answers[kind], nil
		}}
		got, err := w.ports(t.Context(), project, []string{instanceOne})
		if err != nil {
			if got != nil {
				t.Errorf("both ports and %v", err)
			}
			return
		}
		for _, p := range got {
			if !strings.EqualFold(p.DeviceID, instanceOne) || p.ProjectID != project {
				t.Errorf("nobody asked for %+v", p)
			}
		}
		s := seen(append([]Port{primary()}, got...)...)
		s.Networks, s.Subnets = map[string]Network{}, map[string]Subnet{"mgmt-4": {CIDR: netip.MustParsePrefix("192.0.2.0/24")}}
		_ = w.networks(t.Context(), []string{"data", "other"}, s.Networks) // what cannot be read is not known
		_ = w.subnets(t.Context(), []string{"data-4", "data-6"}, s.Subnets)
		own := rules
		own.Gateway, own.HostRoutes = routes, routes
		v := Judge(World{Now: begin, Machines: []Machine{machine("n1", instanceOne)}, Seen: s}, Memory{}, nil, own)
		for _, n := range v.Nodes {
			if n.Wish == nil {
				continue
			}
			o := stored(t, nil, *n.Wish)
			if _, wrong := o.Validate(); len(wrong) > 0 {
				t.Errorf("the cluster refuses %+v: %v", o.Spec, wrong)
			}
			for _, nic := range o.Spec.Interfaces {
				if v1.Printable(nic.PortID, len(nic.PortID)) != nic.PortID {
					t.Errorf("port %q stands in the object", nic.PortID)
				}
			}
		}
	})
}
