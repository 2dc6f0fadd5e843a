package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// eventAdmissionInForce is the reason of an Event: the policies are in force again.
const eventAdmissionInForce = "AdmissionInForce"

// How long a look at the policies counts, and how often the bridge looks by itself.
const (
	admissionFresh = 3 * time.Second
	admissionEvery = 2 * time.Minute
	// atFirst is how long after its first look a guard only says that it waits, if it has never found
	// the policies in force: an API server goes by policies that were just applied after some seconds,
	// and they may be applied together with the bridge.
	atFirst = 10 * time.Second
	// admissionWithin is how long a look may take. If the API server does not answer in time, the
	// policies do not count as in force.
	admissionWithin = 10 * time.Second
)

// errAdmission is wrapped by every error of InForce. As long as there is one, nothing is handed
// out.
var errAdmission = errors.New("admission policies are not in force")

// PolicyGuard knows whether the admission policies of a manifest are in the cluster, word for word,
// and refuse what they must refuse. Its methods may be called at any time.
type PolicyGuard struct {
	reader client.Reader // asks the API server
	client client.Client // as the bridge, for the probes
	events events.EventRecorder
	self   string // the ServiceAccount of the bridge that looks
	log    *slog.Logger
	now    func() time.Time
	want   policies
	told   []Parameter
	seen   changes
	// Looked, unless nil, is called after each look.
	Looked func()
	// Watcher, unless nil, watches what a look depends on, so that Start looks when it changes.
	Watcher Watcher

	mu      sync.Mutex // never held over a call
	began   time.Time  // of the first look
	at      time.Time  // of the last one
	err     error
	ever    bool                 // some look has found the policies in force
	warned  error                // what the last Event warns of; nil: of nothing
	looking chan struct{}        // closed when the present look has ended; nil: there is none
	heard   map[Parameter]string // what the parameters said when they were last read
}

// New makes a guard of the policies of a manifest of deploy/, and of what they are told. only names
// the policies that count; none means all. reader asks the API server. account is the ServiceAccount
// of multinic-system that looks: Events are about it. The guard uses the real clock. The bridge's
// own clock, Options.Now, is for what concerns nodes.
func New(manifest string, only []string, told []Parameter, reader client.Reader, c client.Client, recorder events.EventRecorder, account string, log *slog.Logger) (*PolicyGuard, error) {
	want, err := wantedPolicies(manifest)
	if len(only) > 0 {
		want.policies = slices.DeleteFunc(want.policies, func(p admissionv1.ValidatingAdmissionPolicy) bool { return !slices.Contains(only, p.Name) })
		if err == nil && len(want.policies) != len(only) {
			err = fmt.Errorf("reading the admission policies: the manifest does not have all of %s", strings.Join(only, ", "))
		}
	}
	return &PolicyGuard{reader: reader, client: c, events: recorder, self: account, log: log, now: time.Now, want: want, told: told, heard: map[Parameter]string{}}, err
}

const (
	policyKind  = "ValidatingAdmissionPolicy"
	bindingKind = "ValidatingAdmissionPolicyBinding"
)

type policies struct {
	policies []admissionv1.ValidatingAdmissionPolicy
	bindings []admissionv1.ValidatingAdmissionPolicyBinding
}

// wantedPolicies are the policies of a manifest of deploy/, in the form in which the API server
// stores them.
func wantedPolicies(manifest string) (policies, error) {
	var out policies
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return out, fmt.Errorf("reading the admission policies: %w", err)
		}
		switch kind.Kind {
		case policyKind:
			var p admissionv1.ValidatingAdmissionPolicy
			if err := yaml.UnmarshalStrict([]byte(doc), &p); err != nil {
				return out, fmt.Errorf("reading an admission policy: %w", err)
			}
			out.policies = append(out.policies, defaulted(p))
		case bindingKind:
			var b admissionv1.ValidatingAdmissionPolicyBinding
			if err := yaml.UnmarshalStrict([]byte(doc), &b); err != nil {
				return out, fmt.Errorf("reading the binding of an admission policy: %w", err)
			}
			out.bindings = append(out.bindings, b)
		}
	}
	return out, nil
}

// defaulted fills in the defaults of the API server (pkg/apis/admissionregistration/v1/defaults.go,
// 1.37).
func defaulted(p admissionv1.ValidatingAdmissionPolicy) admissionv1.ValidatingAdmissionPolicy {
	c := p.Spec.MatchConstraints
	c.MatchPolicy = new(admissionv1.Equivalent)
	if c.NamespaceSelector == nil {
		c.NamespaceSelector = &metav1.LabelSelector{}
	}
	c.ObjectSelector = &metav1.LabelSelector{}
	for i := range c.ResourceRules {
		c.ResourceRules[i].Scope = new(admissionv1.AllScopes)
	}
	return p
}

// InForce gives nil if every policy is bound and refuses its probe. The look behind the answer
// began at most admissionFresh before the question. If another caller is looking already, InForce
// waits for that look: with a slow API server the callers would otherwise look one after the other.
// Nobody waits longer than his own ctx.
func (g *PolicyGuard) InForce(ctx context.Context) error {
	return g.inForce(ctx, g.now().Add(-admissionFresh))
}

