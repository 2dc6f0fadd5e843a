package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon"
	"multinicd/internal/daemon/asked"
	"multinicd/nic"
	"multinicd/plan"
)

// preview is what apply would do.
type preview struct {
	Node    string       `json:"node"`
	Backend string       `json:"backend"`
	Note    string       `json:"note,omitempty"`    // why an older object counts, or none
	Refused string       `json:"refused,omitempty"` // why nothing at all would be done
	NICs    []nicPreview `json:"nics"`
	code    int          // the exit code of apply, as far as it can be known
}

type nicPreview struct {
	Name    string      `json:"name"`
	MAC     string      `json:"macAddress"`
	Action  string      `json:"action"` // Configure, Remove, Refuse, Wait, Nothing
	Reason  string      `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	Backend string      `json:"backend,omitempty"`
	From    string      `json:"from,omitempty"` // whose configuration it takes over, or took, and how we know
	Link    *nic.Change `json:"link,omitempty"`
	Files   []fileDiff  `json:"files,omitempty"`
}

type fileDiff struct {
	Path string `json:"path"`
	Diff string `json:"diff" terminal:"lines"` // each has a mark
}

// plan says what apply would do. It takes no lock and changes nothing.
func (w *wired) plan(ctx context.Context, file string) (preview, error) {
	wish, err := w.wish(ctx, w.source(file))
	if err != nil {
		return preview{}, err
	}
	if err := w.applier.Open(); err != nil {
		return preview{}, exitError{exitFailed, err}
	}
	return w.preview(ctx)(w.daemon.Preview(ctx, wish))
}

// previewRollback says what rollback, or undoing a rollback, would do. It takes no lock and changes
// nothing.
func (w *wired) previewRollback(ctx context.Context, back bool) (preview, error) {
	if err := w.applier.Open(); err != nil {
		return preview{}, exitError{exitFailed, err}
	}
	return w.preview(ctx)(w.daemon.PreviewRollback(ctx, back))
}

// previewCleanup says what cleanup would do. It takes no lock and changes nothing.
func (w *wired) previewCleanup(ctx context.Context) (preview, error) {
	if err := w.applier.Open(); err != nil {
		return preview{}, exitError{exitFailed, err}
	}
	if err := w.applier.Complete(); err != nil {
		return preview{}, exitError{exitFailed, err}
	}
	return w.preview(ctx)(w.daemon.Preview(ctx, asked.Wish{Left: true}))
}

// preview makes the foreseen changes readable.
func (w *wired) preview(ctx context.Context) func(f daemon.Foreseen, err error) (preview, error) {
	return func(f daemon.Foreseen, err error) (preview, error) {
		if err != nil {
			return preview{}, exitError{exitFailed, err}
		}
		out := preview{Node: w.node, Backend: w.daemon.Backend, Note: f.Note, NICs: []nicPreview{}}
		if f.Desired.Refused != nil {
			out.Refused = string(f.Desired.Refused.Reason) + ": " + f.Desired.Refused.Message
		}
		for _, bad := range f.Desired.Invalid {
			out.NICs = append(out.NICs, nicPreview{Name: bad.Name, MAC: bad.Text, Action: string(plan.Refuse), Reason: string(plan.InvalidSpec), Message: bad.Message})
		}
		for _, a := range f.Plan.Actions {
			n, err := w.previewNIC(ctx, a)
			if err != nil {
				return preview{}, exitError{exitFailed, err}
			}
			out.NICs = append(out.NICs, n)
		}
		for _, h := range w.applier.Halfway() {
			out.halfway(h)
		}
		out.code = out.exitCode(f)
		return out, nil
	}
}

// halfway says about a NIC that a change of it has not come to its end yet.
func (p *preview) halfway(h apply.Half) {
	i := slices.IndexFunc(p.NICs, func(n nicPreview) bool { return n.MAC == h.NIC.MAC.String() })
	if i < 0 {
		i = len(p.NICs)
		p.NICs = append(p.NICs, nicPreview{Name: cmp.Or(h.NIC.Name, "a NIC"), MAC: h.NIC.MAC.String(), Action: "Nothing"})
	}
	n := &p.NICs[i]
	if errors.Is(h.Err, apply.ErrCutOff) { // the planned change may follow at once
		n.Message = strings.TrimSuffix(h.Err.Error()+"; "+n.Message, "; ")
		return
	}
	res := h.Result(plan.Action{})
	*n = nicPreview{Name: n.Name, MAC: n.MAC, Action: string(plan.Wait), Reason: string(res.Reason), Message: res.Message}
}

// exitCode is the exit code of apply if every change goes well; only the change itself can show
// that. It is the code of the report that apply would then write.
func (p preview) exitCode(f daemon.Foreseen) int {
	r := v1.Report{Phase: v1.PhaseDone}
	if p.Refused != "" {
		r.Refused = &v1.Remark{}
	}
	switch f.Mode {
	case asked.ModeHeld, asked.ModeUnread:
		r.Refused = &v1.Remark{}
	case asked.ModeUnreleased:
		r.Phase = v1.PhaseApplying
	}
	for _, n := range p.NICs {
		row := v1.InterfaceStatus{Status: v1.StateConfigured}
		switch {
		case n.Reason == string(plan.RollbackFailed):
			row.Status, row.Outcome = v1.StateFailed, v1.OutcomeRollbackFailed
		case n.Action == string(plan.Refuse):
			row.Status, row.Outcome = v1.StateFailed, v1.OutcomeRefused
		case n.Action == string(plan.Wait):
			row.Status = v1.StatePending
		}
		r.Interfaces = append(r.Interfaces, row)
	}
	code, _, _ := r.Outcome(v1.ActionTrigger)
	return int(code)
}

func (w *wired) previewNIC(ctx context.Context, a plan.Action) (nicPreview, error) {
	n := nicPreview{Name: a.NIC.Name, MAC: a.NIC.MAC.String(), Action: string(a.Kind), Reason: string(a.Reason), Message: a.Message}
	steps, err := w.applier.Steps(ctx, a)
	var refusal *plan.RefusalError
	if errors.As(err, &refusal) {
		n.Action, n.Reason, n.Message = string(plan.Refuse), string(refusal.Refusal.Reason), refusal.Refusal.Message
		return n, nil
	} else if err != nil {
		return n, err
	}
	if a.After != nil && a.Kind == plan.Configure {
		n.Backend, n.From = a.After.Backend, a.After.From
		n.Message = cmp.Or(n.Message, a.Note)
	}
	if len(steps) == 0 && a.Kind != plan.Refuse && a.Kind != plan.Wait {
		n.Action = "Nothing"
	}
	if !a.Change.Empty() {
		n.Link = &a.Change
	}
	for _, s := range steps {
		if s.Do.File != nil {
			n.Files = append(n.Files, fileDiff{Path: s.Do.File.Path, Diff: diffLines(s.Undo.File.Data, s.Do.File.Data)})
		}
	}
	return n, nil
}

// diffLines marks lines that go with - and lines that come with +. Lines that stay are left out.
// The files are short.
func diffLines(before, after []byte) string {
	a, b := splitLines(before), splitLines(after)
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("- " + a[i] + "\n")
			i++
		default:
			out.WriteString("+ " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}

func splitLines(data []byte) []string {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}
