package v1

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// JoinFile is what an administrator brings to a machine that is to join. It holds the join token,
// and the CA by which the machine knows the API server. As text, the first line is the token and
// the CA follows as PEM.
//
// +kubebuilder:object:generate=false
type JoinFile struct {
	Token string // a secret
	CA    []byte // PEM, one certificate or more
}

// ErrJoinFile is wrapped by the errors of ParseJoinFile and CheckHash.
var ErrJoinFile = errors.New("join file refused")

// maxJoinFile bounds a join file in bytes.
const maxJoinFile = 256 << 10

const hashPrefix = "sha256:"

// Encode gives the text of the file.
func (f JoinFile) Encode() []byte {
	return append([]byte(f.Token+"\n"), f.CA...)
}

// Format prints no token, whatever the verb.
func (JoinFile) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("JoinFile(REDACTED)")) }

// ParseJoinFile reads what Encode wrote. The error wraps ErrJoinFile and quotes nothing of the
// file.
func ParseJoinFile(data []byte) (JoinFile, error) {
	if len(data) > maxJoinFile {
		return JoinFile{}, fmt.Errorf("%w: it is larger than %d bytes", ErrJoinFile, maxJoinFile)
	}
	line, rest, _ := bytes.Cut(bytes.TrimLeft(data, "\r\n\t "), []byte("\n"))
	f := JoinFile{Token: strings.TrimSpace(string(line)), CA: bytes.TrimSpace(rest)}
	f.CA = append(f.CA, '\n')
	if strings.Count(f.Token, ".") != 2 || strings.ContainsFunc(f.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return JoinFile{}, fmt.Errorf("%w: its first line is no token: take the file as `multinic-bridge token create` wrote it", ErrJoinFile)
	}
	if _, err := f.CAHash(); err != nil {
		return JoinFile{}, err
	}
	return f, nil
}

// CAHash is the SHA-256 of the certificates' DER, one after the other, as "sha256:" and 64
// hexadecimal digits. White space and comments around the PEM do not count.
func (f JoinFile) CAHash() (string, error) {
	sum := sha256.New()
	rest, found := f.CA, false
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Errorf("%w: after the token comes PEM of type %.40q, where only certificates may be", ErrJoinFile, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", fmt.Errorf("%w: a certificate in it cannot be read: %w", ErrJoinFile, err)
		}
		found = true
		sum.Write(block.Bytes)
	}
	if !found {
		return "", fmt.Errorf("%w: after the token no CA certificate comes", ErrJoinFile)
	}
	return hashPrefix + hex.EncodeToString(sum.Sum(nil)), nil
}

// CheckHash compares the hash of the CA with want, which is "sha256:" and 64 hexadecimal digits.
// nil means that they are equal. The error wraps ErrJoinFile.
func (f JoinFile) CheckHash(want string) error {
	want = strings.ToLower(strings.TrimSpace(want))
	if digits, ok := strings.CutPrefix(want, hashPrefix); !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: the CA hash must be %s and %d hexadecimal digits", ErrJoinFile, hashPrefix, 2*sha256.Size)
	}
	have, err := f.CAHash()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(have)) != 1 {
		return fmt.Errorf("%w: its CA has the hash %s, not the %s that was asked for: it is not the file that was made with this line", ErrJoinFile, have, want)
	}
	return nil
}
