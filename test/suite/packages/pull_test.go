package packages

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// registry serves an image of OCI layout, whatever its name and its tag, as a registry that somebody has taken over could.
func registry(t *testing.T, layout string) string {
	t.Helper()
	var index struct{ Manifests []struct{ Digest string } }
	data, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%s: %d manifests (%v)", data, len(index.Manifests), err)
	}
	asked := regexp.MustCompile(`^/v2/.+/(manifests|blobs)/([^/]+)$`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := asked.FindStringSubmatch(r.URL.Path)
		if m == nil {
			return // /v2/: there is a registry, and it asks for no password
		}
		digest := m[2]
		if !strings.Contains(digest, ":") {
			digest = index.Manifests[0].Digest
		}
		data, err := os.ReadFile(filepath.Join(layout, "blobs", strings.ReplaceAll(digest, ":", "/")))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		var manifest struct{ MediaType string }
		if m[1] == "manifests" && json.Unmarshal(data, &manifest) == nil {
			w.Header().Set("Content-Type", manifest.MediaType)
		}
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(data)))
		w.Write(data) //nolint:errcheck // the client says so
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// The policy of docs/verify.md lets in what was signed, also where the registry, the repository and the tag say the same of another image.
func TestAnImageWithoutOurSignatureIsNotPulled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ archive, want string }{
		{"multinic-bridge", ""},
		{"multinicd", "Source image rejected"},
	} {
		t.Run("the registry has "+c.archive, func(t *testing.T) {
			v := newVerifier(t)
			if _, err := script(t, v.dir, nil, "mkdir layout; tar -C layout -xf "+c.archive+"_"+built.this+".oci.tar"); err != nil {
				t.Fatal(err)
			}
			etc := t.TempDir()
			place := strings.NewReplacer("/etc/containers", etc, "registry.example.com", registry(t, filepath.Join(v.dir, "layout")))
			steps := v.steps("Images that nodes pull")
			if _, err := script(t, v.dir, v.env, place.Replace(steps[0].Script)); err != nil {
				t.Fatal(err)
			}
			// The registry has no certificate; the files are in another place.
			options := "skopeo() { command skopeo --policy " + etc + "/policy.json --registries.d " + etc + "/registries.d copy --src-tls-verify=false \"${@:2}\"; }\n"
			out, err := script(t, v.dir, v.env, options+place.Replace(steps[1].Script))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(out, c.want)):
				t.Errorf("got %v, want a failure that says %q; it prints\n%s", err, c.want, out)
			case c.want == "":
				if lacking := steps[1].Lacking(out); lacking != nil {
					t.Errorf("it does not print %q, but\n%s", lacking, out)
				}
			}
			t.Log(out)
		})
	}
}
