package jobs

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Reachable says whether somebody would act on a node's object now: its daemon, or a Job.
func Reachable(c client.Client, p *gather.Pulses, e Execution, now func() time.Time, silentAfter time.Duration) func(context.Context, *v1.MultiNicNodeConfig) (bool, error) {
	return func(ctx context.Context, obj *v1.MultiNicNodeConfig) (bool, error) {
		alive, _, err := gather.DaemonLives(ctx, c, p, obj.Name, obj, now(), silentAfter)
		if err != nil || alive || e.of(obj) == ExecutionDaemon {
			return alive, err
		}
		node, err := gather.Node(ctx, c, obj.Name)
		return node != nil, err
	}
}