// inForce is InForce by a look that began after that time.
func (g *PolicyGuard) inForce(ctx context.Context, after time.Time) error {
	g.mu.Lock()
	for g.at.IsZero() || !g.at.After(after) {
		others := g.looking
		if others == nil {
			return g.lookNow(ctx)
		}
		g.mu.Unlock()
		select {
		case <-others: // if that look was given up, the answer is as old as it was
		case <-ctx.Done():
			return fmt.Errorf("%w: waiting for a look at them: %w", errAdmission, ctx.Err())
		}
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	return g.err
}

// lookNow is InForce for the caller that looks itself. It is called with g.mu locked, and unlocks
// g.mu.
func (g *PolicyGuard) lookNow(ctx context.Context) error {
	done := make(chan struct{})
	g.looking = done
	g.mu.Unlock()
	now := g.now()
	within, cancel := context.WithTimeout(ctx, admissionWithin)
	defer cancel()
	err := g.look(within)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looking = nil
	close(done)
	if ctx.Err() != nil {
		return err
	}
	before, first := g.err, g.at.IsZero()
	if first {
		g.began = now
	}
	g.at, g.err, g.ever = now, err, g.ever || err == nil
	g.say(before, first)
	if g.Looked != nil {
		g.Looked()
	}
	return g.err
}

// say logs what a look has found, and makes an Event, if the one before has found something else. It
// is called with g.mu locked.
func (g *PolicyGuard) say(before error, first bool) {
	switch {
	case g.err == nil && !first && before == nil:
		g.seen.looked(g.at, false)
	case g.err == nil:
		g.seen.looked(g.at, true)
		g.log.Info("admission policies are in force", "policies", len(g.want.policies))
		if g.warned != nil {
			g.tell(corev1.EventTypeNormal, eventAdmissionInForce, errors.New("the admission policies are in force"))
			g.warned = nil
		}
	case g.waits():
		if first {
			g.log.Info("handing out nothing yet: waiting for the admission policies", "err", g.err)
		}
	case g.warned == nil || g.warned.Error() != g.err.Error():
		g.log.Error("handing out nothing: the admission policies are not in force", "err", g.err)
		g.tell(corev1.EventTypeWarning, v1.ReasonAdmissionMissing, g.err)
		g.warned = g.err
	}
}

// waits says that it is too early to warn. It is called with g.mu locked.
func (g *PolicyGuard) waits() bool { return !g.ever && g.at.Sub(g.began) < atFirst }

// tell makes an Event about the bridge's own ServiceAccount, of the two the one that looks. The
// policy itself has no namespace in which the bridge may write, so it is named as the related
// object: Events that differ only in their message count as the same Event.
func (g *PolicyGuard) tell(kind, reason string, what error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: g.self, Namespace: v1.SystemNamespace}}
	var about runtime.Object
	action := "CheckAdmission"
	var f *fault
	if errors.As(what, &f) {
		about, action = &f.about, cmp.Or(f.action, action)
	}
	g.events.Eventf(account, about, kind, reason, action, "%s", v1.Printable(what.Error(), gather.MaxEvent))
}

// look asks the API server about all policies at once, and about what they are told. Of the policies
// that are not in force it reports the one of which least may stay, and of these the first in the
// order of the file.
func (g *PolicyGuard) look(ctx context.Context) error {
	errs := make([]error, len(g.want.policies)+1)
	var all sync.WaitGroup
	for i, policy := range g.want.policies {
		all.Go(func() { errs[i] = g.lookAt(ctx, policy) })
	}
	all.Go(func() { errs[len(errs)-1] = g.listen(ctx) })
	all.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	// as an unsigned number a negative one is the greatest
	return slices.MinFunc(errs, func(a, b error) int { return cmp.Compare(uint64(Grace(a)), uint64(Grace(b))) })
}

// lookAt asks about one policy and its bindings, and probes the policy. The refusal of a probe is
// recognised by the message that the policy has for it.
func (g *PolicyGuard) lookAt(ctx context.Context, want admissionv1.ValidatingAdmissionPolicy) error {
	policy := &admissionv1.ValidatingAdmissionPolicy{}
	if err := g.reader.Get(ctx, client.ObjectKey{Name: want.Name}, policy); err != nil {
		f := wrong(policyKind, policy, want.Name, "reading policy %s: %w", want.Name, err)
		f.open = apierrors.IsNotFound(err)
		return f
	}
	g.seen.note(policy)
	if !equality.Semantic.DeepEqual(want.Spec, policy.Spec) {
		return g.notOurs(ctx, wrong(policyKind, policy, want.Name, "policy %s is not that of this version", want.Name), want.Name)
	}
	for _, want := range g.want.bindings {
		if want.Spec.PolicyName != policy.Name {
			continue
		}
		have := &admissionv1.ValidatingAdmissionPolicyBinding{}
		if err := g.reader.Get(ctx, client.ObjectKey{Name: want.Name}, have); err != nil {
			f := wrong(bindingKind, have, want.Name, "reading the binding of policy %s: %w", policy.Name, err)
			f.open = apierrors.IsNotFound(err)
			return f
		}
		g.seen.note(have)
		if !equality.Semantic.DeepEqual(want.Spec, have.Spec) {
			return g.notOurs(ctx, wrong(bindingKind, have, want.Name, "the binding of policy %s is not that of this version", policy.Name), policy.Name)
		}
	}
	err := g.probe(ctx, want.Name)
	if err == nil {
		f := wrong(policyKind, policy, want.Name, "policy %s let its probe through", want.Name)
		f.open = true
		return f
	}
	var refused apierrors.APIStatus
	if !errors.As(err, &refused) || !strings.Contains(refused.Status().Message, want.Name+" is in force") {
		// Another Event than that of a policy which lets its probe through, as one just made may do.
		f := wrong(policyKind, policy, want.Name, "policy %s did not refuse its probe, but: %w", want.Name, err)
		f.action = "ProbeAdmission"
		return f
	}
	return nil
}

