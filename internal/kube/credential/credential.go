// Package credential has what shows the API server who this node is: a server, its CA, and a token
// or client certificate, as they lie on the disk.
//
// In go the credential folder, a kubeconfig, or the names of single files. Out come a Credential,
// its present Token, what a token says of its life, and the node whose name a token or the
// kubelet's certificate has.
//
// The package speaks to nobody and writes nothing: internal/kube uses the credential, and keeps it
// good. Nothing prints a token. A name that is read here has been checked by nobody: it serves to
// tell a person what is wrong, and the API server alone judges.
//
// Start reading at Credential, then Source. folder.go has the names of the files, kubeconfig.go what
// is taken of a kubeconfig, life.go the life of a token, name.go the node's name.
package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/transport"
)

// ErrNone: nobody has stored a credential yet.
var ErrNone = errors.New("no credential")

// Credential is a server, and how that server knows us.
type Credential struct {
	Server *url.URL // https; the path has no slash at its end
	TLS    transport.TLSConfig
	Token  *Source // never nil; may be empty if a client certificate shows who we are
}

// FromFolder gives the credential of a credential folder. The error wraps ErrNone if the folder has
// none.
func FromFolder(dir string) (Credential, error) {
	file := filepath.Join(dir, FileServer)
	server, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Credential{}, fmt.Errorf("%w: %s does not exist", ErrNone, file)
	}
	if err != nil {
		return Credential{}, fmt.Errorf("reading the credential: %w", err)
	}
	return New(strings.TrimSpace(string(server)),
		transport.TLSConfig{CAFile: filepath.Join(dir, FileCA)},
		&Source{file: filepath.Join(dir, FileToken)})
}

// New gives the credential for a server by its URL, which must be an https:// URL. token is never
// nil.
func New(server string, tls transport.TLSConfig, token *Source) (Credential, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return Credential{}, fmt.Errorf("the API server %q is not an https:// URL", server)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return Credential{Server: u, TLS: tls, Token: token}, nil
}

// Token is a bearer token that nothing prints: not fmt with any verb, not JSON, not slog, and not a
// %+v of a struct around it. For this the text is hidden in a function. The zero Token is none.
type Token struct{ reveal func() string }

const redacted = "REDACTED"

// NewToken gives the token of that text.
func NewToken(text string) Token { return Token{func() string { return text }} }

// Reveal gives the text of a token that is not zero.
func (t Token) Reveal() string { return t.reveal() }

// IsZero says whether there is no token.
func (t Token) IsZero() bool { return t.reveal == nil }

// Is says whether two tokens are the same. The zero Token is the same as none, not even itself.
func (t Token) Is(other Token) bool {
	return t.reveal != nil && other.reveal != nil && t.reveal() == other.reveal()
}

// String gives a fixed word.
func (Token) String() string { return redacted }

// GoString gives a fixed word.
func (Token) GoString() string { return redacted }

// Format writes a fixed word.
func (Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText gives a fixed word.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives a fixed word.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue gives a fixed word.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// Source gives the present token of a file, whoever renews it. Several goroutines may call its
// methods at once.
type Source struct {
	file string // empty: last, if any, counts for ever

	mu   sync.Mutex
	last Token
	// given counts as long as the file stays as it was when given came. So a disk that takes no
	// writes does not stop renewal.
	given Token
	over  Stamp
}

// FromFile gives the source whose tokens stand in a file. If file is empty, there is no token.
func FromFile(file string) *Source { return &Source{file: file} }

// Fixed gives the source that has the same token for ever.
func Fixed(t Token) *Source { return &Source{last: t} }

// Give makes t the present token, until the file changes.
func (s *Source) Give(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given, s.over, s.last = t, StampOf(s.file), t
}

// Read gives the present token, the zero Token if there is none. It reads the file each time:
// requests are few, and a renewed token must count from the next request on. If the file cannot be
// read just now, because it is being replaced, the last token is used.
func (s *Source) Read() (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == "" {
		return s.last, nil
	}
	if s.given.reveal != nil && StampOf(s.file) == s.over {
		return s.given, nil
	}
	s.given = Token{}
	text, err := os.ReadFile(s.file)
	if t := strings.TrimSpace(string(text)); err == nil && t != "" {
		if !Printable(t) {
			return Token{}, fmt.Errorf("reading the token: %s holds more than one word of ASCII", s.file)
		}
		s.last = NewToken(t)
		return s.last, nil
	}
	if s.last.reveal != nil {
		return s.last, nil
	}
	if err == nil {
		err = fmt.Errorf("%s is empty", s.file)
	}
	return Token{}, fmt.Errorf("reading the token: %w", err)
}

// Printable says whether a text may stand in a header.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Stamp changes when the file changes.
func (s *Source) Stamp() Stamp { return StampOf(s.file) }

// Stamp tells one state of a file from another. The zero Stamp means that there is no file.
type Stamp struct {
	size    int64
	changed time.Time
}

// StampOf gives the present Stamp of a file.
func StampOf(file string) Stamp {
	if file == "" {
		return Stamp{}
	}
	info, err := os.Stat(file)
	if err != nil {
		return Stamp{}
	}
	return Stamp{info.Size(), info.ModTime()}
}
