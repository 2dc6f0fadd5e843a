package netplan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"multinicd/internal/filestep"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// ProfileDir is where netplan's generator writes profiles for NetworkManager at boot.
const ProfileDir = networkmanager.RuntimeDir

// ManagerBackend makes the steps for links that netplan leaves to NetworkManager. NetworkManager
// makes the change, by the profile that netplan's generator would write. Once the change is
// verified and probed, the YAML persists it. A boot before that has the old YAML, and the old
// profile made from it.
type ManagerBackend struct {
	*Backend
	Manager *networkmanager.Backend
}

// NewManager gives a backend that has accepted nothing yet.
func NewManager(f filestep.Files, b Bus, dad bool) *ManagerBackend {
	out := &ManagerBackend{Backend: New(f, b), Manager: &networkmanager.Backend{Files: f, Format: networkmanager.Keyfile{}, DAD: dad}}
	out.render, out.renderer, out.DAD = RenderForManager, rendererManager, dad
	return out
}

// RenderForManager gives the whole YAML of a NIC whose renderer is NetworkManager. netplan has no
// words for some settings there, or does not pass them on (routing rules before 1.0). These stand
// under passthrough, in the words of nm-settings-keyfile(5), and say what
// networkmanager.RenderKeyfile says.
func RenderForManager(c nic.Config) []byte {
	rules := c.Rules
	c.Rules = nil
	return render(c, rendererManager, func(line func(string, ...any)) {
		line("      networkmanager:")
		line("        uuid: \"%s\"", networkmanager.UUID(c.MAC))
		line("        name: \"%s\"", c.Name)
		line("        passthrough:")
		line("          connection.autoconnect-priority: \"%d\"", networkmanager.AutoconnectPriority)
		for _, f := range []struct {
			name, more string
			metric     int
			is         func(netip.Addr) bool
		}{{"ipv4", "dad-timeout: \"0\"", 0, netip.Addr.Is4}, {"ipv6", "addr-gen-mode: \"eui64\"", networkmanager.PrefixMetric6, netip.Addr.Is6}} {
			if !slices.ContainsFunc(c.Addresses, func(p netip.Prefix) bool { return f.is(p.Addr()) }) {
				line("          %s.method: \"disabled\"", f.name)
				continue
			}
			line("          %s.never-default: \"true\"", f.name)
			line("          %s.route-metric: \"%d\"", f.name, f.metric)
			line("          %s.%s", f.name, f.more)
			n := 0
			for _, r := range rules {
				if f.is(r.From.Addr()) {
					n++
					line("          %s.routing-rule%d: \"%s\"", f.name, n, networkmanager.RuleText(r))
				}
			}
		}
	})
}

func profileFile(id string) string { return path.Join(ProfileDir, "netplan-"+id+".nmconnection") }

// Settling says whether NetworkManager is about to bring a NIC's profile in force by itself, as it
// does at boot. The profile is the one that netplan's generator has written.
func Settling(f filestep.Files, c nic.Config, l nic.Link) bool {
	return networkmanager.Settling(f, profileFile(ID(c)), c, l) || networkmanager.Settling(f, profileFile(formerID(c)), c, l)
}

// Steps turns an action into the steps of its change, each with its undo. There are none where the
// files have the same bytes and the kernel has the same state.
func (b *ManagerBackend) Steps(_ context.Context, a plan.Action) ([]plan.Step, error) {
	a = networkmanager.Single(a)
	persist, runtime, err := b.files(a)
	if err != nil {
		return nil, err
	}
	var late []plan.Step
	if len(persist) > 0 {
		persist[len(persist)-1].Final = true
		late = append([]plan.Step{{Kind: plan.StepValidate, Do: plan.Op{Check: plan.CheckValidate}}}, persist...)
	}
	late = append(late, runtime...)
	active := ""
	if a.Link != nil {
		if active, err = networkmanager.ActiveProfile(b.Files, a.Link.Index); err != nil {
			return nil, err
		}
	}
	if networkmanager.Same(a) {
		return append(b.Manager.Repair(a, ""), late...), nil
	}
	stray, err := b.stray(a)
	if err != nil {
		return nil, err
	}
	if len(persist)+len(stray) > 0 || networkmanager.Lost(a, active) {
		return b.managed(a, persist, stray, active, late)
	}
	return append(b.Manager.Repair(a, active), late...), nil
}

