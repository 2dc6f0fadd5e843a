package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// idsAtOnce is how many ids one request names. A URL over 32 KiB loses its whole query in uwsgi
	// and is answered with all ports (Debian's Neutron of 2022 and 2025).
	idsAtOnce = 40
	// restarts is how often a list is begun anew because a port that ended a page was deleted.
	restarts = 3
)

// walker asks one cloud. Its requests have deadlines, and are tried again where the cloud says when.
type walker struct {
	cloud string
	// page is how many items a page may have.
	page int
	// get gives the body of an answer of 200, and the status of any other as a statusError.
	get func(ctx context.Context, path string, query url.Values) ([]byte, error)
}

// statusError is an answer that is not 200. It never has the body: Neutron of 2022 puts the whole
// port into the 404 that hides it.
type statusError struct {
	status int
	path   string
	err    error
}

func (e statusError) Error() string {
	return fmt.Sprintf("GET %s: the answer is %d %s", e.path, e.status, http.StatusText(e.status))
}

func (e statusError) Unwrap() error { return e.err }

func isStatus(err error, status int) bool {
	var e statusError
	return errors.As(err, &e) && e.status == status
}

// ports gives all ports of these instances in a project. Every page is asked for by the last id of
// the one before, until one is empty: Neutron's own links end early where a page has a port that is
// hidden from us.
//
// What was not asked for is an error, and not left out: then the query did not arrive, and nothing
// that is missing in the answer says anything.
func (w walker) ports(ctx context.Context, project string, instances []string) ([]Port, error) {
	var out []Port
	for ids := range slices.Chunk(instances, idsAtOnce) {
		query := url.Values{"device_id": ids, "project_id": {project}, "fields": portFields}
		err := w.list(ctx, "ports", query, 0, func() {
			out = slices.DeleteFunc(out, func(p Port) bool { return slices.Contains(ids, strings.ToLower(p.DeviceID)) })
		}, func(raw json.RawMessage) (string, error) {
			p, err := readPort(raw)
			switch {
			case err != nil:
				return "", err
			case !slices.Contains(ids, strings.ToLower(p.DeviceID)):
				return "", fmt.Errorf("port %s of device %q was not asked for", p.ID, p.DeviceID)
			case p.ProjectID != project:
				return "", fmt.Errorf("port %s of project %q was not asked for", p.ID, p.ProjectID)
			}
			p.Cloud = w.cloud
			out = append(out, p)
			return p.ID, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// networks and subnets give those of these ids that can be read.
func (w walker) networks(ctx context.Context, ids []string, into map[string]Network) error {
	return w.some(ctx, "networks", ids, []string{"id", "mtu"}, func(raw json.RawMessage) (string, error) {
		id, n, err := readNetwork(raw)
		if err == nil {
			into[id] = n
		}
		return id, err
	})
}

func (w walker) subnets(ctx context.Context, ids []string, into map[string]Subnet) error {
	return w.some(ctx, "subnets", ids, []string{"id", "cidr", "gateway_ip", "host_routes"}, func(raw json.RawMessage) (string, error) {
		id, s, err := readSubnet(raw)
		if err == nil {
			into[id] = s
		}
		return id, err
	})
}

func (w walker) some(ctx context.Context, kind string, ids, fields []string, each func(json.RawMessage) (string, error)) error {
	for ids := range slices.Chunk(ids, idsAtOnce) {
		err := w.list(ctx, kind, url.Values{"id": ids, "fields": fields}, len(ids), func() {}, func(raw json.RawMessage) (string, error) {
			id, err := each(raw)
			if err == nil && !slices.Contains(ids, id) {
				err = fmt.Errorf("%s %s was not asked for", kind, id)
			}
			return id, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// list walks through a list, until a page is empty; or, unless most is 0, until so many items were
// there. again is called before it is begun anew.
func (w walker) list(ctx context.Context, kind string, query url.Values, most int, again func(), each func(json.RawMessage) (id string, err error)) error {
	for try := 0; ; try++ {
		err := w.pages(ctx, kind, query, most, each)
		if try == restarts || !isStatus(err, http.StatusNotFound) {
			return err
		}
		again()
	}
}

func (w walker) pages(ctx context.Context, kind string, query url.Values, most int, each func(json.RawMessage) (string, error)) error {
	query = maps.Clone(query)
	query.Set("limit", strconv.Itoa(w.page))
	seen := map[string]bool{}
	for {
		body, err := w.get(ctx, kind, query)
		if err != nil {
			return err
		}
		items, err := itemsOf(body, kind)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return nil
		}
		last := ""
		for _, raw := range items {
			if last, err = each(raw); err != nil {
				return fmt.Errorf("reading %s: %w", kind, err)
			}
			if seen[last] {
				return fmt.Errorf("reading %s: %s comes twice", kind, last)
			}
			seen[last] = true
		}
		if most > 0 && len(seen) >= most {
			return nil
		}
		query.Set("marker", last)
	}
}

// itemsOf is the list in an answer. An answer without one is none.
func itemsOf(body []byte, kind string) ([]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("reading %s: %w", kind, err)
	}
	var items *[]json.RawMessage
	if err := json.Unmarshal(all[kind], &items); err != nil || items == nil {
		return nil, fmt.Errorf("reading %s: the answer has no list of them", kind)
	}
	return *items, nil
}

// port gives one port; nil if the cloud does not know it, or hides it.
func (w walker) port(ctx context.Context, id string) (*Port, error) {
	body, err := w.get(ctx, "ports/"+url.PathEscape(id), nil)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all struct {
		Port json.RawMessage `json:"port"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("reading port %s: %w", id, err)
	}
	p, err := readPort(all.Port)
	if err == nil && p.ID != id {
		err = fmt.Errorf("reading port %s: the answer is port %s", id, p.ID)
	}
	if err != nil {
		return nil, err
	}
	p.Cloud = w.cloud
	return &p, nil
}
