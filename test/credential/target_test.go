package credential

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	v1 "multinicd/api/v1"
)

type fields = map[string]any

func meta(f fields) fields { return fields{"metadata": f} }

// additions are what a line adds to an object after its name.
var additions = map[string]fields{
	" with another key":   {"data": fields{"x": "y"}},
	" with binary data":   {"binaryData": fields{"x": "eA=="}},
	", over 32 KiB":       {"data": fields{v1.ReportKey: strings.Repeat("é", v1.MaxReportSize/2+1)}},
	", made immutable":    {"immutable": true},
	" with a label":       meta(fields{"labels": fields{"x": "y"}}),
	" with an annotation": meta(fields{"annotations": fields{"x": "y"}}),
	" with a finalizer":   meta(fields{"finalizers": []any{"example.com/x"}}),
	" with an owner":      meta(fields{"ownerReferences": []any{fields{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "x"}}}),
}

// target finds what a name of the matrix stands for; who asks matters for what
// only its own door lets through.
func (s *stage) target(object string, who int) target {
	s.c.t.Helper()
	if base, ok := strings.CutPrefix(object, "NodeTokenRequest "); ok {
		return s.request(base, who)
	}
	if base, ok := strings.CutPrefix(object, "token of A"); ok {
		return token(v1.NodesNamespace, v1.ServiceAccountName(nodeA), base)
	}
	for suffix, body := range additions {
		if base, ok := strings.CutSuffix(object, suffix); ok {
			tg := s.target(base, who)
			tg.body = body
			return tg
		}
	}
	tg, ok := targets[object]
	if !ok {
		s.c.t.Fatalf("the matrix names %q, which stands for nothing", object)
	}
	if object == "status of NodeTokenRequest A" {
		s.waiting(nodeA)
	}
	return tg
}

var (
	objects  = gvr(v1.Group, v1.Version, "multinicnodeconfigs")
	requests = gvr(v1.Group, v1.Version, "nodetokenrequests")
	cms      = gvr("", "v1", "configmaps")
	leases   = gvr("coordination.k8s.io", "v1", "leases")
	accounts = gvr("", "v1", "serviceaccounts")
	secrets  = gvr("", "v1", "secrets")
	nodes    = gvr("", "v1", "nodes")
	policy   = gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
	binding  = gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
	roles    = gvr("rbac.authorization.k8s.io", "v1", "roles")
	grants   = gvr("rbac.authorization.k8s.io", "v1", "rolebindings")
	events   = gvr("", "v1", "events")
)

var (
	label    = meta(fields{"labels": fields{"x": "y"}})
	renewed  = fields{"spec": fields{"holderIdentity": nodeA}}
	said     = fields{"data": fields{v1.ReportKey: "x"}}
	newEvent = fields{"involvedObject": fields{"kind": "Namespace", "name": "x"}, "reason": "X", "type": "Normal"}
)

const system, inside = v1.SystemNamespace, v1.NodesNamespace

// newObject is an object as a publisher makes it.
func newObject(name string) fields {
	return fields{"spec": fields{"nodeName": name, "interfaces": []any{fields{"id": int64(1), "macAddress": "02:00:00:00:01:01"}}}}
}

