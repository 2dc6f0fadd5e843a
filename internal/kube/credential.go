package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// credential is a server, and how that server knows us.
type credential struct {
	server *url.URL
	tls    rest.TLSClientConfig
	token  *tokenSource // never nil; may be empty if a client certificate shows who we are
}

func loadCredential(opts Options) (credential, error) {
	switch {
	case opts.Server != "":
		return newCredential(opts.Server, rest.TLSClientConfig{CAFile: opts.CAFile}, &tokenSource{file: opts.TokenFile})
	case opts.Kubeconfig != "":
		return fromKubeconfig(opts.Kubeconfig)
	case opts.CredentialDir != "":
		return fromDir(opts.CredentialDir)
	}
	return credential{}, fmt.Errorf("%w: neither server, kubeconfig nor credential folder is given", ErrNoCredential)
}

func fromDir(dir string) (credential, error) {
	file := filepath.Join(dir, fileServer)
	server, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return credential{}, fmt.Errorf("%w: %s does not exist", ErrNoCredential, file)
	}
	if err != nil {
		return credential{}, fmt.Errorf("reading the credential: %w", err)
	}
	return newCredential(strings.TrimSpace(string(server)),
		rest.TLSClientConfig{CAFile: filepath.Join(dir, fileCA)},
		&tokenSource{file: filepath.Join(dir, fileToken)})
}

func fromKubeconfig(file string) (credential, error) {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return credential{}, fmt.Errorf("reading %s: %w", file, err)
	}
	switch {
	case config.ExecProvider != nil || config.AuthProvider != nil:
		return credential{}, fmt.Errorf("reading %s: it names a credential plugin, and none is run here: give a token or a client certificate", file)
	case config.Insecure:
		return credential{}, fmt.Errorf("reading %s: insecure-skip-tls-verify would hand the credential to anybody: give certificate-authority", file)
	case config.Username != "":
		return credential{}, fmt.Errorf("reading %s: Kubernetes takes no passwords any more: give a token or a client certificate", file)
	}
	token := &tokenSource{file: config.BearerTokenFile}
	if token.file == "" && config.BearerToken != "" {
		token.last = newToken(config.BearerToken)
	}
	return newCredential(config.Host, config.TLSClientConfig, token)
}

func newCredential(server string, tls rest.TLSClientConfig, token *tokenSource) (credential, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return credential{}, fmt.Errorf("the API server %q is not an https:// URL", server)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return credential{server: u, tls: tls, token: token}, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// token is a bearer token that nothing prints: not fmt with any verb, not JSON, not slog, and not a
// %+v of a struct around it. For this the text is hidden in a function.
type token struct{ reveal func() string }

const redacted = "REDACTED"

func newToken(text string) token { return token{func() string { return text }} }

// is says whether two tokens are the same. The zero token is the same as none, not even itself.
func (t token) is(other token) bool {
	return t.reveal != nil && other.reveal != nil && t.reveal() == other.reveal()
}

func (token) String() string               { return redacted }
func (token) GoString() string             { return redacted }
func (token) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (token) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (token) LogValue() slog.Value         { return slog.StringValue(redacted) }

// tokenSource gives the present token of a file, whoever renews it.
type tokenSource struct {
	file string // empty: last, if any, counts for ever

	mu   sync.Mutex
	last token
	// given counts as long as the file stays as it was when given came. So a disk that takes no
	// writes does not stop renewal.
	given token
	over  stamp
}

// give makes t the present token, until the file changes.
func (s *tokenSource) give(t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given, s.over, s.last = t, stampOf(s.file), t
}

// read reads the file each time: requests are few, and a renewed token must count from the next
// request on. If the file cannot be read just now, because it is being replaced, the last token is
// used.
func (s *tokenSource) read() (token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == "" {
		return s.last, nil
	}
	if s.given.reveal != nil && stampOf(s.file) == s.over {
		return s.given, nil
	}
	s.given = token{}
	text, err := os.ReadFile(s.file)
	if t := strings.TrimSpace(string(text)); err == nil && t != "" {
		if !printable(t) {
			return token{}, fmt.Errorf("reading the token: %s holds more than one word of ASCII", s.file)
		}
		s.last = newToken(t)
		return s.last, nil
	}
	if s.last.reveal != nil {
		return s.last, nil
	}
	if err == nil {
		err = fmt.Errorf("%s is empty", s.file)
	}
	return token{}, fmt.Errorf("reading the token: %w", err)
}

// printable says whether a text may stand in a header.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// stamp changes when the file changes.
func (s *tokenSource) stamp() stamp { return stampOf(s.file) }

// stamp tells one state of a file from another. The zero stamp means that there is no file.
type stamp struct {
	size    int64
	changed time.Time
}

func stampOf(file string) stamp {
	if file == "" {
		return stamp{}
	}
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}
