package v1

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/types"
)

// ErrSealed is wrapped by every error of SealKey.Open. The sealed text is not for this key, this
// node and this request, or it was changed on the way.
var ErrSealed = errors.New("the sealed token cannot be opened")

// The suite of RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES256GCM()
}

// binding ties the sealed text to one request. The text cannot pass as the answer to another
// request.
func binding(node string, request types.UID) []byte {
	return []byte(Group + "/" + Version + " NodeTokenRequest " + node + " " + string(request))
}

// SealKey is the private half of a NodeTokenRequest's key. It prints only its type. It should live
// no longer than the request.
//
// +kubebuilder:object:generate=false
type SealKey struct{ private hpke.PrivateKey }

// NewSealKey makes a key for one request.
func NewSealKey() (*SealKey, error) {
	kem, _, _ := suite()
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return &SealKey{private}, nil
}

// Public is spec.publicKey of the request, PublicKeySize bytes.
func (k *SealKey) Public() []byte { return k.private.PublicKey().Bytes() }

// Format prints no key, whatever the verb.
func (*SealKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "SealKey(REDACTED)") }

// Open gives the token that SealToken sealed to this key for that node and request. The error wraps
// ErrSealed and quotes nothing.
func (k *SealKey) Open(sealed []byte, node string, request types.UID) (string, error) {
	_, kdf, aead := suite()
	token, err := hpke.Open(k.private, kdf, aead, binding(node, request), sealed)
	if err != nil {
		return "", fmt.Errorf("%w: it was sealed to another key or for another request, or damaged", ErrSealed)
	}
	return string(token), nil
}

// SealToken seals a token to publicKey, for the one request with that uid. An error means that
// publicKey is not a key.
func SealToken(publicKey []byte, node string, request types.UID, token string) ([]byte, error) {
	kem, kdf, aead := suite()
	public, err := kem.NewPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	sealed, err := hpke.Seal(public, kdf, aead, binding(node, request), []byte(token))
	if err != nil {
		return nil, fmt.Errorf("sealing to the public key: %w", err)
	}
	return sealed, nil
}