var targets = map[string]target{
	"object A":                       {objects, "MultiNicNodeConfig", system, nodeA, "", fields{"spec": fields{"specHash": "x"}}},
	"object B":                       {objects, "MultiNicNodeConfig", system, nodeB, "", fields{"spec": fields{"specHash": "x"}}},
	"objects":                        {objects, "MultiNicNodeConfig", system, "", "", nil},
	"a new object":                   {objects, "MultiNicNodeConfig", system, "matrix-new", "", newObject("matrix-new")},
	"status of object A":             {objects, "MultiNicNodeConfig", system, nodeA, "status", fields{"status": fields{"state": "Configured"}}},
	"status of object B":             {objects, "MultiNicNodeConfig", system, nodeB, "status", fields{"status": fields{"state": "Configured"}}},
	"old object (MultiNicBizConfig)": {gvr(v1.Group, v1.Version, "multinicbizconfigs"), "MultiNicBizConfig", system, "x", "", fields{"spec": fields{}}},

	"report A":               {cms, "ConfigMap", inside, v1.ReportName(nodeA), "", said},
	"report B":               {cms, "ConfigMap", inside, v1.ReportName(nodeB), "", said},
	"reports":                {cms, "ConfigMap", inside, "", "", nil},
	"a new report":           {cms, "ConfigMap", inside, v1.ReportName("matrix-new"), "", said},
	"Lease A":                {leases, "Lease", inside, v1.LeaseName(nodeA), "", renewed},
	"Lease B":                {leases, "Lease", inside, v1.LeaseName(nodeB), "", renewed},
	"Leases":                 {leases, "Lease", inside, "", "", nil},
	"the bridge's own Lease": {leases, "Lease", system, "multinic-bridge", "", renewed},

	"token of B, bound to Node B":          token(inside, v1.ServiceAccountName(nodeB), ", bound to Node B"),
	"join token of A":                      token(inside, v1.JoinAccountName(nodeA), ", bound to its Secret"),
	"token of the bridge":                  token(system, v1.BridgeAccount, ", bound to nothing"),
	"token of a ServiceAccount in default": token("default", "default", ", bound to nothing"),

	"ServiceAccount A":           {accounts, "ServiceAccount", inside, v1.ServiceAccountName(nodeA), "", label},
	"ServiceAccount B":           {accounts, "ServiceAccount", inside, v1.ServiceAccountName(nodeB), "", label},
	"ServiceAccounts":            {accounts, "ServiceAccount", inside, "matrix-new", "", nil},
	"Secret A":                   {secrets, "Secret", inside, v1.ServiceAccountName(nodeA), "", label},
	"Secrets":                    {secrets, "Secret", inside, "", "", nil},
	"a new Secret":               {secrets, "Secret", inside, "matrix-new", "", nil},
	"Secrets of multinic-system": {secrets, "Secret", system, "matrix-new", "", nil},
	"Secrets of kube-system":     {secrets, "Secret", "kube-system", "", "", nil},

	"NodeTokenRequests":            {requests, "NodeTokenRequest", inside, "", "", nil},
	"status of NodeTokenRequest A": {requests, "NodeTokenRequest", inside, nodeA, "status", fields{"status": fields{"reason": "X"}}},

	"Role in multinic-nodes, of what the bridge has": {roles, "Role", inside, "matrix-new", "", fields{"rules": []any{rule("", "configmaps", "get")}}},
	"Role in multinic-nodes, of more":                {roles, "Role", inside, "matrix-new", "", fields{"rules": []any{rule("", "secrets", "get")}}},
	"RoleBinding in multinic-nodes, to cluster-admin": {grants, "RoleBinding", inside, "matrix-new", "", fields{
		"roleRef":  fields{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{fields{"kind": "ServiceAccount", "name": "default", "namespace": inside}},
	}},
	"Role A":       {roles, "Role", inside, v1.ServiceAccountName(nodeA), "", label},
	"ClusterRoles": {gvr("rbac.authorization.k8s.io", "v1", "clusterroles"), "ClusterRole", "", "matrix-new", "", fields{"rules": []any{}}},

	"ConfigMaps of multinic-system":       {cms, "ConfigMap", system, "multinic-admission", "", said},
	"another ConfigMap of multinic-nodes": {cms, "ConfigMap", inside, "kube-root-ca.crt", "", label},
	"ConfigMaps of default":               {cms, "ConfigMap", "default", "matrix-new", "", said},
	"Leases of kube-node-lease":           {leases, "Lease", "kube-node-lease", "", "", nil},

	"Node A": {nodes, "Node", "", nodeA, "", meta(fields{"annotations": fields{"x": "y"}})},
	"Node B": {nodes, "Node", "", nodeB, "", meta(fields{"annotations": fields{"x": "y"}})},
	"Nodes":  {nodes, "Node", "", "", "", nil},
	"CertificateSigningRequests": {gvr("certificates.k8s.io", "v1", "certificatesigningrequests"), "CertificateSigningRequest", "", "matrix-new", "",
		fields{"spec": fields{"request": csr, "signerName": "example.com/x", "usages": []any{"client auth"}}}},
	"approval of a CertificateSigningRequest": {gvr("certificates.k8s.io", "v1", "certificatesigningrequests"), "CertificateSigningRequest", "", "matrix-csr", "approval",
		fields{"status": fields{"conditions": []any{fields{"type": "Approved", "status": "True", "reason": "X"}}}}},

	"Jobs of multinic-nodes": {gvr("batch", "v1", "jobs"), "Job", inside, "matrix-new", "",
		fields{"spec": fields{"template": fields{"spec": fields{"restartPolicy": "Never", "containers": containers}}}}},
	"Pods of multinic-nodes":                  {gvr("", "v1", "pods"), "Pod", inside, "matrix-new", "", fields{"spec": fields{"nodeName": nodeA, "containers": containers}}},
	"CustomResourceDefinition of our objects": {gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "CustomResourceDefinition", "", "multinicnodeconfigs.multinic.io", "", label},
	"admission policy":                        {policy, "ValidatingAdmissionPolicy", "", "multinic-status", "", label},
	"binding of an admission policy":          {binding, "ValidatingAdmissionPolicyBinding", "", "multinic-status", "", label},
	"admission policies":                      {policy, "ValidatingAdmissionPolicy", "", "matrix-new", "", nil},
	"Events of multinic-nodes":                {events, "Event", inside, "matrix-new", "", inNamespace(newEvent, inside)},
	"Events of default":                       {events, "Event", "default", "matrix-new", "", inNamespace(newEvent, "default")},
	"namespace multinic-nodes":                {gvr("", "v1", "namespaces"), "Namespace", "", inside, "", label},
	"namespaces":                              {gvr("", "v1", "namespaces"), "Namespace", "", "matrix-new", "", nil},
	"who am I":                                {gvr("authentication.k8s.io", "v1", "selfsubjectreviews"), "SelfSubjectReview", "", "", "", nil},
}

var containers = []any{fields{"name": "x", "image": "example.com/x"}}

func rule(group, resource, verb string) fields {
	return fields{"apiGroups": []any{group}, "resources": []any{resource}, "verbs": []any{verb}}
}

func inNamespace(event fields, namespace string) fields {
	out := fields{}
	for k, v := range event {
		out[k] = v
	}
	out["involvedObject"] = fields{"kind": "ConfigMap", "name": "x", "namespace": namespace}
	return out
}

// token is a request for a token of an account, as the line words it.
func token(namespace, account, how string) target {
	bound := func(kind, name string) fields {
		return fields{"apiVersion": "v1", "kind": kind, "name": name}
	}
	spec := fields{}
	switch how {
	case ", bound to Node A":
		spec["boundObjectRef"] = bound("Node", nodeA)
	case ", bound to Node B":
		spec["boundObjectRef"] = bound("Node", nodeB)
	case ", bound to Secret A":
		spec["boundObjectRef"] = bound("Secret", v1.ServiceAccountName(nodeA))
	case ", bound to its Secret":
		spec["boundObjectRef"] = bound("Secret", account)
	case ", for 2 h":
		spec = fields{"boundObjectRef": bound("Node", nodeA), "expirationSeconds": int64(7200)}
	case ", for another audience":
		spec = fields{"boundObjectRef": bound("Node", nodeA), "audiences": []any{"vault"}}
	}
	return target{accounts, "TokenRequest", namespace, account, "token", fields{"spec": spec}}
}

// request is a NodeTokenRequest as the line words it: each asks through its own
// door, and who has none through the join token's.
func (s *stage) request(how string, who int) target {
	s.c.t.Helper()
	name := nodeA
	if strings.HasPrefix(how, "B") {
		name = nodeB
	}
	how = strings.TrimLeft(how, "AB")
	if how == ", made" {
		s.waiting(name)
	} else {
		s.absent(name)
	}
	door, other := v1.DoorJoinToken, v1.DoorKubelet
	if identities[who] == "kubelet of A" {
		door, other = other, door
	}
	if how == " through the other door" {
		door = other
	}
	body := fields{"spec": fields{"door": string(door), "publicKey": s.key(name)}}
	if how == ", made" {
		body = label
	}
	for k, v := range additions[how] {
		body[k] = v
	}
	return target{requests, "NodeTokenRequest", inside, name, "", body}
}

func plainCodec() runtime.NegotiatedSerializer {
	return serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// csr is a request for a certificate as the API takes it.
var csr = func() string {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // there is always randomness
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}()
