package bridge

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multinicd/deploy"
	"multinicd/internal/bridge/admission"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/identity"
	"multinicd/internal/bridge/jobs"
	"multinicd/internal/bridge/joining"
	"multinicd/internal/bridge/nodelabel"
)

// The loops of this file act only while the cluster has the policies in force that they were built
// with. Except for that of labels, they are those of the duty Credentials.

// The policies on which Jobs stand, and what admission policies are told.
var ofJobs = []string{"multinic-workloads", "multinic-workload-kinds", "multinic-bridge-bounds"}

var (
	audiences = admission.Parameter{ConfigMap: "multinic-admission", Key: "audiences"}
	jobImage  = admission.Parameter{ConfigMap: "multinic-jobs", Key: "image"}
)

// fixed is a parameter that must have one value.
func fixed(p admission.Parameter, want string) admission.Parameter {
	p.Fixed, p.Want = true, want
	return p
}

// policyGuard makes a guard of the policies of a manifest: of all, or of those that only names.
func (b *bridge) policyGuard(manifest string, only []string, told ...admission.Parameter) (*admission.PolicyGuard, error) {
	return admission.New(manifest, only, told, b.mgr.GetAPIReader(), b.client, b.events, b.Duty.Account(), b.Log)
}

// wireCredentials is wire for the duty Credentials.
func (b *bridge) wireCredentials() (unregister func(), err error) {
	b.meters = newMeters(b.client, nil)
	if unregister, err = b.meters.register(b.MetricsAddress != "", Credentials); err != nil {
		return func() {}, err
	}
	if err := b.pulses.Watch(b.mgr, b.Now); err != nil {
		return unregister, fmt.Errorf("setting up the look at Leases: %w", err)
	}
	if err := b.wireIdentities(); err != nil {
		return unregister, err
	}
	if !b.jobs() {
		return unregister, nil
	}
	if err := gather.IndexJobs(b.mgr, &batchv1.Job{}); err != nil {
		return unregister, fmt.Errorf("setting up the index of Jobs: %w", err)
	}
	if err := b.wireJobs(); err != nil {
		return unregister, fmt.Errorf("setting up the loop of Jobs: %w", err)
	}
	return unregister, nil
}

// wireIdentities adds the loops for identities and for token requests.
func (b *bridge) wireIdentities() error {
	// Without Jobs there are no Pods in multinic-nodes: a Pod there could have any node's token.
	image := jobImage
	if !b.jobs() {
		image = fixed(jobImage, "")
	}
	policies, err := b.policyGuard(deploy.Admission, nil, audiences, image)
	if err != nil {
		return err
	}
	if policies.Watcher, err = client.NewWithWatch(b.mgr.GetConfig(), client.Options{HTTPClient: b.mgr.GetHTTPClient(), Scheme: b.mgr.GetScheme(), Mapper: b.mgr.GetRESTMapper()}); err != nil {
		return fmt.Errorf("setting up the watches of admission policies: %w", err)
	}
	if err := b.mgr.Add(policies); err != nil {
		return fmt.Errorf("setting up the look at admission: %w", err)
	}
	identities := &identity.Loop{
		Client: b.client, Log: b.Log, Now: b.Now, Pulses: b.pulses, InForce: policies.InForce,
		Maker: &identity.Maker{Client: b.client, Now: time.Now},
	}
	if err := identity.Watch(b.mgr, identities); err != nil {
		return fmt.Errorf("setting up the credential loop: %w", err)
	}
	shared := &identity.Shared{Maker: identities.Maker, Log: b.Log, Now: b.Now, InForce: policies.InForce, Grace: admission.Grace}
	looked := make(chan event.GenericEvent, 1)
	policies.Looked = func() {
		select {
		case looked <- event.GenericEvent{}:
		default: // the loop has yet to take the last one, and asks then
		}
	}
	if err := identity.WatchShared(b.mgr, shared, looked); err != nil {
		return fmt.Errorf("setting up the loop of shared rights: %w", err)
	}
	requests := &joining.Loop{
		Client: b.client, Reader: b.mgr.GetAPIReader(), Events: b.events, Log: b.Log, Now: b.Now,
		Identities: identities, InForce: policies.InForce, Since: policies.Since,
	}
	if err := joining.Watch(b.mgr, requests); err != nil {
		return fmt.Errorf("setting up the loop of requests for tokens: %w", err)
	}
	return nil
}

// wireJobs adds the loop for Jobs. It has a guard of its own: if the policies of Jobs are missing,
// or let another image through, no Job is made. Another image keeps nothing else from going on.
func (b *bridge) wireJobs() error {
	policies, err := b.policyGuard(deploy.Admission, ofJobs, fixed(jobImage, b.Jobs.Image))
	if err != nil {
		return err
	}
	if err := b.mgr.Add(policies); err != nil {
		return err
	}
	return jobs.Watch(b.mgr, &jobs.Loop{
		Client: b.client, Reader: b.mgr.GetAPIReader(), Log: b.Log, Now: b.Now, SilentAfter: b.SilentAfter,
		Pulses: b.pulses, InForce: policies.InForce, Counted: b.meters.jobs, Options: b.Jobs, Braked: b.Rollout.On(),
	})
}

// wireLabels adds the loop for labels. That loop looks at its policy only before it labels, because
// without a Node the policy cannot be tried.
func (b *bridge) wireLabels() error {
	policies, err := b.policyGuard(deploy.NodeLabel, nil)
	if err != nil {
		return err
	}
	return nodelabel.Watch(b.mgr, &nodelabel.Loop{Client: b.client, InForce: policies.InForce})
}
