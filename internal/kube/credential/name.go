package credential

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "multinicd/api/v1"
)

// kubeletUser is what the name of a kubelet's user begins with
// (kubernetes.io/docs/reference/access-authn-authz/node).
const kubeletUser = "system:node:"

// maxKubelet bounds a kubeconfig and a certificate file, in bytes.
const maxKubelet = 1 << 20

// KubeletNode gives the node's name as the kubelet's client certificate has it, and the file with
// that certificate: the name by which the API server knows the machine. kubeconfig is the
// kubelet's, as this process sees it; at says where a file of the host is for this process. Both
// are "" where there is no kubeconfig, or none with the certificate of a node: a kubelet that has
// not joined yet has a token. An error is of a file that is there and cannot be used.
func KubeletNode(kubeconfig string, at func(file string) string) (node, file string, err error) {
	text, err := head(kubeconfig)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	} else if err != nil {
		return "", "", fmt.Errorf("reading the kubelet's kubeconfig: %w", err)
	}
	config, err := parseKubeconfig(text)
	if err != nil {
		return "", "", fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	_, user := config.current()
	file, certificate := kubeconfig, user.CertData
	if len(certificate) == 0 && user.CertFile != "" {
		file = user.CertFile
		seen := filepath.Join(filepath.Dir(kubeconfig), file) // relative to the kubeconfig
		if filepath.IsAbs(file) {
			seen = at(file)
		}
		certificate, err = head(seen)
		if errors.Is(err, fs.ErrNotExist) {
			return "", "", nil // the kubelet has not joined yet, or this is a Job, which does not see it
		} else if err != nil {
			return "", "", fmt.Errorf("reading the kubelet's client certificate: %w", err)
		}
	}
	node, err = nodeOf(certificate)
	if err != nil {
		return "", "", fmt.Errorf("reading the kubelet's client certificate in %s: %w", file, err)
	}
	if node == "" {
		return "", "", nil
	}
	return node, file, nil
}

// head reads a file that should not be large.
func head(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKubelet+1))
	if err == nil && len(text) > maxKubelet {
		err = fmt.Errorf("%s has more than %d bytes", name, maxKubelet)
	}
	return text, err
}

// nodeOf gives the node whose certificate is the first one in PEM; "" where it is that of somebody
// else.
func nodeOf(text []byte) (string, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return "", nil
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue // the kubelet's file has its key too
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		node, ok := strings.CutPrefix(certificate.Subject.CommonName, kubeletUser)
		if !ok {
			return "", nil
		}
		return node, nil
	}
}

// TokenNode gives the node to whose identity a token belongs, by what the token says of itself; ""
// where it says nothing of that kind. Nobody has checked it: it serves to tell a person what is
// wrong.
func TokenNode(text string) string {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 {
		return ""
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return ""
	}
	node, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:"+v1.NodesNamespace+":"+v1.ServiceAccountName(""))
	if !ok {
		return ""
	}
	return node
}
