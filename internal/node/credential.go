package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"multinicd/host"
	"multinicd/internal/daemon/status"
	"multinicd/internal/kube"
)

// CredentialStore writes the credential folder, by the host's own way to its files.
type CredentialStore struct {
	Host *host.Host
	Dir  string        // as the host sees it
	Wait time.Duration // for a lock that somebody else holds
}

// Lock makes the folder where there is none, and removes what a killed process left half written.
// host.ErrLocked: somebody else is at the credential for longer than Wait.
func (s CredentialStore) Lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(filepath.Join(s.Host.Root, s.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("making the credential folder: %w", err)
	}
	release, err := s.Host.Lock(ctx, filepath.Join(s.Dir, "lock"), s.Wait)
	if err != nil {
		return nil, err
	}
	// What a killed one was writing: it may be a token.
	if err := s.Host.Sweep(s.Dir, ""); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// Write puts a file of the folder in place, whole and durable, with mode 0600.
func (s CredentialStore) Write(name string, data []byte) error {
	return s.Host.Write(filepath.Join(s.Dir, name), data, 0o600)
}

// Remove removes a file of the folder; one that is not there is no error.
func (s CredentialStore) Remove(name string) error { return s.Host.Remove(filepath.Join(s.Dir, name)) }

// Keeper keeps the credential good, and tells the daemon how the credential is.
type Keeper struct {
	API     *kube.Client
	Store   kube.Store // nil: somebody else renews the credential
	Kubelet string     // the kubeconfig by which the node may join again; "": it cannot
	Log     *slog.Logger
	End     func() // ends the service
}

// Run ends with ctx. A credential for another API server ends the service, which begins anew with it.
func (k Keeper) Run(ctx context.Context, notify func(status.Credential)) error {
	return k.API.Keep(ctx, kube.Keeping{Store: k.Store, Kubelet: k.Kubelet, Notify: func(n kube.Kept) {
		if n.Moved {
			k.Log.Info("there is a credential for another API server now; starting anew")
			k.End()
			return
		}
		c := status.Credential{Door: string(n.Door), Ends: n.Ends, Renewal: n.Renewal, Trouble: n.Trouble, JoinNeeded: n.Refused, ClockKnown: n.Clock}
		switch {
		case n.Behind:
			c.ClockSkew = status.ClockBehind
		case n.Ahead:
			c.ClockSkew = status.ClockAhead
		}
		notify(c)
	}})
}
