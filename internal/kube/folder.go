package kube

import (
	"context"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube/credential"
)

// Store writes into the credential folder that Options.CredentialDir names.
type Store interface {
	// Lock keeps every other process from changing the credential until release is called.
	Lock(ctx context.Context) (release func(), err error)
	// Write replaces a file, whole and durably. Only root can read the file.
	Write(name string, data []byte) error
	Remove(name string) error
}

// save stores a credential. The caller holds the lock. If save is cut off in the middle, the folder
// has either the old credential or none.
func (j *Joined) save(s Store, present string) error {
	if present != "" && present != j.Server {
		// A new token must never be sent to the server of the old credential.
		if err := s.Remove(credential.FileServer); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, text string }{
		{credential.FileCA, string(j.ca)},
		{credential.FileToken, j.token.Reveal() + "\n"},
		{credential.FileRequest, string(j.Request) + "\n"},
		{credential.FileDoor, string(j.Door) + "\n"},
		{credential.FileServer, j.Server + "\n"},
	} {
		if f.name == credential.FileServer && present == j.Server {
			continue
		}
		if err := s.Write(f.name, []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}

// folder is the credential folder, if this client uses it. Otherwise it is "".
func (c *Client) folder() string {
	if c.opts.Server != "" || c.opts.Kubeconfig != "" {
		return ""
	}
	return c.opts.CredentialDir
}

// Request is the uid of the NodeTokenRequest by which the node joined, for v1.LeaseHolder. It is ""
// if the node joined in another way. It is read anew each time.
func (c *Client) Request() types.UID {
	text, err := credential.Line(c.folder(), credential.FileRequest)
	if err != nil || len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return types.UID(text)
}

func (c *Client) door() v1.Door {
	text, _ := credential.Line(c.folder(), credential.FileDoor) // nothing depends on this file
	if door := v1.Door(text); door == v1.DoorKubelet || door == v1.DoorJoinToken {
		return door
	}
	return ""
}

// moved says that the server in the folder is not the one that this client speaks to.
func (c *Client) moved() bool {
	text, err := credential.Line(c.folder(), credential.FileServer)
	if err != nil || text == "" {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u.String() != c.credential.Server.String()
}
