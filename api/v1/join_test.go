package v1

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestATokenIsReadByTheKeyItWasSealedTo(t *testing.T) {
	key, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(key.Public()); got != PublicKeySize {
		t.Fatalf("the public key has %d bytes, want %d", got, PublicKeySize)
	}
	const secret = "header.payload.signature"
	sealed, err := SealToken(key.Public(), "worker-1", "uid-1", secret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("payload")) {
		t.Error("the token can be read in what was sealed")
	}
	if got, err := key.Open(sealed, "worker-1", "uid-1"); err != nil || got != secret {
		t.Fatalf("opened %q, %v", got, err)
	}
	other, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() (string, error){
		"another key":     func() (string, error) { return other.Open(sealed, "worker-1", "uid-1") },
		"another node":    func() (string, error) { return key.Open(sealed, "worker-2", "uid-1") },
		"another request": func() (string, error) { return key.Open(sealed, "worker-1", "uid-2") },
		"a damaged one":   func() (string, error) { return key.Open(damaged, "worker-1", "uid-1") },
		"a short one":     func() (string, error) { return key.Open(sealed[:10], "worker-1", "uid-1") },
		"nothing":         func() (string, error) { return key.Open(nil, "worker-1", "uid-1") },
	} {
		if got, err := open(); !errors.Is(err, ErrSealed) || got != "" {
			t.Errorf("%s: got %q, %v, want ErrSealed", name, got, err)
		}
	}
	if _, err := SealToken(make([]byte, 5), "worker-1", "uid-1", secret); err == nil {
		t.Error("sealed to a key of five bytes")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Contains(text, "0x") || !strings.Contains(text, "REDACTED") {
		t.Errorf("a private key prints as %s", text)
	}
}

func certificate(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestAJoinFileIsReadBack(t *testing.T) {
	ca := append(certificate(t), certificate(t)...)
	want := JoinFile{Token: "a.b.c", CA: ca}
	got, err := ParseJoinFile(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if got.Token != want.Token || !bytes.Equal(got.CA, want.CA) {
		t.Errorf("got %q and %d bytes of CA, want %q and %d", got.Token, len(got.CA), want.Token, len(want.CA))
	}
	hash, err := want.CAHash()
	if err != nil {
		t.Fatal(err)
	}
	indented := append([]byte("\r\n  a.b.c\r\n\r\n"), bytes.ReplaceAll(ca, []byte("\n"), []byte("\r\n"))...)
	if f, err := ParseJoinFile(indented); err != nil || f.Token != "a.b.c" || f.CheckHash(strings.ToUpper(hash[:6])+hash[6:]) != nil {
		t.Errorf("white space changed what was read: %v", err)
	}
	if err := want.CheckHash(hash); err != nil {
		t.Error(err)
	}
	other := JoinFile{Token: "a.b.c", CA: certificate(t)}
	if err := other.CheckHash(hash); !errors.Is(err, ErrJoinFile) {
		t.Errorf("another CA passes for the one of the hash: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", want, want, want); strings.Contains(text, "a.b.c") {
		t.Errorf("a join file prints its token: %s", text)
	}
}

func TestAJoinFileThatIsNoneIsRefusedWithoutQuotingIt(t *testing.T) {
	ca := certificate(t)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	for name, data := range map[string][]byte{
		"nothing":              nil,
		"no token":             ca,
		"no CA":                []byte("secret.b.c\n"),
		"a token of two parts": append([]byte("secret.b\n"), ca...),
		"a token with a gap":   append([]byte("secret. b.c\n"), ca...),
		"a private key":        append([]byte("secret.b.c\n"), key...),
		"damaged PEM":          []byte("secret.b.c\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"too much":             bytes.Repeat([]byte("a"), maxJoinFile+1),
	} {
		_, err := ParseJoinFile(data)
		if !errors.Is(err, ErrJoinFile) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, hash := range []string{"", "sha256:", "sha256:abc", "md5:" + strings.Repeat("a", 64), strings.Repeat("a", 64), "sha256:" + strings.Repeat("g", 64)} {
		if err := (JoinFile{CA: ca}).CheckHash(hash); !errors.Is(err, ErrJoinFile) {
			t.Errorf("the hash %q is taken: %v", hash, err)
		}
	}
}
