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

// The files of a credential folder. fileServer is written last: only when it is there is the
// credential there.
const (
	fileServer  = "server"  // the API server's URL
	fileCA      = "ca.crt"  // PEM
	fileToken   = "token"   // renewed in place
	fileRequest = "request" // uid of the NodeTokenRequest by which the node joined
	fileDoor    = "door"    // the door of that request
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

// readLine is the only line of a file in the folder. It is "" if there is no such file.
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
	text, err := readLine(c.folder(), fileRequest)
	if err != nil || len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return types.UID(text)
}

func (c *Client) door() v1.Door {
	text, _ := readLine(c.folder(), fileDoor) // nothing depends on this file
	if door := v1.Door(text); door == v1.DoorKubelet || door == v1.DoorJoinToken {
		return door
	}
	return ""
}

// moved says that the server in the folder is not the one that this client speaks to.
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
