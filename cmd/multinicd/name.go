package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/kube"
	"multinicd/internal/kube/credential"
	"multinicd/internal/node"
)

// findName decides what the node is called.
func (w *wired) findName(c *cli.Context) error {
	var all node.Names
	for _, one := range c.Lineage() { // of the flags of that name the nearest that was given
		if all.Given.Name == "" {
			all.Given = node.Said{Name: one.String("node"), Evidence: "the option --node"}
		}
	}
	if all.Given.Name == "" && w.cfg.Node != "" {
		all.Given = node.Said{Name: w.cfg.Node, Evidence: "node in multinicd.toml"}
	}
	kubeconfig := w.kubeconfig()
	if c.Command.Name == "join" && c.String("kubeconfig") != "" {
		kubeconfig = c.String("kubeconfig")
	}
	if kubeconfig != "" {
		name, file, err := credential.KubeletNode(kubeconfig, w.host.Path)
		if err != nil {
			w.log.Warn("the node's name is not taken from the kubelet's credential", "err", err)
		}
		all.Certificate = node.Said{Name: name, Evidence: "the kubelet's client certificate in " + file}
	}
	ctx, cancel := context.WithTimeout(c.Context, nameTimeout)
	defer cancel()
	all.Told.Name, all.Told.Evidence = w.kubelet.NodeName(ctx)
	host, err := os.Hostname()
	if err != nil {
		w.log.Warn("the host's name is not known", "err", err)
	}
	all.Host = node.Said{Name: host, Evidence: "the host's name"}
	w.name = all.Choose()
	if w.node = w.name.Name; w.node == "" {
		return fmt.Errorf("asking for the host's name: %w", err)
	}
	return nil
}

// tokenFile is the file with the node's token; "" where it has none of its own.
func (w *wired) tokenFile() string {
	if w.job != "" || w.cfg.API.Kubeconfig != "" {
		return ""
	}
	if w.cfg.API.TokenFile != "" {
		return w.cfg.API.TokenFile
	}
	return path.Join(w.cfg.CredentialDir(), "token")
}

// doubt says what speaks against the node's name at the moment.
func (w *wired) doubt() (what, advice string) {
	var token node.Said
	if file := w.tokenFile(); file != "" {
		if data, _, err := w.host.Read(file); err == nil {
			token = node.Said{Name: credential.TokenNode(string(data)), Evidence: "the token in " + file}
		}
	}
	return w.name.Doubt(token)
}

// doubtLine is doubt in one line.
func (w *wired) doubtLine() string {
	what, advice := w.doubt()
	if what == "" {
		return ""
	}
	return what + "; " + advice
}

// nameTimeout bounds the look for what the kubelet is told.
const nameTimeout = 5 * time.Second

// ofAnother adds what a refusal most likely means: the credential is good for the object of one node.
func ofAnother(err error, node string) error {
	if kube.ClassOf(err) != kube.Forbidden {
		return err
	}
	return fmt.Errorf("the credential here may not read the object of %s: it is most likely another node's; leave out --node, or join as %s: %w", node, node, err)
}
