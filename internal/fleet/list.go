package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// List reads four lists, however many nodes there are. A caller that may not read one of them gets
// an error, because half a list would look like a whole one. List asks keep about each node, and
// gives it all reasons of that node. What a cache gives is not copied: it is only read. The result is
// sorted by name and never nil.
func List(ctx context.Context, from client.Reader, selector labels.Selector, keep func(n Node, has []string) bool) ([]Node, error) {
	var objects v1.MultiNicNodeConfigList
	if err := from.List(ctx, &objects, client.InNamespace(v1.SystemNamespace), client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing objects: %w", err)
	}
	in := func(component string) []client.ListOption {
		return []client.ListOption{client.InNamespace(v1.NodesNamespace), client.MatchingLabels{v1.ComponentLabel: component}, client.UnsafeDisableDeepCopy}
	}
	var reports corev1.ConfigMapList
	if err := from.List(ctx, &reports, in(v1.ComponentReport)...); err != nil {
		return nil, fmt.Errorf("listing reports: %w", err)
	}
	var leases coordinationv1.LeaseList
	if err := from.List(ctx, &leases, in(v1.ComponentLease)...); err != nil {
		return nil, fmt.Errorf("listing Leases: %w", err)
	}
	var accounts corev1.ServiceAccountList
	if err := from.List(ctx, &accounts, in(v1.ComponentNode)...); err != nil {
		return nil, fmt.Errorf("listing ServiceAccounts: %w", err)
	}
	said, seen, made := map[string]v1.Report{}, map[string]time.Time{}, map[string]time.Time{}
	for _, cm := range reports.Items {
		if r, err := v1.ParseReport([]byte(cm.Data[v1.ReportKey])); err == nil {
			said[cm.Name] = r
		}
	}
	for _, l := range leases.Items {
		// The node writes this time. JSON has no other years.
		if t := l.Spec.RenewTime; t != nil && t.Unix() >= 0 && t.UTC().Year() <= 9999 {
			seen[l.Name] = l.Spec.RenewTime.Time
		}
	}
	for _, s := range accounts.Items {
		made[s.Name] = s.CreationTimestamp.Time
	}
	out := []Node{}
	for i := range objects.Items {
		o := &objects.Items[i]
		n := describe(o)
		if r, ok := said[v1.ReportName(o.Name)]; ok && r.Node == o.Name {
			n.Version, n.Executor = r.Version, string(r.Executor)
		}
		n.Seen, n.Credential = timeIn(seen, v1.LeaseName(o.Name)), timeIn(made, v1.ServiceAccountName(o.Name))
		if keep(n, reasonsOf(o)) {
			out = append(out, n)
		}
	}
	if selector.Empty() { // otherwise nobody knows which objects there are
		for _, node := range withoutObject(objects.Items, reports.Items, leases.Items) {
			n := gone(node, said)
			n.Seen, n.Credential = timeIn(seen, v1.LeaseName(node)), timeIn(made, v1.ServiceAccountName(node))
			if keep(n, []string{n.Reason}) {
				out = append(out, n)
			}
		}
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	return out, nil
}

// NoMatch says why a list is empty. Without it, an empty table after a slip of the pen would look
// as if all were well. looked is how many objects there were to choose from; reasons are the
// reasons that they have.
func NoMatch(looked int, wanted []string, reasons map[string]bool) string {
	if looked == 0 {
		return "no node matches: there is no object, or none with these labels"
	}
	text := fmt.Sprintf("no node matches, of %d", looked)
	for _, r := range wanted {
		if !reasons[r] {
			return text + ": none has the reason " + v1.Printable(r, 64) + "; there are " + strings.Join(slices.Sorted(maps.Keys(reasons)), ", ")
		}
	}
	return text
}