// probeLease is the name of the Lease that multinic-node-leases must refuse. It is the Lease of no
// node: a node's name does not begin with "-".
const probeLease = "multinic--probe-leases"

// probe makes, as a dry run, the request that the policy must refuse. No other policy refuses that
// request, because which of them answers is left to chance.
func (g *PolicyGuard) probe(ctx context.Context, policy string) error {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: v1.NodesNamespace}
	}
	request := func(name string) *v1.NodeTokenRequest {
		return &v1.NodeTokenRequest{
			ObjectMeta: meta(name),
			Spec:       v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken, PublicKey: make([]byte, v1.PublicKeySize)},
		}
	}
	switch policy {
	case "multinic-node-reports":
		return g.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta("multinic-probe-reports")}, client.DryRunAll)
	case "multinic-node-leases":
		return g.client.Create(ctx, &coordinationv1.Lease{ObjectMeta: meta(probeLease)}, client.DryRunAll)
	case "multinic-node-tokens":
		account := &corev1.ServiceAccount{ObjectMeta: meta("multinic-probe-tokens")}
		return g.client.SubResource("token").Create(ctx, account, &authenticationv1.TokenRequest{}, client.DryRunAll)
	case "multinic-token-requests":
		return g.client.Create(ctx, request("multinic-probe-token-requests"), client.DryRunAll)
	case "multinic-node-runs":
		return g.client.Create(ctx, &v1.MultiNicNodeRun{
			ObjectMeta: metav1.ObjectMeta{Name: "multinic-probe-node-runs", Namespace: v1.SystemNamespace},
			Spec:       v1.MultiNicNodeRunSpec{Node: "multinic-probe-node-runs", Action: v1.ActionTrigger},
		}, client.DryRunAll)
	case "multinic-workloads", "multinic-workload-kinds", "multinic-bridge-bounds", "multinic-intake-bounds":
		return g.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta(strings.Replace(policy, "multinic-", "multinic-probe-", 1))}, client.DryRunAll)
	case "multinic-token-secrets":
		return g.client.Create(ctx, &corev1.Secret{ObjectMeta: meta("multinic-probe-token-secrets")}, client.DryRunAll)
	case "multinic-bridge-pods":
		probe := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "multinic-probe-bridge-pods", Namespace: v1.SystemNamespace}}
		return g.client.Create(ctx, probe, client.DryRunAll)
	case "multinic-status":
		return g.client.Create(ctx, request("multinic-probe-status"), client.DryRunAll)
	case "multinic-node-label":
		return g.probeLabel(ctx)
	case "multinic-legacy-bounds":
		probe := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "multinic-probe-legacy-bounds", Namespace: v1.SystemNamespace}}
		probe.Spec.NodeName = probe.Name
		return g.client.Create(ctx, probe, client.DryRunAll)
	case "multinic-legacy-readonly":
		// By an apply: the right to create can be given for one name only then.
		body := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"name":"multinic-probe-legacy-readonly"},"spec":{}}`, v1.GroupVersion.String(), v1.BizConfigKind)
		probe := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "multinic-probe-legacy-readonly", Namespace: v1.SystemNamespace}}
		return g.client.Patch(ctx, probe, client.RawPatch(types.ApplyPatchType, body), client.DryRunAll, client.FieldOwner(v1.PublisherLegacy))
	}
	return fmt.Errorf("making a probe of %s: it has none", policy)
}

// probeLabel tries to label some Node, because the bridge may not make a Node.
func (g *PolicyGuard) probeLabel(ctx context.Context) error {
	nodes := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}}
	if err := g.client.List(ctx, nodes, client.Limit(1)); err != nil {
		return fmt.Errorf("listing Nodes: %w", err)
	}
	if len(nodes.Items) == 0 {
		return errors.New("there is no Node to try it on")
	}
	shell := gather.NodeShell()
	shell.Name = nodes.Items[0].Name
	body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"multinic.io/probe-node-label":""}}}`))
	return g.client.Patch(ctx, shell, body, client.DryRunAll, client.FieldOwner(v1.BridgeFieldOwner))
}
