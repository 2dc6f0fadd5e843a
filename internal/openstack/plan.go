package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/client-go/rest"

	"multinicd/internal/publish"
)

// Plan makes one walk, and prints for each node what would be written, and for each port why it is
// left out. Nothing is written. Since one walk proves no removal, a NIC whose port is gone is
// RemovalPending. If a cloud cannot be asked, Plan prints what the others say, and returns an error.
func Plan(ctx context.Context, cfg *rest.Config, o Options, out io.Writer) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	direct, err := newClient(cfg, scheme)
	if err != nil {
		return fmt.Errorf("setting up the plan: %w", err)
	}
	v, results, err := newPoller(o, newMeters(), direct, direct).poll(ctx, true)
	if v.Nodes == nil && err != nil {
		return err
	}
	return errors.Join(err, v.print(out, results))
}

// print writes a verdict as text, a paragraph for each node.
func (v Verdict) print(out io.Writer, results []publish.Result) error {
	p := &printer{out: out}
	i := 0
	for _, n := range v.Nodes {
		switch {
		case n.Frozen != "":
			p.line("%s: frozen, %s: %s", n.Node, n.Frozen, n.Message)
		case n.Wish == nil:
			p.line("%s: nothing to write", n.Node)
		default:
			r := results[i]
			i++
			p.line("%s: %s", n.Node, word(r))
			for _, d := range r.Diff {
				p.line("  %s", d)
			}
		}
		for _, r := range n.Remarks {
			p.line("  %s", r)
		}
	}
	for _, name := range v.Orphans {
		p.line("%s: the object has no Node any more; nothing deletes it", name)
	}
	return p.err
}

func word(r publish.Result) string {
	switch r.Action {
	case publish.Created:
		return "would be created"
	case publish.Changed:
		return "would be changed"
	case publish.Unchanged:
		return "is as wanted"
	}
	return fmt.Sprintf("would be refused, %s: %s", r.Reason, r.Message)
}

// String is a remark in one line.
func (r Remark) String() string {
	text := "NIC " + r.Name
	if r.PortID != "" {
		text = "port " + r.PortID
		if r.Name != "" {
			text += " (" + r.Name + ")"
		}
	}
	return fmt.Sprintf("%s: %s: %s", text, r.Reason, r.Message)
}

// printer keeps the first error.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}
