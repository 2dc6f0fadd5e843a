package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// noSuch is an id that nothing has.
const noSuch = "00000000-0000-4000-8000-000000000000"

// ErrIncomplete says that something is missing that the publisher needs. What it is was printed.
var ErrIncomplete = errors.New("something is missing")

// Check asks each cloud for what a walk asks for, and prints what is missing: an access rule of the
// application credential, a role. Nothing is written anywhere. The error is ErrIncomplete, if that
// is all.
func Check(ctx context.Context, o Options, out io.Writer) error {
	p := &printer{out: out}
	m := newMeters()
	missing := false
	for _, name := range o.Clouds {
		c := &cloud{name: name, file: o.CloudsFile, agent: o.Agent, timeout: o.Timeout, page: 1, meters: m}
		if err := c.open(ctx); err != nil {
			p.line("%s: %v", name, err)
			missing = true
			continue
		}
		p.line("%s: the token is for project %s; Neutron is at %s", name, c.project, c.network.ResourceBaseURL())
		switch {
		case !c.ends.by:
		case isStatus(c.ends.err, http.StatusUnauthorized):
			p.line("%s: when the application credential ends, nobody may ask; with this access rule an alert comes before: {service: identity, method: GET, path: %s}", name, endRule)
		case c.ends.err != nil:
			p.line("%s: %v", name, c.ends.err)
		case c.ends.at.IsZero():
			p.line("%s: the application credential does not end", name)
		default:
			p.line("%s: the application credential ends at %s", name, c.ends.at.Format(time.RFC3339))
		}
		all, refused := 0, 0
		for _, kind := range []string{"ports", "networks", "subnets"} {
			id, err := c.first(ctx, kind)
			all, refused = all+1, refused+c.tell(p, kind, err)
			if err == nil && id == "" && kind == "ports" {
				p.line("%s: no port is visible: has the user the role reader in the project?", name)
				missing = true
			}
			if id == "" {
				id = noSuch
			}
			_, err = c.get(ctx, kind+"/"+id, nil)
			if isStatus(err, http.StatusNotFound) {
				err = nil
			}
			all, refused = all+1, refused+c.tell(p, kind+"/*", err)
		}
		switch {
		case refused == all:
			p.line("%s: Neutron takes nothing: if the access rules are there, its operator has to set service_type = network in [keystone_authtoken]", name)
		case refused == 0:
			p.line("%s: Neutron answers all that is asked of it", name)
		}
		missing = missing || refused > 0
	}
	if p.err == nil && missing {
		return ErrIncomplete
	}
	return p.err
}

// first is the id of the first item of a list; "" if it is empty.
func (c *cloud) first(ctx context.Context, kind string) (string, error) {
	body, err := c.get(ctx, kind, url.Values{"limit": {"1"}, "fields": {"id"}})
	if err != nil {
		return "", err
	}
	items, err := itemsOf(body, kind)
	if err != nil || len(items) == 0 {
		return "", err
	}
	var item struct {
		ID string `json:"id"`
	}
	err = json.Unmarshal(items[0], &item)
	return item.ID, err
}

// tell prints what is wrong with an answer, and returns 1 if something is.
func (c *cloud) tell(p *printer, path string, err error) int {
	base, parsed := url.Parse(c.network.ResourceBaseURL())
	switch {
	case err == nil:
		return 0
	case isStatus(err, http.StatusUnauthorized) && parsed == nil:
		p.line("%s: this access rule of the application credential is missing: {service: network, method: GET, path: %s}", c.name, strings.TrimSuffix(base.Path, "/")+"/"+path)
	case isStatus(err, http.StatusForbidden):
		p.line("%s: GET %s is forbidden: the user's role does not allow it", c.name, path)
	default:
		p.line("%s: %v", c.name, fmt.Errorf("asking for %s: %w", path, err))
	}
	return 1
}
