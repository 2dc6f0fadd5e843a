package credential

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// What kubectl would refuse is refused, and what is taken is taken as kubectl takes it.
func TestAKubeconfigIsTakenAsClientGoTakesIt(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"ca.pem", "node.pem", "node.key", "token"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("text of "+f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
	of := func(cluster, user string) string {
		return head + "clusters: [{name: c, cluster: {" + cluster + "}}]\nusers: [{name: u, user: {" + user + "}}]\n"
	}
	const server = `server: "https://192.0.2.1:6443"`
	for name, row := range map[string]struct {
		text  string
		taken bool
	}{
		"a token":                         {of(server, "token: a"), true},
		"a token and its file":            {of(server, "token: a, tokenFile: token"), true},
		"a token and a file to come":      {of(server, "token: a, tokenFile: later"), true},
		"a token's file":                  {of(server, "tokenFile: "+filepath.Join(dir, "token")), true},
		"a token's file, not there":       {of(server, "tokenFile: nope"), false},
		"files relative to it":            {of(server+", certificate-authority: ca.pem", "client-certificate: node.pem, client-key: ./node.key"), true},
		"data":                            {of(server+", certificate-authority-data: YWI=", "client-certificate-data: YWI=, client-key-data: YWI="), true},
		"data and a file of the CA":       {of(server+", certificate-authority: ca.pem, certificate-authority-data: YWI=", "token: a"), false},
		"a CA that is not there":          {of(server+", certificate-authority: nope", "token: a"), false},
		"data and a file of a key":        {of(server, "client-certificate: node.pem, client-key: node.key, client-key-data: YWI="), false},
		"data and a file of a cert":       {of(server, "client-certificate: node.pem, client-certificate-data: YWI=, client-key: node.key"), false},
		"a certificate without key":       {of(server, "client-certificate: node.pem"), false},
		"a key that is not there":         {of(server, "client-certificate: node.pem, client-key: nope"), false},
		"a key without certificate":       {of(server, "client-key: nope, token: a"), true},
		"a certificate and a token":       {of(server, "client-certificate: node.pem, client-key: node.key, token: a"), true},
		"data that is no base64":          {of(server+", certificate-authority-data: '*'", "token: a"), false},
		"nobody":                          {of(server, ""), true},
		"a password":                      {of(server, "username: a, password: b"), false},
		"a password and a token":          {of(server, "username: a, password: b, token: c"), false},
		"a plugin":                        {of(server, "exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}"), false},
		"a plugin of old":                 {of(server, "auth-provider: {name: gcp}"), false},
		"no check of the server":          {of(server+", insecure-skip-tls-verify: true", "token: a"), false},
		"a server by another name":        {of(server+", tls-server-name: kubernetes", "token: a"), true},
		"a server with a path":            {of(`server: "https://192.0.2.1/k8s/c-1/?x=y#z"`, "token: a"), true},
		"a proxy":                         {of(server+`, proxy-url: "socks5://192.0.2.9:1080"`, "token: a"), true},
		"a proxy of no kind":              {of(server+`, proxy-url: "gopher://192.0.2.9"`, "token: a"), false},
		"http":                            {of(`server: "http://192.0.2.1:6443"`, "token: a"), false},
		"a server without a scheme":       {of(`server: "192.0.2.1:6443"`, "token: a"), false},
		"no server":                       {of("tls-server-name: kubernetes", "token: a"), false},
		"a context that is not there":     {strings.Replace(of(server, "token: a"), "current-context: x", "current-context: y", 1), false},
		"no current context":              {strings.Replace(of(server, "token: a"), "current-context: x\n", "", 1), false},
		"a user who is not there":         {strings.Replace(of(server, "token: a"), "user: u", "user: v", 1), true},
		"a cluster that is not there":     {strings.Replace(of(server, "token: a"), "cluster: c,", "cluster: d,", 1), false},
		"two clusters of one name":        {strings.Replace(of(server, "token: a"), "clusters: [", "clusters: [{name: c, cluster: {"+server+"}}, ", 1), false},
		"keys in another case":            {strings.Replace(of(server, "token: a"), "server:", "Server:", 1), false},
		"another kind":                    {strings.Replace(of(server, "token: a"), "kind: Config", "kind: Pod", 1), false},
		"another version":                 {strings.Replace(of(server, "token: a"), "apiVersion: v1", "apiVersion: v2", 1), false},
		"neither kind nor version":        {strings.TrimPrefix(of(server, "token: a"), "apiVersion: v1\nkind: Config\n"), true},
		"keys that nobody knows":          {of(server+", nobody: knows", "token: a, nobody: knows") + "nobody: knows\n", true},
		"JSON":                            {`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"https://x"}}]}`, true},
		"a list in the place of an entry": {head + "clusters: [{name: c, cluster: []}]\n", false},
		"nothing":                         {"", false},
		"no YAML":                         {"a: &a [*a]\nusers: {\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, filepath.Base(t.Name()))
			if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := FromKubeconfig(file)
			if (err == nil) != row.taken {
				t.Errorf("taken: %v (%v), want %v", err == nil, err, row.taken)
			}
			if d := unlike(file, c, err); d != "" {
				t.Error(d)
			}
		})
	}
}

// unlike says what differs between our answer about a kubeconfig and clientcmd's; "" if nothing does.
func unlike(file string, got Credential, err error) string {
	want, wrong := clientcmd.BuildConfigFromFlags("", file)
	switch {
	case err != nil && wrong == nil && strings.HasPrefix(want.Host, "https://") && want.ExecProvider == nil && want.AuthProvider == nil && !want.Insecure && want.Username == "" && want.Password == "":
		return fmt.Sprintf("clientcmd takes it, and we say %v", err)
	case err != nil:
		return ""
	case wrong != nil:
		return fmt.Sprintf("we take it, and clientcmd says %v", wrong)
	}
	tls := got.TLS
	token, _ := got.Token.Read()
	said := ""
	if !token.IsZero() {
		said = token.Reveal()
	}
	switch {
	case strings.TrimSuffix(want.Host, "/") != got.Server.String():
		return fmt.Sprintf("the server is %s, and to clientcmd %s", got.Server, want.Host)
	case tls.CAFile != want.CAFile || tls.CertFile != want.CertFile || tls.KeyFile != want.KeyFile || tls.ServerName != want.ServerName || tls.Insecure,
		!bytes.Equal(tls.CAData, want.CAData), !bytes.Equal(tls.CertData, want.CertData), !bytes.Equal(tls.KeyData, want.KeyData):
		return fmt.Sprintf("TLS is %+v, and to clientcmd %+v", tls, want.TLSClientConfig)
	case got.Token.file != want.BearerTokenFile, want.BearerTokenFile == "" && said != want.BearerToken:
		return fmt.Sprintf("the token is that of %q, and to clientcmd %q", got.Token.file, want.BearerTokenFile)
	}
	return ""
}