// Remember is Backend.Remember.
func (b *ManagerBackend) Remember(yes bool) {
	b.Backend.Remember(yes)
	b.Manager.Remember(yes)
}

// stray removes the copies that NetworkManager (1.42 and 1.52) makes when somebody modifies a
// profile of netplan's, with nmcli for one. NetworkManager puts the copy into its own folder, under
// the name of the NIC, where it counts before whatever netplan's generator writes.
func (b *ManagerBackend) stray(a plan.Action) (steps []plan.Step, err error) {
	names, err := b.memo.Glob(b.Files, networkmanager.Keyfile{}.File(nic.NamePrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", networkmanager.KeyfileDir, err)
	}
	for _, name := range names {
		named, err := b.memo.Says(b.Files, name, func(data []byte) bool {
			return bytes.Contains(data, []byte("uuid="+networkmanager.UUID(a.NIC.MAC)+"\n"))
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if !named || !networkmanager.OurFile(name) {
			continue
		}
		step, err := filestep.Replace(b.Files, plan.StepProfile, name, nil, 0)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step...)
	}
	return steps, nil
}

// managed has NetworkManager make the change by the profiles.
func (b *ManagerBackend) managed(a plan.Action, persist, stray []plan.Step, active string, late []plan.Step) ([]plan.Step, error) {
	files, profiles, err := b.profiles(a, persist)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(stray) {
		files, profiles = slices.Insert(files, 0, s), slices.Insert(profiles, 0, s.Do.File.Path)
	}
	if a.Link != nil {
		return b.Manager.Managed(a, files, profiles, active, late)
	}
	if len(profiles) == 0 {
		return late, nil
	}
	ask := func(v plan.Verb) plan.Op {
		return plan.Op{Manage: &plan.Manage{Verb: v, MAC: a.NIC.MAC, Files: profiles}}
	}
	steps := append([]plan.Step{{Kind: plan.StepProfile, Undo: ask(plan.Restore)}}, files...)
	return append(append(steps, plan.Step{Kind: plan.StepLoad, Do: ask(plan.Load)}), late...), nil
}

// profiles gives the steps that make the profiles what the YAML will make of them at the next boot,
// and lists these profiles.
func (b *ManagerBackend) profiles(a plan.Action, persist []plan.Step) (steps []plan.Step, profiles []string, err error) {
	add := func(file string, data []byte) error {
		step, err := filestep.Replace(b.Files, plan.StepProfile, file, data, 0o600)
		if err == nil && (len(step) > 0 || data != nil) {
			steps, profiles = append(steps, step...), append(profiles, file)
		}
		return err
	}
	if a.Kind == plan.Configure {
		file := profileFile(ID(a.NIC))
		if former := profileFile(formerID(a.NIC)); b.has(former) { // of this boot, and in force
			file = former
		}
		old, _, err := b.Files.Read(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if err := add(file, profile(a.NIC, old)); err != nil {
			return nil, nil, err
		}
	}
	for _, s := range persist {
		name, ours := strings.CutPrefix(path.Base(s.Do.File.Path), "90-")
		name, yaml := strings.CutSuffix(name, ".yaml")
		if !s.Do.File.Absent || !ours || !yaml {
			continue
		}
		own := nic.Config{Name: name}
		for _, id := range []string{ID(own), formerID(own), lastID(own)} {
			if err := add(profileFile(id), nil); err != nil {
				return nil, nil, err
			}
		}
	}
	return steps, profiles, nil
}

// profile is what netplan's generator makes of RenderForManager's YAML, in effect. If the present
// profile finds its link by the name, so does the new one: NetworkManager would have to take the
// link down to change that. A new profile finds its link by the MAC, since an old kernel may name
// the link at the next boot only.
func profile(c nic.Config, old []byte) []byte {
	out := networkmanager.RenderKeyfile(c)
	name := []byte("\ninterface-name=" + c.Name + "\n")
	if !bytes.Contains(old, name) {
		return out
	}
	out = bytes.Replace(out, []byte("\ntype=ethernet\n"), append([]byte("\ntype=ethernet"), name...), 1)
	return bytes.Replace(out, []byte("mac-address="+c.MAC.String()+"\n"), nil, 1)
}
