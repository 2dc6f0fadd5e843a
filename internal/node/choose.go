package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"multinicd/host/survey"
	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// Stacks tells who configures links on this host. In service it is the survey.Survey.
type Stacks interface {
	// Detect asks for the whole host, and Stack for one link. An error: it cannot be told now.
	Detect(ctx context.Context) (survey.Stack, error)
	Stack(ctx context.Context, l nic.Link) (survey.Stack, error)
	// Has says whether a backend's own tool is there still.
	Has(backend string) bool
}

// choiceTimeout bounds the question who owns a link; only NetworkManager is asked over the bus.
const choiceTimeout = 10 * time.Second

// Detect says who configures the network of this host, for a person. What cannot be told at the
// start keeps nothing from being done: Steps asks again for the link of each NIC.
func (d *Dispatch) Detect(ctx context.Context) survey.Stack {
	s, err := d.stacks.Detect(ctx)
	if err != nil {
		d.log.Error("it cannot be told who configures the network here", "err", err)
		s = survey.Stack{Evidence: []string{"it could not be told at the start: " + err.Error()}}
	}
	return d.override(s)
}

// choose finds the backend for a link that is not ours yet.
func (d *Dispatch) choose(ctx context.Context, l nic.Link) (survey.Stack, error) {
	ctx, cancel := context.WithTimeout(ctx, choiceTimeout)
	defer cancel()
	s, err := d.stacks.Stack(ctx, l)
	if err != nil {
		return s, err
	}
	s = d.override(s)
	if line := fmt.Sprintf("%d %s %s %q", l.Index, l.Name, s.Backend, s.Evidence); !d.said[line] {
		d.said[line] = true
		d.log.Info("who configures a link", "link", l.Name, "mac", l.MAC, "stack", s.Backend, "evidence", strings.Join(s.Evidence, "; "), "reason", s.Refusal)
	}
	return s, nil
}

// override lets multinicd.toml have the last word. Its "netplan" leaves the renderer to netplan.
func (d *Dispatch) override(s survey.Stack) survey.Stack {
	if d.name == "auto" || d.named(s.Backend) {
		return s
	}
	s.Evidence = append(slices.Clone(s.Evidence), fmt.Sprintf("backend.name is %q in multinicd.toml", d.name))
	s.Backend, s.Refusal, s.Hopeless = d.name, "", false
	return s
}

// named says whether a backend is one that backend.name of multinicd.toml asks for.
func (d *Dispatch) named(backend string) bool {
	return backend == d.name || d.name == survey.Netplan && backend == survey.NetplanNetworkManager
}

// Unsupported says why no NIC of this host can be had at this moment; "": there is no such reason,
// or it cannot be told now.
func (d *Dispatch) Unsupported(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, choiceTimeout)
	defer cancel()
	s, err := d.stacks.Detect(ctx)
	if err != nil {
		return ""
	}
	if s = d.override(s); !s.Hopeless {
		return ""
	}
	return s.Refusal + "; what was seen: " + strings.Join(s.Evidence, "; ")
}

func (d *Dispatch) get(name string) (apply.Backend, error) {
	b, ok := d.backends[name]
	if !ok && name == survey.Ifcfg {
		return nil, refusal("backend.name is \"ifcfg\", and NetworkManager's plugin ifcfg-rh is not installed; set \"networkmanager\", which works with every NetworkManager")
	}
	if !ok {
		return nil, refusal("backend %q: this version does not write it", name)
	}
	return b, nil
}

// wrote is the backend that wrote what we own of a NIC.
func wrote(o plan.Owned) string {
	if o.Backend == "" {
		return survey.Netplan
	}
	return o.Backend
}

func refusal(format string, args ...any) error {
	return &plan.RefusalError{Refusal: plan.Refusal{Reason: plan.NoBackend, Message: fmt.Sprintf(format, args...)}}
}
