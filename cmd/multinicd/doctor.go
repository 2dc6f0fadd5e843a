package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v1 "multinicd/api/v1"
	"multinicd/host/survey"
	"multinicd/internal/apply"
	"multinicd/internal/daemon"
	"multinicd/internal/doctor"
	"multinicd/internal/node"
	"multinicd/nic"
)

// doctorCommand gathers facts. It takes no lock, asks no API server and changes nothing.
func doctorCommand(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	w, err := wireHost(c)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.wireDaemon(c.Context); err != nil {
		return err
	}
	facts, err := w.facts(c.Context)
	if err != nil {
		return exitError{exitFailed, err}
	}
	list := doctor.Examine(facts)
	if err := write(c, list, doctor.Text); err != nil {
		return err
	}
	if doctor.MustAct(list) {
		return exitError{exitFailed, nil}
	}
	return nil
}

func (w *wired) facts(ctx context.Context) (doctor.Facts, error) {
	if err := w.applier.Open(); err != nil {
		return doctor.Facts{}, err
	}
	m, err := w.machine.Look(ctx)
	if err != nil {
		return doctor.Facts{}, err
	}
	f := doctor.Facts{Now: time.Now(), Backend: w.daemon.Backend, Evidence: w.daemon.Evidence, Unsupported: w.daemon.Unsupported(ctx), Links: m.Links, Kinds: w.cfg.Links.VirtualKinds,
		Owners: map[int]string{}, Record: w.applier.Record(), RPFilter: w.host.Sysctl("net/ipv4/conf/all/rp_filter"), NetworkdRuns: w.host.NetworkdRuns(),
		Kubelet: w.kubelet.Shown(ctx), Unsynced: survey.Unsynchronised(), Daemon: w.running(), Token: w.token(), Files: w.files()}
	w.around(ctx, m, &f)
	f.Name = doctor.Name{Name: w.node, Evidence: w.name.Evidence}
	f.Name.Doubt, f.Name.Advice = w.doubt()
	for _, a := range w.kubelet.NodeAddrs(ctx, m.Links) {
		if !a.Chosen {
			f.NodeIPs = append(f.NodeIPs, a.Addr)
		}
	}
	for _, h := range w.applier.Halfway() {
		f.HalfWay = append(f.HalfWay, doctor.HalfWay{NIC: cmp.Or(h.NIC.Name, h.NIC.MAC.String()), Why: h.Err.Error(), CutOff: errors.Is(h.Err, apply.ErrCutOff)})
	}
	for _, l := range m.Links {
		s, err := w.survey.Stack(ctx, l)
		switch {
		case err != nil:
			f.Owners[l.Index] = err.Error()
		case s.Backend == "":
			f.Owners[l.Index] = s.Refusal
		default:
			f.Owners[l.Index] = fmt.Sprintf("renderer %s (%s)", s.Backend, strings.Join(s.Evidence, "; "))
		}
	}
	for _, s := range w.host.NetworkdSettings("ManageForeignRoutes", "ManageForeignRoutingPolicyRules") {
		f.Foreign = append(f.Foreign, doctor.Setting{Key: s.Key, Off: s.Off(), File: s.File, InForce: s.InForce, Unread: s.Unread})
	}
	agents := w.survey.Agents()
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		f.Agents = append(f.Agents, doctor.Agent{Name: name, Evidence: agents[name]})
	}
	if files := w.former(); len(files) > 0 {
		f.Agents = append(f.Agents, doctor.Agent{Name: doctor.Former, Evidence: "its files are here: " + strings.Join(files, ", ")})
	}
	return f, nil
}

// running is what the daemon says about itself; nil if no daemon answers.
func (w *wired) running() *doctor.Daemon {
	r, err := ask(w.cfg.Status.Socket, daemon.AskStatus, 5*time.Second)
	if err != nil {
		return nil
	}
	out := &doctor.Daemon{State: r.Status.State}
	for _, n := range r.Status.NICs {
		if n.Status == v1.StateFailed || n.Reason == v1.ReasonDriftFighting {
			out.Failed = append(out.Failed, fmt.Sprintf("%s: %s: %s", n.Name, n.Reason, n.Message))
		}
	}
	if r.Status.Held {
		out.HeldBack = r.Status.Message
	}
	if r.Status.Source.Mode == "file" {
		out.File = r.Status.Source.Error
	}
	if c := r.Status.Credential; c != nil {
		out.ClockSkew, out.JoinNeeded, out.Trouble = c.ClockSkew, c.JoinNeeded, c.Trouble
	}
	return out
}

// token looks at the node's token on the disk. It takes only the time of its end out of the token.
func (w *wired) token() doctor.Token {
	file := w.tokenFile()
	data, _, err := w.host.Read(file)
	if file == "" || err != nil {
		return doctor.Token{}
	}
	out := doctor.Token{File: file}
	parts := strings.Split(strings.TrimSpace(string(data)), ".")
	var claims struct {
		Ends int64 `json:"exp"`
	}
	if len(parts) == 3 {
		if text, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(text, &claims) == nil && claims.Ends > 0 {
			out.Ends = time.Unix(claims.Ends, 0)
		}
	}
	return out
}

// files lists our files whose permissions matter, with their permissions.
func (w *wired) files() (out []doctor.File) {
	look := func(name string, secret bool) {
		if mode, uid, ok := w.host.Permissions(name); ok && mode&fs.ModeSymlink == 0 {
			out = append(out, doctor.File{Path: name, Mode: mode, UID: uid, Secret: secret})
		}
	}
	look("/etc/multinicd", false)
	look("/etc/multinicd/multinicd.toml", false)
	look(w.cfg.State.Dir, true)
	look(w.cfg.CredentialDir(), true)
	each := func(pattern string, ours func(string) bool, secret bool) {
		names, _ := w.host.Glob(pattern) // the patterns are valid
		for _, name := range names {
			if ours(name) {
				look(name, secret)
			}
		}
	}
	each(path.Join(w.cfg.CredentialDir(), "*"), func(string) bool { return true }, true)
	for _, f := range node.Folders() {
		if !strings.HasPrefix(f.Dir, "/run/") { // those the next boot makes anew
			each(path.Join(f.Dir, f.Names+"*"), node.OurFile, f.Secret)
		}
	}
	runtime, _ := w.host.Glob("/run/systemd/network/10-netplan-*.network")
	for _, name := range runtime {
		if !node.OurFile(name) {
			continue
		}
		if mode, uid, ok := w.host.Permissions(name); ok {
			out = append(out, doctor.File{Path: name, Mode: mode, UID: uid, Unread: !w.host.NetworkdReads(name)})
		}
	}
	if w.cfg.API.TokenFile != "" {
		look(w.cfg.API.TokenFile, true)
	}
	return out
}

// former lists the files that the former agent has left. Our own files are told apart by their
// content.
func (w *wired) former() (out []string) {
	for _, pattern := range nic.FormerFiles {
		names, _ := w.host.Glob(pattern) // the patterns are valid
		for _, name := range names {
			if data, _, err := w.host.Read(name); err == nil && !strings.Contains(string(data), nic.Mark) {
				out = append(out, name)
			}
		}
	}
	return out
}
