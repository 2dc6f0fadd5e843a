package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"multinicd/test/bed/openstack"
	"multinicd/test/bed/product"
	"multinicd/test/bed/testhost"
)

// instance is the demo's node as OpenStack knows it, mac and address are those of the port that is attached.
const (
	instance = "0c497169-a104-4448-afde-f27b79fca904"
	mac      = "02:00:00:00:01:01"
	address  = "10.20.0.10"
)

// startOpenStack starts a cloud in which the node is an instance, and the publisher for it.
func (d *demo) startOpenStack(ctx context.Context) error {
	d.logf("booting a host with Keystone and Neutron; the first time its root file system is made, in some minutes")
	cloud, err := openstack.Start(ctx, d.box, d.world)
	if err != nil {
		return err
	}
	d.cloud = cloud
	tenant, err := cloud.Tenant(ctx, "demo", "reader", openstack.Rules())
	if err != nil {
		return err
	}
	d.project = tenant.Project
	network := func(name, cidr string) (id, subnet string, err error) {
		if id, err = cloud.Make(ctx, "network", openstack.Thing{"name": name, "project_id": tenant.Project, "mtu": 1500}); err != nil {
			return "", "", err
		}
		subnet, err = cloud.Make(ctx, "subnet", openstack.Thing{"network_id": id, "project_id": tenant.Project, "ip_version": 4, "cidr": cidr, "enable_dhcp": false})
		return id, subnet, err
	}
	mgmt, subnet, err := network("mgmt", testhost.Management.String())
	if err != nil {
		return err
	}
	data, _, err := network("data", "10.20.0.0/24")
	if err != nil {
		return err
	}
	_, err = cloud.Make(ctx, "port", openstack.Thing{"name": "primary", "network_id": mgmt, "project_id": tenant.Project, "device_id": instance, "device_owner": "compute:nova",
		"mac_address": d.host.PrimaryMAC, "fixed_ips": []any{openstack.Thing{"subnet_id": subnet, "ip_address": d.host.Addr().String()}}})
	if err != nil {
		return err
	}
	for _, patch := range [][]string{
		{"--type=merge", "-p", `{"spec":{"providerID":"openstack:///` + instance + `"}}`},
		{"--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, d.host.Addr())},
	} {
		if out, err := d.cluster.Kubectl(ctx, append([]string{"patch", "node", node}, patch...)...); err != nil {
			return fmt.Errorf("making the Node an instance: %w\n%s", err, out)
		}
	}
	clouds := filepath.Join(d.box.Dir, "clouds.yaml")
	if err := os.WriteFile(clouds, []byte(cloud.CloudsYAML(tenant)), 0o600); err != nil {
		return fmt.Errorf("writing clouds.yaml: %w", err)
	}
	if err := product.InstallOpenStack(ctx, d.cluster); err != nil {
		return err
	}
	flags := []string{"--clouds-file", clouds, "--cloud", "demo", "--network", data, "--interval", "2s", "--removal-age", "3s"}
	fmt.Printf("\n$ multinic-bridge openstack %s\n", strings.Join(flags, " "))
	_, err = product.StartOpenStack(ctx, d.box, d.cluster, filepath.Join(d.root, "bin/multinic-bridge"), flags...)
	return err
}

// openstackCommand runs the openstack command as the administrator of the cloud, and prints both.
func (d *demo) openstackCommand(ctx context.Context, args ...string) error {
	fmt.Printf("\n$ openstack %s\n", strings.Join(args, " "))
	out, err := d.cloud.Host.Run(ctx, append([]string{"env", "OS_AUTH_URL=http://127.0.0.1:5000/v3", "OS_IDENTITY_API_VERSION=3", "OS_USERNAME=admin", "OS_PASSWORD=test-admin",
		"OS_PROJECT_NAME=admin", "OS_USER_DOMAIN_ID=default", "OS_PROJECT_DOMAIN_ID=default", "openstack"}, args...)...)
	fmt.Print(out)
	return err
}

// attach makes a port for the node, and plugs it in as Nova would.
func (d *demo) attach(ctx context.Context) error {
	err := d.openstackCommand(ctx, "port", "create", "--project", d.project, "--network", "data", "--fixed-ip", "ip-address="+address, "--mac-address", mac,
		"--device", instance, "--device-owner", "compute:nova", "-c", "id", "-c", "mac_address", "-c", "fixed_ips", "data-port")
	if err != nil {
		return err
	}
	if err := d.host.Plug(testhost.NIC{MAC: mac, Segment: "data1"}); err != nil {
		return err
	}
	if err := d.until(ctx, "the object", func() bool {
		out, err := d.cluster.Kubectl(ctx, "get", "mnnc", node, "-n", "multinic-system", "-o", "jsonpath={.spec.interfaces[*].macAddress}")
		return err == nil && out == mac
	}); err != nil {
		return err
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	fmt.Println("\n$ kubectl get mnnc -n multinic-system")
	text, err := d.cluster.Kubectl(ctx, "get", "mnnc", "-n", "multinic-system")
	fmt.Print(text)
	if err != nil {
		return err
	}
	if err := d.show(ctx, "ip", "-br", "address"); err != nil {
		return err
	}
	link, err := d.host.Run(ctx, "ip", "address", "show", "multinic0")
	if err != nil || !strings.Contains(link, "inet "+address+"/24") {
		return fmt.Errorf("multinic0 does not have %s: %w\n%s", address, err, link)
	}
	return nil
}

// detach deletes the port, and waits until the node has given the NIC back.
func (d *demo) detach(ctx context.Context) error {
	if err := d.openstackCommand(ctx, "port", "delete", "data-port"); err != nil {
		return err
	}
	err := d.until(ctx, "the NIC to be given back", func() bool {
		out, err := d.host.Run(ctx, "ip", "-br", "address")
		return err == nil && !strings.Contains(out, address)
	})
	if err != nil {
		return err
	}
	return d.show(ctx, "ip", "-br", "address")
}

// until waits for at most a minute.
func (d *demo) until(ctx context.Context, what string, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, ctx.Err(), d.host.Journal(context.WithoutCancel(ctx)))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
