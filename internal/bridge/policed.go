package bridge

import (
	"fmt"
	"time"

	"multinicd/deploy"
	"multinicd/internal/bridge/admission"
	"multinicd/internal/bridge/identity"
	"multinicd/internal/bridge/jobs"
	"multinicd/internal/bridge/joining"
	"multinicd/internal/bridge/nodelabel"
)

// The loops of this file act only while the cluster has the policies in force that they were built
// with.

// policyGuard makes a guard of the policies of a manifest.
func (b *bridge) policyGuard(manifest string) (*admission.PolicyGuard, error) {
	return admission.New(manifest, b.mgr.GetAPIReader(), b.client, b.events, b.Log)
}

// wireIdentities adds the loops for identities and for token requests.
func (b *bridge) wireIdentities() error {
	policies, err := b.policyGuard(deploy.Admission)
	if err != nil {
		return err
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
	requests := &joining.Loop{
		Client: b.client, Reader: b.mgr.GetAPIReader(), Events: b.events, Log: b.Log, Now: b.Now,
		Identities: identities, InForce: policies.InForce,
	}
	if err := joining.Watch(b.mgr, requests); err != nil {
		return fmt.Errorf("setting up the loop of requests for tokens: %w", err)
	}
	return nil
}

// wireJobs adds the loop for Jobs. It has a guard of its own: if the policies of Jobs are missing,
// no Job is made, and everything else goes on.
func (b *bridge) wireJobs() error {
	policies, err := b.policyGuard(deploy.Jobs)
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
	policies, err := b.policyGuard(deploy.NodeLabel)
	if err != nil {
		return err
	}
	return nodelabel.Watch(b.mgr, &nodelabel.Loop{Client: b.client, InForce: policies.InForce})
}
