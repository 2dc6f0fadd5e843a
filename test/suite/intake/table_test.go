package intake

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"multinicd/api/v1"
)

// The client of the field, as it is: no word about who it is, a slash too many, a nodeName that is no Node's, ids by the order of MACs.
func TestTheFieldsClientIsServed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.machine("field-1", "5D3A7D0C-0001")
	d := c.door("--allow-anonymous")
	ports := ports(1, 2)
	sent := node{NodeName: "nova name 1", InstanceID: "5d3a7d0c-0001", Interfaces: ports}
	d.send(d.request("", providerA, []node{sent})).says(t, "200 created:field-1")
	o := c.object("field-1")
	if got := nics(o); got != "multinic0=fa:16:3e:00:01:00 multinic1=fa:16:3e:00:01:01" {
		t.Errorf("the object has %s", got)
	}
	want := v1.Interface{ID: new(int32(0)), PortID: ports[0].PortID, MACAddress: "fa:16:3e:00:01:00", Address: "10.100.1.10", CIDR: "10.100.1.0/24", MTU: new(int32(1450))}
	if got := o.Spec.Interfaces[0]; fmt.Sprintf("%+v", show(got)) != fmt.Sprintf("%+v", show(want)) {
		t.Errorf("the first NIC is %+v, want %+v", show(got), show(want))
	}
	if o.Labels[v1.PublisherLabel] != v1.PublisherIntake || o.Labels[v1.NodeNameLabel] != "field-1" || o.Labels[v1.InstanceIDLabel] != sent.InstanceID || o.Spec.ProviderID != providerA {
		t.Errorf("labels %v, provider %q", o.Labels, o.Spec.ProviderID)
	}

	// A new port has the lowest MAC: the client gives all of them other ids. Ours stay.
	lower := port{PortID: "new", Name: "multinic0", MACAddress: "fa:16:3e:00:00:00"}
	for i := range ports {
		ports[i].ID, ports[i].Name = i+1, fmt.Sprintf("multinic%d", i+1)
	}
	sent.Interfaces = append([]port{lower}, ports...)
	d.send(d.request("", providerA, []node{sent})).says(t, "200 changed:field-1")
	if got := nics(c.object("field-1")); got != "multinic0=fa:16:3e:00:01:00 multinic1=fa:16:3e:00:01:01 multinic2=fa:16:3e:00:00:00" {
		t.Errorf("the object has %s", got)
	}
	if log := d.Log(); !strings.Contains(log, `"msg":"request","status":200,"user":"anonymous","provider":"provider-a"`) || !strings.Contains(log, `"path":"//v1/k8s/multinic/node-configs"`) {
		t.Errorf("the log does not have the request:\n%s", log)
	}
}

// show is a NIC with the values behind its pointers.
func show(n v1.Interface) map[string]any {
	return map[string]any{"id": *n.ID, "name": n.Name, "port": n.PortID, "mac": n.MACAddress, "address": n.Address, "cidr": n.CIDR, "mtu": *n.MTU}
}

// nic is a NIC of a table, with an address that goes with cidr.
func nic(mac, cidr string) string {
	address, _, _ := strings.Cut(cidr, "/")
	if strings.HasSuffix(address, ".0") {
		address = strings.TrimSuffix(address, "0") + "10"
	}
	return fmt.Sprintf(`{"macAddress":%q,"address":%q,"cidr":%q}`, mac, address, cidr)
}

func one(name, fields string) string { return fmt.Sprintf(`[{"nodeName":%q,%s}]`, name, fields) }

