package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"multinicd/host"
	"multinicd/host/survey"
	"multinicd/ifcfg"
	"multinicd/internal/apply"
	"multinicd/internal/config"
	"multinicd/internal/filestep"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/sysctl"
)

// Dispatch gives each NIC the backend of its link. A configured NIC keeps the backend that wrote
// its files, as long as the tool of this backend is on the host. For every other NIC the owner of
// the link decides. One goroutine uses a Dispatch at a time.
type Dispatch struct {
	stacks   Stacks
	name     string                   // backend.name of multinicd.toml
	backends map[string]apply.Backend // by name
	record   func() plan.Record
	log      *slog.Logger
	said     map[string]bool // choices that were logged
}

// NewDispatch gives a Dispatch that has chosen nothing yet. name is backend.name of multinicd.toml,
// "auto" where the host decides. backends are those that may be chosen, by name. record says what
// is ours.
func NewDispatch(s Stacks, name string, backends map[string]apply.Backend, record func() plan.Record, log *slog.Logger) *Dispatch {
	return &Dispatch{stacks: s, name: name, backends: backends, record: record, log: log, said: map[string]bool{}}
}

// Backends makes the backends that this version has for a host, by their names in host/survey. The
// backend for ifcfg files is among them only on a host whose NetworkManager reads such files. state
// is the state folder.
func Backends(h *host.Host, b netplan.Bus, c config.Backend, state string) map[string]apply.Backend {
	dad := DAD(c) > 0
	yaml := netplan.New(h, b)
	yaml.DAD, yaml.Activation, yaml.Memory = dad, c.Activation, netplan.Memory{Files: h, Dir: state}
	out := map[string]apply.Backend{survey.Netplan: yaml, survey.NetplanNetworkManager: netplan.NewManager(h, b, dad),
		survey.NetworkManager: &networkmanager.Backend{Files: h, Format: networkmanager.Keyfile{}, DAD: dad}}
	for _, pattern := range survey.IfcfgPlugin {
		if found, err := h.Glob(pattern); err == nil && len(found) > 0 {
			out[survey.Ifcfg] = &networkmanager.Backend{Files: h, Format: ifcfg.Format{}, DAD: dad}
		}
	}
	return out
}

// writers are the packages whose backends write files, in the order in which Validate asks them.
// Package ifcfg is not among them: its files are networkmanager's.
var writers = []struct {
	judge   string // of the backends that write these files, the one that Validate asks
	owns    func(file string) bool
	folders func() []filestep.Folder
}{
	{survey.Netplan, netplan.OurFile, netplan.Folders},
	{survey.NetworkManager, networkmanager.OurFile, networkmanager.Folders},
}

// OurFile says whether a file is ours, whatever backend wrote it.
func OurFile(file string) bool {
	for _, w := range writers {
		if w.owns(file) {
			return true
		}
	}
	return false
}

// MayChange says whether a change may write or remove a file: one that is ours, or that the former
// agent left.
func MayChange(file string) bool { return OurFile(file) || nic.FormerFile(file) }

// Folders lists the folders that some backend writes into, each of them once.
func Folders() (out []filestep.Folder) {
	for _, w := range writers {
		for _, f := range w.folders() {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// Watched lists the folders in which a file of ours may be, each of them once.
func Watched() (out []string) {
	for _, f := range Folders() {
		if !slices.Contains(out, f.Dir) {
			out = append(out, f.Dir)
		}
	}
	return out
}

// among says whether steps write or remove a file that owns accepts.
func among(steps []plan.Step, owns func(file string) bool) bool {
	return slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Do.File != nil && owns(s.Do.File.Path) })
}

// Steps asks the backend of the action's NIC, and notes in a.After which backend that is. Files
// that another backend wrote go, as part of the change. A plan.RefusalError: no backend can have
// the NIC.
func (d *Dispatch) Steps(ctx context.Context, a plan.Action) ([]plan.Step, error) {
	owned, known := d.record().Find(a.NIC.MAC)
	was := wrote(owned)
	if a.Kind == plan.Remove {
		b, err := d.get(was)
		if err != nil {
			return nil, err
		}
		return b.Steps(ctx, a)
	}
	if known && owned.Applied && d.stacks.Has(was) && (d.name == "auto" || d.named(was)) {
		b, err := d.get(was)
		if err != nil {
			return nil, err
		}
		a.After.Backend, a.After.Evidence = was, owned.Evidence
		return b.Steps(ctx, a)
	}
	s, err := d.choose(ctx, *a.Link)
	if err != nil {
		return nil, err
	}
	if s.Backend == "" {
		return nil, refusal("%s", s.Refusal)
	}
	b, err := d.get(s.Backend)
	if err != nil {
		return nil, err
	}
	a.After.Backend, a.After.Evidence = s.Backend, s.Evidence
	steps, err := b.Steps(ctx, a)
	if err != nil || !known || !owned.Applied || was == s.Backend {
		return steps, err
	}
	return d.without(ctx, was, b, owned, steps)
}

// without puts the removal of what backend was has written before the step that makes a change
// final. Files that the steps of the new backend b write or remove are left to them. So are those
// of sysctl, which every backend keeps, and all files where both write NetworkManager's profiles:
// the two forms of these know each other's files.
func (d *Dispatch) without(ctx context.Context, was string, b apply.Backend, owned plan.Owned, steps []plan.Step) ([]plan.Step, error) {
	former, err := d.get(was)
	if err != nil {
		return nil, err
	}
	_, profiles := former.(*networkmanager.Backend)
	if _, still := b.(*networkmanager.Backend); still && profiles {
		return steps, nil
	}
	old, err := former.Steps(ctx, plan.Action{Kind: plan.Remove, NIC: owned.Config})
	if err != nil {
		return nil, fmt.Errorf("taking back what %s has of %s: %w", was, owned.Config.Name, err)
	}
	var files []plan.Step
	for _, s := range old {
		f := s.Do.File
		if f == nil || sysctl.OurFile(f.Path) || among(steps, func(file string) bool { return file == f.Path }) {
			continue
		}
		s.Final = false
		files = append(files, s)
	}
	at := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Final })
	if at < 0 {
		at = len(steps)
	}
	return slices.Insert(steps, at, files...), nil
}

// Validate asks a backend of each package whose files are among the steps. A NIC that moves from
// one backend to another has files of both.
func (d *Dispatch) Validate(ctx context.Context, steps []plan.Step) error {
	for _, w := range writers {
		if !among(steps, w.owns) {
			continue
		}
		b, err := d.get(w.judge)
		if err != nil {
			return err
		}
		if err := b.Validate(ctx, steps); err != nil {
			return err
		}
	}
	return nil
}
