package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
)

// fleetNode is what is known of one node. The JSON names are stable.
type fleetNode struct {
	Node       string   `json:"node"`
	State      v1.State `json:"state"`
	Ready      string   `json:"ready"`
	Reason     string   `json:"reason"`
	Message    string   `json:"message,omitempty"`
	Interfaces string   `json:"interfaces"`
	Generation int64    `json:"generation"`
	Observed   int64    `json:"observedGeneration"`
	Released   int64    `json:"releasedGeneration,omitempty"`
	// Drift names the NICs that another writer fights over, and those that are not as wanted.
	Drift []string `json:"drift,omitempty"`
	// Degraded is the reason for which a person should look. Empty means that there is none.
	Degraded string `json:"degraded,omitempty"`
	Version  string `json:"version,omitempty"`  // of multinicd, as it last reported
	Executor string `json:"executor,omitempty"` // daemon or job
	LastJob  string `json:"lastJobName,omitempty"`
	// NoObject: the node's object is gone, and the fields above are empty. Message says what
	// happened to the node's NICs. Kept has the names of the NICs that the node says it keeps as
	// they are.
	NoObject bool     `json:"noObject,omitempty"`
	Kept     []string `json:"kept,omitempty"`
	// The bridge wrote Changed, the node wrote Seen, the API server wrote Credential. nil means
	// never, or not known.
	Changed    *time.Time `json:"lastProcessed,omitempty"`
	Seen       *time.Time `json:"leaseRenewed,omitempty"`
	Credential *time.Time `json:"credentialMade,omitempty"`
}

func fleetCommand() *cli.Command {
	return &cli.Command{
		Name:  "fleet",
		Usage: "list all nodes: state, reason, age, drift, version, credential",
		Description: "AGE is since the bridge last took something new over from the node, SEEN since the node renewed its Lease,\n" +
			"CREDENTIAL since its identity was made; the tokens of that live for an hour each. DRIFT names the NICs that are not as\n" +
			"wanted now, since somebody changed them: another writer keeps doing so, or they are being put back. What was put back\n" +
			"leaves nothing there: the node's log and its metric multinicd_repairs_total tell of it.\n" +
			"A node whose object is gone is listed, without state, until the bridge has taken its last report over: \"no object\",\n" +
			"and whether it has said to keep its NICs or to have given them back. --selector and --not-ready leave it out.\n" +
			"--web serves the same as a page in a browser of this machine, with your own rights, until ctrl-c (docs/fleet.md).",
		Action: listFleet,
		Flags: append(webFlags(), []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, wide, json or yaml"},
			&cli.StringSliceFlag{Name: "state", Usage: "only nodes in `STATE`: Pending, InProgress, Configured, Failed"},
			&cli.StringSliceFlag{Name: "reason", Usage: "only nodes whose Ready, Degraded or a NIC has `REASON`"},
			&cli.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "only nodes whose objects have these `LABELS`"},
			&cli.BoolFlag{Name: "not-ready", Usage: "only nodes that are not Ready"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
		}...),
	}
}

func listFleet(c *cli.Context) error {
	output := c.String("output")
	if c.Args().Present() || !slices.Contains([]string{"table", "wide", "json", "yaml"}, output) {
		return fmt.Errorf("%w: fleet takes -o table, wide, json or yaml, and no arguments", errUsage)
	}
	states, err := parseStates(c.StringSlice("state"))
	if err != nil {
		return err
	}
	selector, err := labels.Parse(c.String("selector"))
	if err != nil {
		return fmt.Errorf("%w: reading --selector: %w", errUsage, err)
	}
	if c.Bool("web") || c.IsSet("port") {
		return serveFleet(c, selector, states)
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	looked, reasons := 0, map[string]bool{}
	nodes, err := a.fleet(c.Context, selector, func(n fleetNode, has []string) bool {
		looked++
		for _, r := range has {
			reasons[r] = true
		}
		return (len(states) == 0 || slices.Contains(states, n.State)) &&
			(len(c.StringSlice("reason")) == 0 || hasReason(has, c.StringSlice("reason"))) &&
			(!c.Bool("not-ready") || n.Ready != "True" && !n.NoObject)
	})
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		fmt.Fprintln(c.App.ErrWriter, noMatch(looked, c.StringSlice("reason"), reasons))
	}
	return printFleet(c.App.Writer, output, nodes, time.Now())
}

func printFleet(w io.Writer, output string, nodes []fleetNode, now time.Time) error {
	switch output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(nodes)
	case "yaml":
		return writeYAML(w, terminal.Plain(nodes))
	}
	return fleetTable(w, nodes, output == "wide", now)
}

// writeYAML writes v by its names in JSON. A text is never folded: the rest of a folded text would
// stand in a line of its own, and might look like a field.
func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	var fields any
	if err == nil {
		err = yaml.Unmarshal(data, &fields) // every JSON is a YAML
	}
	if err != nil {
		return fmt.Errorf("encoding the fleet: %w", err)
	}
	enc := yaml.NewEncoder(w) // version 3 folds nothing
	enc.SetIndent(2)
	return errors.Join(enc.Encode(fields), enc.Close())
}

