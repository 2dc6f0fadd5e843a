package legacy

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
	"multinicd/internal/bridge/admission"
)

// ConditionUnguarded: the API server takes changes that it shall refuse. Absent otherwise.
const ConditionUnguarded = "Unguarded"

// lookAgain is the pause between two looks at the policies: lookSoon after one that found fault.
const lookAgain, lookSoon = 2 * time.Minute, 10 * time.Second

// policies looks whether the admission policies of this phase are in force: those that bind this
// publisher, or in the second phase the one that keeps older objects as they are. It is for one
// goroutine.
type policies struct {
	guard *admission.PolicyGuard
	log   *slog.Logger
	at    time.Time
	known bool
	err   error
}

// unheard is for a guard that shall tell nobody but us.
type unheard struct{}

func (unheard) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

func newPolicies(o Options, c client.Client) (*policies, error) {
	manifest, name := deploy.Legacy, "multinic-legacy-bounds"
	if o.ReadOnly {
		manifest, name = deploy.LegacyReadOnly, "multinic-legacy-readonly"
	}
	guard, err := admission.New(manifest, []string{name}, nil, c, c, unheard{}, v1.PublisherLegacy, slog.New(slog.DiscardHandler))
	return &policies{guard: guard, log: o.Log}, err
}

// look gives what is wrong with the policies, nil for nothing. It asks the API server now and then,
// and logs what is new.
func (p *policies) look(ctx context.Context, now time.Time) error {
	pause := lookAgain
	if p.err != nil {
		pause = lookSoon
	}
	if p.known && now.Sub(p.at) < pause {
		return p.err
	}
	err := p.guard.InForce(ctx)
	if ctx.Err() != nil {
		return p.err
	}
	switch {
	case err != nil && (p.err == nil || p.err.Error() != err.Error()):
		p.log.Error("an admission policy is not in force", "err", err.Error())
	case err == nil && (p.err != nil || !p.known):
		p.log.Info("the admission policies are in force")
	}
	p.at, p.known, p.err = now, true, err
	return err
}

// unguarded puts into the conditions what is wrong with the policies.
func unguarded(old *v1.MultiNicBizConfig, s *v1.MultiNicBizConfigStatus, fault error, now time.Time) {
	if fault == nil {
		meta.RemoveStatusCondition(&s.Conditions, ConditionUnguarded)
		return
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: ConditionUnguarded, Status: metav1.ConditionTrue, Reason: "PolicyMissing",
		Message: v1.Printable(fault.Error(), 1000), ObservedGeneration: old.Generation, LastTransitionTime: metav1.NewTime(now)})
}
