package credential

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"k8s.io/client-go/transport"
	sigsjson "sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// kubeconfig is what we read of such a file (kubernetes.io/docs/reference/config-api/kubeconfig.v1).
// client-go's clientcmd would read it as well, and brings the code that runs credential plugins: a
// tenth of multinicd. A test compares with clientcmd what we take and what we refuse.
type kubeconfig struct {
	Version  string            `json:"apiVersion"`
	Kind     string            `json:"kind"`
	Current  string            `json:"current-context"`
	Contexts []named[inWhich]  `json:"contexts"`
	Clusters []named[cluster]  `json:"clusters"`
	Users    []named[authInfo] `json:"users"`
}

// named has the key by which clientcmd's maps hold a T. In the file it is a list.
type named[T any] struct {
	Name    string `json:"name"`
	Context T      `json:"context"`
	Cluster T      `json:"cluster"`
	User    T      `json:"user"`
}

type inWhich struct {
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

type cluster struct {
	Server     string `json:"server"`
	ServerName string `json:"tls-server-name"`
	Insecure   bool   `json:"insecure-skip-tls-verify"`
	CAFile     string `json:"certificate-authority"`
	CAData     []byte `json:"certificate-authority-data"`
	ProxyURL   string `json:"proxy-url"`
}

type authInfo struct {
	CertFile     string    `json:"client-certificate"`
	CertData     []byte    `json:"client-certificate-data"`
	KeyFile      string    `json:"client-key"`
	KeyData      []byte    `json:"client-key-data"`
	Token        string    `json:"token"`
	TokenFile    string    `json:"tokenFile"`
	Username     string    `json:"username"`
	Password     string    `json:"password"`
	Exec         *struct{} `json:"exec"`
	AuthProvider *struct{} `json:"auth-provider"`
}

// parseKubeconfig reads a kubeconfig. Keys are taken with their case, as clientcmd takes them, and
// unknown ones are passed over.
func parseKubeconfig(text []byte) (kubeconfig, error) {
	var k kubeconfig
	if len(text) == 0 {
		return k, nil
	}
	data, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return k, err
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(data, &k); err != nil {
		return k, err
	}
	if k.Version != "" && k.Version != "v1" || k.Kind != "" && k.Kind != "Config" {
		return k, fmt.Errorf("it is a %s of version %s, not a Config of version v1", k.Kind, k.Version)
	}
	return k, errors.Join(twice(k.Contexts), twice(k.Clusters), twice(k.Users))
}

func twice[T any](list []named[T]) error {
	seen := map[string]bool{}
	for _, n := range list {
		if seen[n.Name] {
			return fmt.Errorf("it has two entries named %q", n.Name)
		}
		seen[n.Name] = true
	}
	return nil
}

// entry gives the entry of that name; the zero value if there is none.
func entry[T any](list []named[T], name string) (found named[T]) {
	for _, n := range list {
		if n.Name == name {
			return n
		}
	}
	return found
}

// current gives the cluster and the user of the current context; zero values for what is not there.
func (k kubeconfig) current() (cluster, authInfo) {
	in := entry(k.Contexts, k.Current).Context
	return entry(k.Clusters, in.Cluster).Cluster, entry(k.Users, in.User).User
}

// FromKubeconfig gives the credential that a kubeconfig has in its current context. A kubeconfig
// that names a program to run, trusts any server or has a password is refused.
func FromKubeconfig(file string) (Credential, error) {
	c, err := fromKubeconfig(file)
	if err != nil {
		return Credential{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return c, nil
}

func fromKubeconfig(file string) (Credential, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Credential{}, err
	}
	k, err := parseKubeconfig(text)
	if err != nil {
		return Credential{}, err
	}
	at, user := k.current()
	if at.Server == "" {
		return Credential{}, fmt.Errorf("its current context %q names no cluster with a server", k.Current)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return Credential{}, err
	}
	for _, f := range []*string{&at.CAFile, &user.CertFile, &user.KeyFile, &user.TokenFile} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(dir, *f)
		}
	}
	if err := errors.Join(at.check(), user.check()); err != nil {
		return Credential{}, err
	}
	server := at.Server
	if u, err := url.ParseRequestURI(server); err == nil && u.Opaque == "" && len(u.Path) > 1 {
		u.RawQuery, u.Fragment = "", ""
		server = u.String()
	}
	token := &Source{file: user.TokenFile}
	if token.file == "" && user.Token != "" {
		token.last = NewToken(user.Token)
	}
	tls := transport.TLSConfig{ServerName: at.ServerName, CAFile: at.CAFile, CAData: at.CAData}
	if user.CertFile != "" || len(user.CertData) > 0 {
		tls.CertFile, tls.CertData, tls.KeyFile, tls.KeyData = user.CertFile, user.CertData, user.KeyFile, user.KeyData
	}
	return New(server, tls, token)
}

func (c cluster) check() error {
	switch u, err := url.Parse(c.ProxyURL); {
	case c.Insecure:
		return errors.New("insecure-skip-tls-verify would hand the credential to anybody: give certificate-authority")
	case c.CAFile != "" && len(c.CAData) > 0:
		return errors.New("it has both certificate-authority and certificate-authority-data: give one")
	case c.ProxyURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5"):
		return errors.New("its proxy-url is no URL of a proxy")
	}
	return readable(c.CAFile)
}

func (a authInfo) check() error {
	certificate := a.CertFile != "" || len(a.CertData) > 0
	switch {
	case a.Exec != nil || a.AuthProvider != nil:
		return errors.New("it names a credential plugin, and none is run here: give a token or a client certificate")
	case a.Username != "" || a.Password != "":
		return errors.New("Kubernetes takes no passwords any more: give a token or a client certificate") //nolint:staticcheck // a name
	case a.CertFile != "" && len(a.CertData) > 0, certificate && a.KeyFile != "" && len(a.KeyData) > 0:
		return errors.New("it has a client certificate or key both as a file and as data: give one")
	case certificate && a.KeyFile == "" && len(a.KeyData) == 0:
		return errors.New("it has a client certificate and no client-key")
	case !certificate:
		a.KeyFile = ""
	}
	token := a.TokenFile
	if a.Token != "" {
		token = "" // the file may come later
	}
	return errors.Join(readable(a.CertFile), readable(a.KeyFile), readable(token))
}

// readable says what is wrong with a file that the kubeconfig names.
func readable(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return f.Close()
}