// The whole of the door's behaviour, request by request, each against a node of its own unless it says so.
func TestRequestsAndAnswers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.machine("table-known", "5d3a7d0c-1001")
	c.machine("table-twin-1", "5d3a7d0c-1002")
	c.machine("table-twin-2", "5d3a7d0c-1002")
	c.machine("table-other", "5d3a7d0c-1003")
	d, waits := c.door("--unknown-nodes", "publish", "--max-nodes", "1300"), c.door()
	ours, theirs, wrongAudience := c.token(viola), c.token(neighbour), c.token(viola, "https://kubernetes.default.svc")
	const mac = "fa:16:3e:0a:00:01"
	everything := `"interfaces":[{"portId":"p","id":3,"name":"multinic3","macAddress":"` + mac + `","address":"10.0.0.10","cidr":"10.0.0.10/24","mtu":1450,` +
		`"addresses":["10.0.0.11/24"],"routes":[{"to":"10.9.0.0/16","via":"10.0.0.1","metric":5,"table":100}],"gateway":"10.0.0.1","adopt":true,"deviceId":"d"}],"specHash":"h"`
	for _, row := range []struct {
		name  string
		body  string
		alter func(*http.Request)
		says  string
		// nics of the object "table-<n>" afterwards; "" if it is not looked at
		nics string
	}{
		{"all fields", one("table-1", everything), nil, "200 created:table-1", "multinic3=" + mac},
		{"all fields again", one("table-1", everything), nil, "200 unchanged:table-1", "multinic3=" + mac},
		{"an id that is missing", one("table-2", `"interfaces":[`+nic(mac, "10.0.0.10/24")+`]`), nil, "200 created:table-2", "multinic0=" + mac},
		{"a MAC in upper case", one("table-3", `"interfaces":[`+nic("FA:16:3E:0A:00:01", "10.0.0.10/24")+`]`), nil, "200 created:table-3", "multinic0=" + mac},
		{"and the same in lower case", one("table-3", `"interfaces":[`+nic(mac, "10.0.0.10/24")+`]`), nil, "200 unchanged:table-3", ""},
		{"cidr as a network", one("table-4", `"interfaces":[`+nic(mac, "10.0.0.0/24")+`]`), nil, "200 created:table-4", "multinic0=" + mac},
		{"cidr as a host, of the same", one("table-4", `"interfaces":[`+nic(mac, "10.0.0.10/24")+`]`), nil, "200 unchanged:table-4", ""},
		{"a node without NICs", one("table-5", `"interfaces":[]`), nil, "200 created:table-5", ""},
		{"a MAC that is none", one("table-6", `"interfaces":[`+nic("02-00", "10.0.0.10/24")+`]`), nil, "422 Invalid:table-6", ""},
		{"no name", `[{"interfaces":[]}]`, nil, "422 Unreadable:", ""},
		{"a name that no object can have", one("No Such Name", `"interfaces":[]`), nil, "422 NoName:No Such Name", ""},
		{"the same node twice", `[{"nodeName":"table-7"},{"nodeName":"table-7"},{"nodeName":"table-8"}]`, nil, "200 created:table-8 NamedTwice:table-7 NamedTwice:table-7", ""},
		{"the same node twice, by its instance and by its name", `[{"nodeName":"x","instanceId":"5D3A7D0C-1001"},{"nodeName":"table-known"}]`, nil, "422 NamedTwice:x NamedTwice:table-known", ""},
		{"a name in other letters", one("wörker", `"interfaces":[]`), nil, "422 NoName:wörker", ""},
		{"a name that looks like another one's", one("t\u0430ble-1", `"interfaces":[]`), nil, "422 NoName:t\u0430ble-1", ""},
		{"a name that turns the line around", one("a\u202eb", `"interfaces":[]`), nil, `422 NoName:a\u202eb`, ""},
		{"a name that is a path", one("../table-1", `"interfaces":[]`), nil, "422 NoName:../table-1", ""},
		{"a key twice", `[{"nodeName":"table-9","interfaces":[],"Interfaces":[]}]`, nil, "422 Unreadable:table-9", ""},
		{"a node that is found by its instance", one("x", `"instanceId":"5D3A7D0C-1001","interfaces":[]`), nil, "200 created:table-known", ""},
		{"an instance that two Nodes have", one("table-twin-1", `"instanceId":"5d3a7d0c-1002"`), nil, "503 InstanceTwice:table-twin-1", ""},
		{"a Node that is another instance", one("table-other", `"instanceId":"5d3a7d0c-9999"`), nil, "503 AnotherInstance:table-other", ""},
		{"no JSON", `{nodeName`, nil, "400 NotAList:", ""},
		{"an object in place of a list", `{"nodeName":"table-9"}`, nil, "400 NotAList:", ""},
		{"an empty list", `[]`, nil, "400 Empty:", ""},
		{"too large", "[" + strings.Repeat(" ", 4<<20) + "]", nil, "413 TooLarge:", ""},
		{"too many nodes", "[" + strings.TrimSuffix(strings.Repeat(`{},`, 1301), ",") + "]", nil, "413 TooMany:", ""},
		{"no token", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Del("Authorization") }, "401 Unauthorized:", ""},
		{"a wrong token", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Set("Authorization", "Bearer x"+ours) }, "401 Unauthorized:", ""},
		{"a token for the API server", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+wrongAudience) }, "401 Unauthorized:", ""},
		{"a token as the password in the URL", one("table-10", `"interfaces":[]`), func(r *http.Request) { r.Header.Del("Authorization"); r.URL.User = url.UserPassword("viola", ours) }, "200 created:table-10", ""},
		{"a wrong token as the password in the URL", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Del("Authorization"); r.URL.User = url.UserPassword("viola", "x") }, "401 Unauthorized:", ""},
		{"two providers", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Add("X-Provider-Id", "provider-c") }, "400 HeaderTwice:", ""},
		{"another publisher's token", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+theirs) }, "403 Forbidden:", ""},
		{"a provider without a right", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Set("X-Provider-Id", "provider-c") }, "403 Forbidden:", ""},
		{"no provider", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Del("X-Provider-Id") }, "400 ProviderMissing:", ""},
		{"another provider of the same publisher", one("table-1", everything), func(r *http.Request) { r.Header.Set("X-Provider-Id", providerB) }, "422 AnotherProvider:table-1", "multinic3=" + mac},
		{"another method", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Method = http.MethodPut }, "405 MethodNotAllowed:", ""},
		{"another path", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.URL.Path += "/x" }, "404 NotFound:", ""},
		{"another type", one("table-9", `"interfaces":[]`), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, "415 NotJSON:", ""},
		{"a dry run", one("table-9", `"interfaces":[`+nic(mac, "10.0.0.10/24")+`]`), func(r *http.Request) { r.URL.RawQuery = "dryRun=All" }, "200 created:table-9", ""},
		{"and after it", one("table-9", `"interfaces":[]`), nil, "200 created:table-9", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := d.request(ours, providerA, []byte(row.body))
			if row.alter != nil {
				row.alter(r)
			}
			a, err := d.try(r)
			if err != nil {
				t.Fatal(err)
			}
			a.says(t, row.says)
			if row.nics != "" {
				if got := nics(c.object(strings.Fields(strings.ReplaceAll(row.says, ":", " "))[2])); got != row.nics {
					t.Errorf("the object has %s, want %s", got, row.nics)
				}
			}
		})
	}
	t.Run("what was sent is there, with all fields", func(t *testing.T) {
		o := c.object("table-1")
		n := o.Spec.Interfaces[0]
		got := fmt.Sprint(o.Spec.SpecHash, n.PortID, *n.ID, n.Address, n.CIDR, *n.MTU, n.Addresses, n.Routes[0].To, n.Routes[0].Via, *n.Routes[0].Metric, *n.Routes[0].Table, n.Gateway, n.Adopt)
		if want := fmt.Sprint("h", "p", 3, "10.0.0.10", "10.0.0.10/24", 1450, []string{"10.0.0.11/24"}, "10.9.0.0/16", "10.0.0.1", 5, 100, "10.0.0.1", true); got != want || o.Generation != 1 {
			t.Errorf("%s, generation %d, want %s", got, o.Generation, want)
		}
	})
	t.Run("a machine that is no Node yet waits", func(t *testing.T) {
		waits.send(waits.request(ours, providerA, []byte(one("table-late", `"instanceId":"5d3a7d0c-1004","interfaces":[]`)))).says(t, "503 NodeUnknown:table-late")
		c.machine("table-late-node", "5d3a7d0c-1004")
		eventually(t, "it is taken once it is one", func() string {
			a := waits.send(waits.request(ours, providerA, []byte(one("table-late", `"instanceId":"5d3a7d0c-1004","interfaces":[]`))))
			if a.Status == http.StatusOK {
				return ""
			}
			return a.brief()
		})
		c.object("table-late-node")
	})
	t.Run("a dry run says what would change", func(t *testing.T) {
		r := d.request(ours, providerA, []byte(one("table-2", `"interfaces":[`+nic("fa:16:3e:0a:00:02", "10.0.1.10/24")+`]`)))
		r.URL.RawQuery = "dryRun=All"
		a := d.send(r)
		a.says(t, "200 changed:table-2")
		if got := fmt.Sprint(a.Results[0].Diff, a.Results[0].Kept); got != "[+ multinic1 fa:16:3e:0a:00:02 10.0.1.10/24] [multinic0]" {
			t.Errorf("it says %s", got)
		}
	})
}
