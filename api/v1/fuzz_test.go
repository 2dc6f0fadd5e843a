package v1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// FuzzParseJoinFile: whatever lies in a join file, it is refused by an error of ours that does not
// have its token, or it is read, and reads the same when it is written again.
func FuzzParseJoinFile(f *testing.F) {
	f.Add(JoinFile{Token: "header.payload.signature", CA: certificate(f)}.Encode())
	f.Add([]byte("\n\n header.payload.signature\r\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("header.payload\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseJoinFile(data)
		line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		if err != nil {
			if secret := strings.TrimSpace(line); !errors.Is(err, ErrJoinFile) || len(secret) > 40 && strings.Contains(err.Error(), secret) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if got.Token != strings.TrimSpace(line) || strings.ContainsAny(got.Token, " \t\r\n\x1b") {
			t.Errorf("got the token %q of the line %q", got.Token, line)
		}
		hash, err := got.CAHash()
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", got, got, got, got); len(got.Token) > 30 && strings.Contains(text, got.Token) {
			t.Errorf("it prints as %s", text)
		}
		again, err := ParseJoinFile(got.Encode())
		if err != nil {
			t.Fatalf("what was read and written again is refused: %v", err)
		}
		if err := again.CheckHash(hash); err != nil || again.Token != got.Token {
			t.Errorf("written again it is %q, %v", again.Token, err)
		}
	})
}

// FuzzSealedToken: no text opens unless it was sealed to the key, and no key panics or lets anybody
// read.
func FuzzSealedToken(f *testing.F) {
	key, err := NewSealKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("sealed"), make([]byte, PublicKeySize), "node", "uid") // a point of low order
	f.Add(make([]byte, 100), append([]byte{1}, make([]byte, PublicKeySize-1)...), "node", "uid")
	f.Add([]byte(nil), key.Public(), "", "")
	f.Fuzz(func(t *testing.T, sealed, public []byte, node, request string) {
		uid := types.UID(request)
		if got, err := key.Open(sealed, node, uid); !errors.Is(err, ErrSealed) || got != "" {
			t.Errorf("a text that nobody has sealed gives %q, %v", got, err)
		}
		const secret = "header.payload.signature"
		text, err := SealToken(public, node, uid, secret)
		if err != nil {
			return
		}
		if strings.Contains(string(text), "payload") {
			t.Error("the token can be read in what was sealed")
		}
		got, err := key.Open(text, node, uid)
		if own := string(public) == string(key.Public()); own != (got == secret) || own != (err == nil) {
			t.Errorf("sealed to %x it opens as %q, %v", public, got, err)
		}
		if got, err := key.Open(text, node+"x", uid); !errors.Is(err, ErrSealed) || got != "" {
			t.Errorf("for another node it opens as %q, %v", got, err)
		}
	})
}
