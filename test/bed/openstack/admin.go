package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Thing is anything that Keystone or Neutron has, as JSON.
type Thing = map[string]any

// Do makes a request as the administrator: method, a path of Neutron ("/v2.0/ports") or of Keystone ("/v3/users"), and a body or nil. It
// returns the answer, nil if that is empty. Any status that is no success is an error.
func (c *Cloud) Do(ctx context.Context, method, path string, body any) (Thing, error) {
	token, err := c.adminToken(ctx)
	if err != nil {
		return nil, err
	}
	_, out, err := c.call(ctx, method, path, token, body)
	return out, err
}

func (c *Cloud) adminToken(ctx context.Context) (string, error) {
	c.admin.Lock()
	defer c.admin.Unlock()
	if time.Since(c.admin.since) < adminTime {
		return c.admin.token, nil
	}
	begun := time.Now()
	token, err := c.Token(ctx, "admin", "test-admin", "admin")
	if err == nil {
		c.admin.token, c.admin.since = token, begun
	}
	return token, err
}

// adminTime is how long the administrator uses a token: tests may have tokens that live for seconds.
const adminTime = 20 * time.Second

// Read reads what there is at a path into a struct.
func (c *Cloud) Read(ctx context.Context, path string, into any) error {
	out, err := c.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// As makes a request as the user of a tenant, in its project.
func (c *Cloud) As(ctx context.Context, t *Tenant, method, path string, body any) (Thing, error) {
	token, err := c.Token(ctx, t.Name, t.Password, t.Name)
	if err != nil {
		return nil, err
	}
	_, out, err := c.call(ctx, method, path, token, body)
	return out, err
}

// Token asks for a token of a user in a project, both of the default domain.
func (c *Cloud) Token(ctx context.Context, user, password, project string) (string, error) {
	domain := Thing{"id": "default"}
	header, _, err := c.call(ctx, http.MethodPost, "/v3/auth/tokens", "", Thing{"auth": Thing{
		"identity": Thing{"methods": []string{"password"}, "password": Thing{"user": Thing{"name": user, "domain": domain, "password": password}}},
		"scope":    Thing{"project": Thing{"name": project, "domain": domain}},
	}})
	return header.Get("X-Subject-Token"), err
}

func (c *Cloud) call(ctx context.Context, method, path, token string, body any) (http.Header, Thing, error) {
	at := c.Neutron + path
	if strings.HasPrefix(path, "/v3") {
		at = c.Keystone + path
	}
	var text io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		text = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, at, text)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode >= 300 {
		return nil, nil, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, data)
	}
	if len(data) == 0 {
		return answer.Header, nil, nil
	}
	var out Thing
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w: %s", method, path, err, data)
	}
	return answer.Header, out, nil
}

// Make makes one thing of a kind of Neutron ("port", "network", "subnet", "trunk"), or of Keystone ("project", "user", "role"), and returns
// its id.
func (c *Cloud) Make(ctx context.Context, kind string, fields Thing) (string, error) {
	path := "/v2.0/" + kind + "s"
	switch kind {
	case "project", "user", "role":
		path = "/v3/" + kind + "s"
	}
	out, err := c.Do(ctx, http.MethodPost, path, Thing{kind: fields})
	if err != nil {
		return "", err
	}
	return idOf(out, kind)
}

func idOf(out Thing, kind string) (string, error) {
	thing, ok := out[kind].(map[string]any)
	if !ok {
		return "", fmt.Errorf("making a %s: the answer is %v", kind, out)
	}
	id, ok := thing["id"].(string)
	if !ok {
		return "", fmt.Errorf("making a %s: the answer is %v", kind, out)
	}
	return id, nil
}

// Tenant is a project with a user in it, and a credential of that user.
type Tenant struct {
	Project, Name    string // id and name
	User, Password   string // id; its name is Name
	CredentialID     string
	CredentialSecret string
}

