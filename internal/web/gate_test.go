package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

const secret = "SECRETSECRETSECRETSECRETSE"

func TestNobodyElseGetsIn(t *testing.T) {
	h, err := newHub(away, nil)
	if err != nil {
		t.Fatal(err)
	}
	inside := gate(secret, handler(h))
	for _, row := range []struct {
		name, method, host, path string
		headers                  map[string]string
		want                     int
	}{
		{"the address as it is printed", "GET", "127.0.0.1:4711", "/" + secret + "/", nil, 200},
		{"the same by name, through a tunnel with another port", "GET", "localhost:8080", "/" + secret + "/", nil, 200},
		{"the same over IPv6", "GET", "[::1]:4711", "/" + secret + "/", nil, 200},
		{"a file of the page", "GET", "127.0.0.1:4711", "/" + secret + "/app.js", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"a file that is not there", "GET", "127.0.0.1:4711", "/" + secret + "/gate.go", nil, 404},
		{"a path that leads out", "GET", "127.0.0.1:4711", "/" + secret + "/../../etc/passwd", nil, 307},
		{"the address without its last slash", "GET", "127.0.0.1:4711", "/" + secret + "?state=Failed", nil, 303},
		{"a person follows a link from elsewhere, without a secret", "GET", "127.0.0.1:4711", "/", nil, 403},
		{"a wrong secret", "GET", "127.0.0.1:4711", "/SECRET/", nil, 403},
		{"the beginning of the secret", "GET", "127.0.0.1:4711", "/" + secret[:25] + "/", nil, 403},
		{"a file without the secret", "GET", "127.0.0.1:4711", "/app.js", nil, 403},
		{"the stream without the secret", "GET", "127.0.0.1:4711", "/stream", nil, 403},
		{"a name that somebody's DNS has led to loopback", "GET", "evil.example:4711", "/" + secret + "/", nil, 421},
		{"a name that begins as loopback", "GET", "127.0.0.1.evil.example", "/" + secret + "/", nil, 421},
		{"an address of the machine", "GET", "192.0.2.1:4711", "/" + secret + "/", nil, 421},
		{"no host", "GET", "", "/" + secret + "/", nil, 421},
		{"a page of another origin asks", "GET", "127.0.0.1:4711", "/" + secret + "/stream", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a page of another port of loopback asks", "GET", "127.0.0.1:4711", "/" + secret + "/stream", map[string]string{"Origin": "http://127.0.0.1:4712"}, 403},
		{"a page in a frame without an origin asks", "GET", "127.0.0.1:4711", "/" + secret + "/stream", map[string]string{"Origin": "null"}, 403},
		{"a script tag of another site asks", "GET", "127.0.0.1:4711", "/" + secret + "/app.js", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a script tag of another port asks", "GET", "127.0.0.1:4711", "/" + secret + "/app.js", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"somebody writes", "POST", "127.0.0.1:4711", "/" + secret + "/", nil, 405},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(row.method, "http://127.0.0.1"+row.path, nil)
			r.Host = row.host
			for name, value := range row.headers {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			inside.ServeHTTP(w, r)
			if w.Code != row.want {
				t.Errorf("the answer is %d, want %d: %s", w.Code, row.want, w.Body)
			}
			for name, value := range headers {
				if got := w.Header().Get(name); got != value && !(w.Code == 404 && name == "Cache-Control") { // the file server takes it away
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
			if w.Code != 200 && w.Code != 303 && strings.Contains(w.Body.String()+w.Header().Get("Location"), secret) {
				t.Error("the answer has the secret")
			}
			if w.Header().Get("Set-Cookie") != "" {
				t.Error("a cookie is set, which other ports of loopback would get")
			}
		})
	}
}

func TestThePolicyLetsNothingInExceptOurFiles(t *testing.T) {
	policy := headers["Content-Security-Policy"]
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy+";", want+";") {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	for _, no := range []string{"unsafe", "http:", "https:", "data:", "blob:", "*"} {
		if strings.Contains(policy, no) {
			t.Errorf("the policy has %s: %s", no, policy)
		}
	}
}

// The policy would stop these things in a browser; a page that needs them would be broken there.
func TestTheFilesHoldNothingInlineAndNothingFromElsewhere(t *testing.T) {
	count := 0
	err := fs.WalkDir(files, "page", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		count++
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		for what, form := range map[string]string{
			"an address elsewhere": `(?i)(https?:)?//[a-z0-9]+\.[a-z]`, "an inline handler": `(?i)<[^>]+\son[a-z]+\s*=`, "an inline style": `(?i)<[^>]+\sstyle\s*=|<style`,
			"an inline script": `(?i)<script[^>]*>[^<]`, "markup made of text": `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|createContextualFragment|DOMParser`,
			"storage": `localStorage|sessionStorage|indexedDB|document\.cookie`,
		} {
			if m := regexp.MustCompile(form).FindString(text); m != "" {
				t.Errorf("%s has %s: %s", path, what, m)
			}
		}
		return nil
	})
	if err != nil || count < 5 {
		t.Errorf("%d files: %v", count, err)
	}
	w := httptest.NewRecorder()
	http.FileServerFS(files).ServeHTTP(w, httptest.NewRequest("GET", "/page/app.js", nil))
	if got := w.Header().Get("Content-Type"); !strings.Contains(got, "javascript") {
		t.Errorf("scripts are %q: with nosniff no browser takes them", got)
	}
}