// parseStates takes the four words in upper or lower case.
func parseStates(words []string) ([]v1.State, error) {
	var out []v1.State
	for _, word := range words {
		all := []v1.State{v1.StatePending, v1.StateInProgress, v1.StateConfigured, v1.StateFailed}
		i := slices.IndexFunc(all, func(s v1.State) bool { return strings.EqualFold(string(s), word) })
		if i < 0 {
			return nil, fmt.Errorf("%w: --state %q is none of Pending, InProgress, Configured or Failed", errUsage, word)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// noMatch says why a list is empty. Without it, an empty table after a slip of the pen would look
// as if all were well. looked is how many objects there were to choose from; reasons are the
// reasons that they have.
func noMatch(looked int, wanted []string, reasons map[string]bool) string {
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

func hasReason(has, wanted []string) bool {
	return slices.ContainsFunc(has, func(r string) bool { return slices.Contains(wanted, r) })
}

// reasonsOf are the reasons of an object's conditions and NICs, fit to be printed.
func reasonsOf(o *v1.MultiNicNodeConfig) []string {
	var out []string
	for _, c := range o.Status.Conditions {
		out = append(out, c.Reason)
	}
	for _, n := range o.Status.InterfaceStatuses {
		out = append(out, v1.Printable(n.Reason, 64))
	}
	return out
}

// fleet reads four lists, however many nodes there are. A caller that may not read one of them gets
// an error, because half a list would look like a whole one. fleet asks keep about each node, and
// gives it all reasons of that node. The result is sorted by name and never nil.
func (a *admin) fleet(ctx context.Context, selector labels.Selector, keep func(n fleetNode, has []string) bool) ([]fleetNode, error) {
	var objects v1.MultiNicNodeConfigList
	if err := a.client.List(ctx, &objects, client.InNamespace(v1.SystemNamespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing objects: %w", err)
	}
	in := func(component string) []client.ListOption {
		return []client.ListOption{client.InNamespace(v1.NodesNamespace), client.MatchingLabels{v1.ComponentLabel: component}}
	}
	var reports corev1.ConfigMapList
	if err := a.client.List(ctx, &reports, in(v1.ComponentReport)...); err != nil {
		return nil, fmt.Errorf("listing reports: %w", err)
	}
	var leases coordinationv1.LeaseList
	if err := a.client.List(ctx, &leases, in(v1.ComponentLease)...); err != nil {
		return nil, fmt.Errorf("listing Leases: %w", err)
	}
	var accounts corev1.ServiceAccountList
	if err := a.client.List(ctx, &accounts, in(v1.ComponentNode)...); err != nil {
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
	out := []fleetNode{}
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
			n := describeGone(node, said)
			n.Seen, n.Credential = timeIn(seen, v1.LeaseName(node)), timeIn(made, v1.ServiceAccountName(node))
			if keep(n, []string{n.Reason}) {
				out = append(out, n)
			}
		}
	}
	slices.SortFunc(out, func(a, b fleetNode) int { return cmp.Compare(a.Node, b.Node) })
	return out, nil
}

func describe(o *v1.MultiNicNodeConfig) fleetNode {
	s := o.Status
	n := fleetNode{Node: o.Name, State: s.State, Ready: "Unknown", Interfaces: s.ReadyInterfaces, Generation: o.Generation,
		Observed: s.ObservedGeneration, Released: s.ReleasedGeneration, LastJob: s.LastJobName}
	for _, c := range s.Conditions {
		switch {
		case c.Type == v1.ConditionReady:
			n.Ready, n.Reason, n.Message = string(c.Status), c.Reason, c.Message
		case c.Type == v1.ConditionDegraded && c.Status == "True":
			n.Degraded = c.Reason
		}
	}
	for _, i := range s.InterfaceStatuses {
		if i.Reason == v1.ReasonDriftFighting || i.Status == v1.StateInProgress && s.ObservedGeneration == o.Generation && s.State != v1.StateInProgress {
			n.Drift = append(n.Drift, i.Name)
		}
	}
	if s.LastProcessed != nil {
		n.Changed = &s.LastProcessed.Time
	}
	return n
}

func timeIn(times map[string]time.Time, name string) *time.Time {
	if t, ok := times[name]; ok {
		return &t
	}
	return nil
}

func fleetTable(out io.Writer, nodes []fleetNode, wide bool, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	header := []string{"NODE", "STATE", "READY", "REASON", "INTERFACES", "AGE", "DRIFT", "VERSION", "CREDENTIAL"}
	if wide {
		header = append(header, "SEEN", "GENERATION", "EXECUTOR", "DEGRADED", "LAST JOB", "MESSAGE")
	}
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, n := range nodes {
		row := []string{n.Node, n.stateText(), n.Ready, n.Reason, n.nicsText(), age(n.Changed, now), strings.Join(n.Drift, ","), n.Version, age(n.Credential, now)}
		if wide {
			generation := fmt.Sprint(n.Generation)
			if n.Observed != n.Generation {
				generation = fmt.Sprintf("%d (at %d)", n.Generation, n.Observed)
			}
			row = append(row, age(n.Seen, now), generation, n.Executor, n.Degraded, n.LastJob, n.Message)
		}
		for i := range row {
			row[i] = orDash(terminal.Line(row[i], 200))
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// age is a span as kubectl prints it, in at most two units, the greatest ones. It is "" if there is
// no time.
func age(since *time.Time, now time.Time) string {
	if since == nil {
		return ""
	}
	d := max(now.Sub(*since), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
