package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	v1 "multinicd/api/v1"
)

// The files of a credential folder. fileServer is written last: with it the credential is there.
const (
	fileServer  = "server"  // the API server's URL
	fileCA      = "ca.crt"  // PEM
	fileToken   = "token"   // renewed in place
	fileRequest = "request" // uid of the NodeTokenRequest by which the node joined
	fileDoor    = "door"    // of that request
)

// Store writes into the credential folder that Options.CredentialDir names.
type Store interface {
	// Lock keeps every other process from changing the credential until release is called.
	Lock(ctx context.Context) (release func(), err error)
	// Write puts a file in place, whole and durable, readable by nobody but root.
	Write(name string, data []byte) error
	Remove(name string) error
}

// save stores a credential; the caller holds the lock. Cut off in the middle it leaves either the old one, or none.
func (j *Joined) save(s Store, present string) error {
	if present != "" && present != j.Server {
		// A new token must never be sent to the server of the old credential.
		if err := s.Remove(fileServer); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, text string }{
		{fileCA, string(j.ca)},
		{fileToken, j.token.reveal() + "\n"},
		{fileRequest, string(j.Request) + "\n"},
		{fileDoor, string(j.Door) + "\n"},
		{fileServer, j.Server + "\n"},
	} {
		if f.name == fileServer && present == j.Server {
			continue
		}
		if err := s.Write(f.name, []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}

// readLine is the one line of a file of the folder, "" where there is none.
func readLine(dir, name string) (string, error) {
	if dir == "" {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the credential: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// folder is the credential folder where that is what this client goes by, else "".
func (c *Client) folder() string {
	if c.opts.Server != "" || c.opts.Kubeconfig != "" {
		return ""
	}
	return c.opts.CredentialDir
}

// Request is the uid of the NodeTokenRequest by which the node joined, "" where it did not, for v1.LeaseHolder. It is
// read anew each time.
func (c *Client) Request() types.UID {
	text, err := readLine(c.folder(), fileRequest)
	if err != nil || len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return types.UID(text)
}

func (c *Client) door() v1.Door {
	text, _ := readLine(c.folder(), fileDoor) // nobody's work depends on it
	if door := v1.Door(text); door == v1.DoorKubelet || door == v1.DoorJoinToken {
		return door
	}
	return ""
}

// moved says that another server stands in the folder than the one this client speaks to.
func (c *Client) moved() bool {
	text, err := readLine(c.folder(), fileServer)
	if err != nil || text == "" {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u.String() != c.credential.server.String()
}
