package openstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// portFields are what is asked of a port. Neutron answers an empty object for a name that it does
// not know, which is then no port (2025.1).
var portFields = []string{"id", "name", "mac_address", "network_id", "device_id", "device_owner", "project_id", "status", "fixed_ips", "tags", "created_at"}

// wirePort has a pointer where a port without the field is none.
type wirePort struct {
	ID          *string    `json:"id"`
	Name        string     `json:"name"`
	MACAddress  *string    `json:"mac_address"`
	NetworkID   *string    `json:"network_id"`
	DeviceID    *string    `json:"device_id"`
	DeviceOwner *string    `json:"device_owner"`
	ProjectID   *string    `json:"project_id"`
	Status      string     `json:"status"`
	FixedIPs    *[]wireIP  `json:"fixed_ips"`
	Tags        *[]string  `json:"tags"`
	CreatedAt   *time.Time `json:"created_at"`
}

type wireIP struct {
	SubnetID  string `json:"subnet_id"`
	IPAddress string `json:"ip_address"`
}

func readPort(raw json.RawMessage) (Port, error) {
	var w wirePort
	if err := json.Unmarshal(raw, &w); err != nil {
		return Port{}, fmt.Errorf("reading a port: %w", err)
	}
	if w.ID == nil || *w.ID == "" || w.MACAddress == nil || w.NetworkID == nil || w.DeviceID == nil || w.DeviceOwner == nil || w.ProjectID == nil || w.FixedIPs == nil || w.Tags == nil {
		return Port{}, errors.New("reading a port: fields are missing")
	}
	p := Port{
		ID: *w.ID, Name: w.Name, MACAddress: strings.ToLower(*w.MACAddress), NetworkID: *w.NetworkID,
		DeviceID: *w.DeviceID, DeviceOwner: *w.DeviceOwner, ProjectID: *w.ProjectID, Status: w.Status, Tags: *w.Tags,
	}
	if w.CreatedAt != nil {
		p.Created = *w.CreatedAt
	}
	for _, ip := range *w.FixedIPs {
		a, err := netip.ParseAddr(ip.IPAddress)
		if err != nil || a.Zone() != "" {
			return Port{}, fmt.Errorf("reading port %s: %q is no address", p.ID, ip.IPAddress)
		}
		p.FixedIPs = append(p.FixedIPs, FixedIP{ip.SubnetID, a.Unmap()})
	}
	return p, nil
}

func readNetwork(raw json.RawMessage) (string, Network, error) {
	var w struct {
		ID  string `json:"id"`
		MTU int32  `json:"mtu"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return "", Network{}, fmt.Errorf("reading a network: %w", err)
	}
	if w.ID == "" {
		return "", Network{}, errors.New("reading a network: it has no id")
	}
	return w.ID, Network{w.MTU}, nil
}

func readSubnet(raw json.RawMessage) (string, Subnet, error) {
	var w struct {
		ID         string  `json:"id"`
		CIDR       string  `json:"cidr"`
		GatewayIP  *string `json:"gateway_ip"`
		HostRoutes []struct {
			Destination string `json:"destination"`
			NextHop     string `json:"nexthop"`
		} `json:"host_routes"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return "", Subnet{}, fmt.Errorf("reading a subnet: %w", err)
	}
	cidr, err := netip.ParsePrefix(w.CIDR)
	if err != nil || w.ID == "" {
		return "", Subnet{}, fmt.Errorf("reading subnet %q: %q is no network", w.ID, w.CIDR)
	}
	s := Subnet{CIDR: cidr}
	if w.GatewayIP != nil {
		// one that cannot be read is none
		s.Gateway, _ = netip.ParseAddr(*w.GatewayIP)
	}
	for _, h := range w.HostRoutes {
		to, err := netip.ParsePrefix(h.Destination)
		via, err2 := netip.ParseAddr(h.NextHop)
		if err == nil && err2 == nil {
			s.HostRoutes = append(s.HostRoutes, HostRoute{to, via})
		}
	}
	return w.ID, s, nil
}
