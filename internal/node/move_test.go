package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/host/survey"
	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/networkmanager"
	"multinicd/nic"
	"multinicd/plan"
)

// A NIC that moves to another backend has afterwards the files that this backend would have written at
// first, and no others. One that shares a subnet has a file that every backend writes.
func TestANICThatMovesHasTheFilesOfItsNewBackend(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, Apart: true,
		Addresses: prefixes("192.0.2.7/32")}
	for name, row := range map[string]struct{ from, to string }{
		"from netplan to a keyfile":                 {survey.Netplan, survey.NetworkManager},
		"from a keyfile to netplan":                 {survey.NetworkManager, survey.Netplan},
		"netplan's renderer becomes NetworkManager": {survey.Netplan, survey.NetplanNetworkManager},
		"netplan's renderer becomes networkd":       {survey.NetplanNetworkManager, survey.Netplan},
		"from netplan's NetworkManager to keyfiles": {survey.NetplanNetworkManager, survey.NetworkManager},
		"from a keyfile to netplan's profile":       {survey.NetworkManager, survey.NetplanNetworkManager},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := hosttest.New(), hosttest.New()
			move(t, got, c, row.from, "")
			move(t, got, c, row.to, row.from)
			move(t, want, c, row.to, "")
			if diff := cmp.Diff(text(want), text(got)); diff != "" {
				t.Errorf("-new +moved:\n%s", diff)
			}
		})
	}
}

// move does what the steps say of files, for a NIC that goes to a backend; was is the one it had, "": none.
func move(t *testing.T, m *hosttest.Machine, c nic.Config, to, was string) {
	t.Helper()
	var rec plan.Record
	if was != "" {
		rec.NICs = []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: was}}
	}
	d := &Dispatch{stacks: &fakeStacks{stack: survey.Stack{Backend: to}, gone: []string{was}}, name: "auto", log: slog.New(slog.DiscardHandler),
		said: map[string]bool{}, record: func() plan.Record { return rec }, backends: map[string]apply.Backend{
			survey.Netplan: netplan.New(m, m), survey.NetplanNetworkManager: netplan.NewManager(m, m, false),
			survey.NetworkManager: &networkmanager.Backend{Files: m, Format: networkmanager.Keyfile{}}}}
	after := plan.Owned{MAC: c.MAC, Config: c, Applied: true}
	steps, err := d.Steps(context.Background(), plan.Action{Kind: plan.Configure, NIC: c, Link: &nic.Link{Index: 3, Name: c.Name, MAC: c.MAC}, After: &after})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		f := s.Do.File
		switch {
		case f == nil:
		case f.Absent:
			if err := m.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		default:
			if err := m.Write(f.Path, f.Data, f.Mode); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// text is what the files of a machine say.
func text(m *hosttest.Machine) map[string]string {
	out := map[string]string{}
	for file, data := range m.Disk {
		out[file] = string(data)
	}
	return out
}
