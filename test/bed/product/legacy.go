package product

import (
	"context"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
)

// InstallLegacy applies the rights and the policy of deploy/legacy.yaml, without the Pod that nobody runs here.
func InstallLegacy(ctx context.Context, c *controlplane.Cluster) error {
	return installRights(ctx, c, "deploy/legacy.yaml")
}

// Legacy is a running `multinic-bridge legacy`.
type Legacy struct{ *process }

// StartLegacy runs the publisher of the older object as the ServiceAccount of its manifest, with more flags of the command. It ends with the
// sandbox, or by Stop or Kill.
func StartLegacy(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, binary string, flags ...string) (*Legacy, error) {
	args := append([]string{"legacy", "--health-address", "0", "--metrics-address", "0"}, flags...)
	p, err := startAs(ctx, box, c, "multinic-legacy", binary, args...)
	if err != nil {
		return nil, err
	}
	return &Legacy{p}, nil
}
