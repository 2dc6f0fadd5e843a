package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/host"
	"multinicd/internal/kube"
	"multinicd/internal/node"
)

func (w *wired) store(wait time.Duration) node.CredentialStore {
	return node.CredentialStore{Host: w.host, Dir: w.cfg.CredentialDir(), Wait: wait}
}

// credentialDir is the path of the credential folder for this process.
func (w *wired) credentialDir() string { return filepath.Join(w.host.Root, w.cfg.CredentialDir()) }

// kubeconfig is the path of the kubelet's kubeconfig for this process. It is "" if it is not to be
// used.
func (w *wired) kubeconfig() string {
	if w.cfg.Join.KubeletKubeconfig == "" {
		return ""
	}
	return filepath.Join(w.host.Root, w.cfg.Join.KubeletKubeconfig)
}

// storePatience is how long another process may hold the credential.
const storePatience = 5 * time.Second

// keeper keeps the node's own credential. A credential that multinicd.toml names is renewed by
// somebody else.
func (w *wired) keeper(end func()) node.Keeper {
	k := node.Keeper{API: w.api, Log: w.log, End: end}
	if w.cfg.API.Server == "" && w.cfg.API.Kubeconfig == "" {
		k.Store, k.Kubelet = w.store(storePatience), w.kubeconfig()
	}
	return k
}

// joinOptions are the options of `multinicd join`.
type joinOptions struct {
	server, tokenFile, caHash string // door (a)
	kubeconfig                string // door (b)
	timeout                   time.Duration
}

// joining checks what can be checked before anything is sent.
func (w *wired) joining(o joinOptions) (kube.Joining, error) {
	j := kube.Joining{Server: o.server, Kubeconfig: o.kubeconfig, Credential: w.credentialDir(), Store: w.store(0)}
	if o.server == "" {
		if _, err := os.Stat(o.kubeconfig); err != nil {
			return j, fmt.Errorf("reading the kubelet's kubeconfig: %w; name it with --kubeconfig, or join with a token", err)
		}
		return j, nil
	}
	data, open, err := readJoinFile(o.tokenFile)
	if err != nil {
		return j, err
	}
	if open {
		w.log.Warn("others than its owner may read the join file: whoever has read it can join in this node's place until the token is used; let an administrator make another with multinic-bridge token create, and keep it with mode 0600", "file", o.tokenFile)
	}
	if j.File, err = v1.ParseJoinFile(data); err != nil {
		return j, fmt.Errorf("reading %s: %w", o.tokenFile, err)
	}
	if err := j.File.CheckHash(o.caHash); err != nil {
		return j, fmt.Errorf("reading %s: %w", o.tokenFile, err)
	}
	return j, nil
}

// maxJoinFile is more than the largest file that ParseJoinFile takes.
const maxJoinFile = 1 << 20

// readJoinFile reads a join file, and says whether others than its owner may read it.
func readJoinFile(name string) (data []byte, open bool, err error) {
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxJoinFile) {
		err = fmt.Errorf("%s is none", name)
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the join file: %w", err)
	}
	data, err = os.ReadFile(name)
	return data, info.Mode().Perm()&0o077 != 0, err
}

// join gets a credential for the node.
func (w *wired) join(ctx context.Context, o joinOptions) (*kube.Joined, error) {
	j, err := w.joining(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(w.host.Root, w.cfg.State.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("no answer within %s", o.timeout))
	defer cancel()
	opts := kube.Options{Node: w.node, Namespace: w.cfg.API.Namespace, ReportNamespace: w.cfg.API.ReportNamespace, Version: version, Log: w.log}
	return kube.Join(ctx, opts, j)
}

// joinError gives an error of join its exit code.
func joinError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, host.ErrLocked):
		return exitError{exitLocked, err}
	case errors.Is(err, fs.ErrPermission):
		return exitError{exitFailed, fmt.Errorf("%w; joining stores a credential that only root may read: run it as root", err)}
	}
	return exitError{exitFailed, err}
}
