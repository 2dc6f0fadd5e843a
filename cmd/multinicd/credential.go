package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"multinicd/host"
	"multinicd/internal/daemon"
	"multinicd/internal/kube"
)

// credentialStore writes the credential folder, by the host's own way to its files. Its errors are those of host; host.ErrLocked: somebody else is at the
// credential for longer than wait.
type credentialStore struct {
	host *host.Host
	dir  string        // as the host sees it
	wait time.Duration // for a lock that somebody else holds
}

// Lock makes the folder where there is none, and sweeps it.
func (s credentialStore) Lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(filepath.Join(s.host.Root, s.dir), 0o700); err != nil {
		return nil, fmt.Errorf("making the credential folder: %w", err)
	}
	release, err := s.host.Lock(ctx, filepath.Join(s.dir, "lock"), s.wait)
	if err != nil {
		return nil, err
	}
	// What a killed one was writing: it may be a token.
	if err := s.host.Sweep(s.dir, ""); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// Write writes a file of the folder for root alone.
func (s credentialStore) Write(name string, data []byte) error {
	return s.host.Write(filepath.Join(s.dir, name), data, 0o600)
}

// Remove removes a file of the folder.
func (s credentialStore) Remove(name string) error { return s.host.Remove(filepath.Join(s.dir, name)) }

// keeper keeps the credential good, and tells the daemon how the credential is.
type keeper struct {
	api     *kube.Client
	store   kube.Store // nil: somebody else renews the credential
	kubelet string     // the kubeconfig by which the node may join again; "": it cannot
	log     *slog.Logger
	end     func() // ends the service
}

// Run ends with ctx. A credential for another API server ends the service, which begins anew with it.
func (k keeper) Run(ctx context.Context, notify func(daemon.Credential)) error {
	return k.api.Keep(ctx, kube.Keeping{Store: k.store, Kubelet: k.kubelet, Notify: func(n kube.Kept) {
		if n.Moved {
			k.log.Info("there is a credential for another API server now; starting anew")
			k.end()
			return
		}
		c := daemon.Credential{Door: string(n.Door), Ends: n.Ends, Renewal: n.Renewal, Trouble: n.Trouble, JoinNeeded: n.Refused, ClockKnown: n.Clock}
		switch {
		case n.Behind:
			c.ClockSkew = daemon.ClockBehind
		case n.Ahead:
			c.ClockSkew = daemon.ClockAhead
		}
		notify(c)
	}})
}
