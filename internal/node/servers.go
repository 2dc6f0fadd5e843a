package node

import (
	"context"

	"multinicd/nic"
	"multinicd/plan"
)

// nodeAddrs gives the node's addresses as far as they may be on these links.
func (m *Machine) nodeAddrs(ctx context.Context, links []nic.Link) (out []plan.NodeAddr) {
	for _, a := range m.Survey.NodeAddrs(ctx, links) {
		out = append(out, plan.NodeAddr{Addr: a.Addr, Evidence: a.Evidence})
	}
	return out
}
