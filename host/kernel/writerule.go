package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"multinicd/nic"

	"golang.org/x/sys/unix"
)

// changeRules first adds, in the order of the list, and then deletes in the opposite order: a rule
// that keeps another in check is there before it, and goes after it. have are the rules that there
// are. The planner has made sure that nobody else uses the priority (plan.TableTaken).
func (k *Kernel) changeRules(ctx context.Context, c nic.Change, have []nic.Rule) error {
	there := func(r nic.Rule) int {
		return slices.IndexFunc(have, func(h nic.Rule) bool { return h.Key() == r.Key() })
	}
	for _, r := range c.AddRules {
		if there(r) >= 0 {
			continue
		}
		// networkd and NetworkManager use this protocol. The kernel takes a second rule that
		// differs only in its protocol: if they add theirs while we put ours back, there would be
		// two (systemd 257, November 2026).
		r.Protocol = unix.RTPROT_STATIC
		body, attributes := ruleRequest(r)
		err := k.rtnl.do(ctx, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body, attributes...)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding rule %s: %w", r, err)
		}
	}
	for _, r := range slices.Backward(c.DelRules) {
		i := there(r)
		if i < 0 {
			continue
		}
		// with its protocol: otherwise the kernel takes the first rule that looks alike, even if
		// that one has more conditions
		body, attributes := ruleRequest(have[i])
		err := k.rtnl.do(ctx, unix.RTM_DELRULE, 0, body, attributes...)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("deleting rule %s: %w", r, err)
		}
	}
	return nil
}

// ruleRequest is a struct fib_rule_hdr (linux/fib_rules.h), which has the shape of rtmsg, and its
// attributes.
func ruleRequest(r nic.Rule) ([]byte, []attribute) {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[7] = unix.AF_INET, ruleToTable
	out := []attribute{attrUint32(fraPriority, uint32(r.Priority)), attrUint32(fraTable, uint32(r.Table)), attr(fraProtocol, []byte{byte(r.Protocol)})}
	if r.From.Addr().Is6() || r.To.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	if r.From.IsValid() {
		b[2] = byte(r.From.Bits())
		out = append(out, attr(fraSrc, r.From.Addr().AsSlice()))
	}
	if r.To.IsValid() {
		b[1] = byte(r.To.Bits())
		out = append(out, attr(fraDst, r.To.Addr().AsSlice()))
	}
	if r.NoDefault {
		out = append(out, attrUint32(fraSuppress, 0))
	}
	return b, out
}
