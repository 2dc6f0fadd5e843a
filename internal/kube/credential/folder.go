package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The names of the files of a credential folder. FileServer is written last: only when it is there
// is the credential there.
const (
	FileServer  = "server"  // the API server's URL
	FileCA      = "ca.crt"  // PEM
	FileToken   = "token"   // renewed in place
	FileRequest = "request" // uid of the NodeTokenRequest by which the node joined
	FileDoor    = "door"    // the door of that request
)

// Line is the only line of a file in a credential folder. It is "" if there is no such file, or dir
// is empty.
func Line(dir, name string) (string, error) {
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
