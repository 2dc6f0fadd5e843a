package kube

import (
	"fmt"

	"k8s.io/client-go/transport"

	"multinicd/internal/kube/credential"
)

// loadCredential takes the first of the three ways to the server that the options give.
func loadCredential(opts Options) (credential.Credential, error) {
	switch {
	case opts.Server != "":
		return credential.New(opts.Server, transport.TLSConfig{CAFile: opts.CAFile}, credential.FromFile(opts.TokenFile))
	case opts.Kubeconfig != "":
		return credential.FromKubeconfig(opts.Kubeconfig)
	case opts.CredentialDir != "":
		return credential.FromFolder(opts.CredentialDir)
	}
	return credential.Credential{}, fmt.Errorf("%w: neither server, kubeconfig nor credential folder is given", credential.ErrNone)
}