// Rules are the access rules that the product's page asks for, without some.
func Rules(without ...string) []Thing {
	var out []Thing
	for _, path := range []string{"/v2.0/ports", "/v2.0/ports/*", "/v2.0/networks", "/v2.0/networks/*", "/v2.0/subnets", "/v2.0/subnets/*", "/v3/users/*/application_credentials/*"} {
		missing := false
		for _, w := range without {
			missing = missing || w == path
		}
		if !missing {
			service := "network"
			if strings.HasPrefix(path, "/v3/") {
				service = "identity"
			}
			out = append(out, Thing{"service": service, "method": "GET", "path": path})
		}
	}
	return out
}

// Tenant makes a project with a user of a role ("reader", "member", "nothing"), and an application credential with these access rules, or with none if they are nil.
func (c *Cloud) Tenant(ctx context.Context, name, role string, rules []Thing) (*Tenant, error) {
	t := &Tenant{Name: name, Password: "test-" + name}
	var err error
	if t.Project, err = c.Make(ctx, "project", Thing{"name": name, "domain_id": "default"}); err != nil {
		return nil, err
	}
	if t.User, err = c.Make(ctx, "user", Thing{"name": name, "domain_id": "default", "password": t.Password}); err != nil {
		return nil, err
	}
	if err := c.Grant(ctx, t, role, true); err != nil {
		return nil, err
	}
	return t, c.Credential(ctx, t, rules, time.Time{})
}

// Grant gives a tenant's user a role in its project, or takes it.
func (c *Cloud) Grant(ctx context.Context, t *Tenant, role string, give bool) error {
	out, err := c.Do(ctx, http.MethodGet, "/v3/roles?name="+role, nil)
	if err != nil {
		return err
	}
	roles, ok := out["roles"].([]any)
	if !ok || len(roles) != 1 {
		return fmt.Errorf("finding the role %s: the answer is %v", role, out)
	}
	id, err := idOf(Thing{"role": roles[0]}, "role")
	if err != nil {
		return err
	}
	method := map[bool]string{true: http.MethodPut, false: http.MethodDelete}[give]
	_, err = c.Do(ctx, method, "/v3/projects/"+t.Project+"/users/"+t.User+"/roles/"+id, nil)
	return err
}

// Credential gives a tenant another application credential, in place of the last one, good until a time, or for ever with the zero time.
func (c *Cloud) Credential(ctx context.Context, t *Tenant, rules []Thing, until time.Time) error {
	token, err := c.Token(ctx, t.Name, t.Password, t.Name)
	if err != nil {
		return err
	}
	fields := Thing{"name": fmt.Sprintf("credential-%d", time.Now().UnixNano())}
	if rules != nil {
		fields["access_rules"] = rules
	}
	if !until.IsZero() {
		fields["expires_at"] = until.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	_, out, err := c.call(ctx, http.MethodPost, "/v3/users/"+t.User+"/application_credentials", token, Thing{"application_credential": fields})
	if err != nil {
		return err
	}
	made, ok := out["application_credential"].(map[string]any)
	if !ok {
		return fmt.Errorf("making an application credential: the answer is %v", out)
	}
	t.CredentialID, t.CredentialSecret = fmt.Sprint(made["id"]), fmt.Sprint(made["secret"])
	return nil
}

// CloudsYAML is a clouds.yaml with an entry for each tenant, by its name.
func (w *Way) CloudsYAML(tenants ...*Tenant) string {
	var out strings.Builder
	out.WriteString("clouds:\n")
	for _, t := range tenants {
		fmt.Fprintf(&out, "  %s:\n    auth_type: v3applicationcredential\n    region_name: %s\n    interface: public\n    auth:\n      auth_url: %s/v3\n      application_credential_id: %s\n      application_credential_secret: %s\n",
			t.Name, w.Region, w.Keystone, t.CredentialID, t.CredentialSecret)
	}
	return out.String()
}
