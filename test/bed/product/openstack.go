package product

import (
	"context"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
)

// InstallOpenStack applies the rights of deploy/openstack.yaml, without the Pod that nobody runs here.
func InstallOpenStack(ctx context.Context, c *controlplane.Cluster) error {
	return installRights(ctx, c, "deploy/openstack.yaml")
}

// OpenStack is a running `multinic-bridge openstack`.
type OpenStack struct{ *process }

// PID is the publisher's process id.
func (o *OpenStack) PID() int { return o.cmd.Process.Pid }

// StartOpenStack runs the publisher for OpenStack as the ServiceAccount of its manifest, with more flags of the command. It ends with the
// sandbox, or by Stop or Kill.
func StartOpenStack(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, binary string, flags ...string) (*OpenStack, error) {
	args := append([]string{"openstack", "--health-address", "0", "--metrics-address", "0"}, flags...)
	p, err := startAs(ctx, box, c, "multinic-openstack", binary, args...)
	if err != nil {
		return nil, err
	}
	return &OpenStack{p}, nil
}
