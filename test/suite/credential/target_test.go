package credential

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

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

	", of the door":         {"metadata": fields{"labels": fields{v1.PublisherLabel: v1.PublisherIntake}}, "spec": provided(newName)},
	", of another provider": {"spec": fields{"providerId": "provider-b"}},
	", given away":          meta(fields{"labels": fields{v1.PublisherLabel: "somebody"}}),

	", of what the bridge has": {"rules": []any{rule("", "configmaps", "get")}},
	", to somebody else":       {"subjects": []any{fields{"kind": "ServiceAccount", "name": v1.BridgeAccount, "namespace": system}}},
	", of more":                {"rules": []any{rule("", "secrets", "get")}},
	", to cluster-admin": {
		"roleRef":  fields{"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{fields{"kind": "ServiceAccount", "name": "default", "namespace": inside}},
	},
	", to the Role for Jobs": {
		"roleRef":  fields{"apiGroup": rbac, "kind": "Role", "name": "multinic-credentials-jobs"},
		"subjects": []any{fields{"kind": "ServiceAccount", "name": "default", "namespace": inside}},
	},
	ofTheForm: nil, asTheBridge: nil, // see form
}

// What runs with Jobs on, by another name and by one that the bridge gives.
const ofTheForm, asTheBridge = ", of the form", ", as the bridge makes them"

// form is a Pod or a Job that the admission policies let in once they are told of the image.
func (s *stage) form(kind string) fields {
	pod := fields{
		"nodeName": nodeA, "serviceAccountName": v1.ServiceAccountName(nodeA), "automountServiceAccountToken": false, "restartPolicy": "Never",
		"securityContext": fields{"runAsNonRoot": true, "seccompProfile": fields{"type": "RuntimeDefault"}},
		"containers": []any{fields{"name": "multinicd", "image": s.jobImage, "args": []any{"apply", "--wait", "30s"}, "securityContext": fields{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": fields{"drop": []any{"ALL"}},
		}}},
	}
	if kind == "Job" {
		return fields{"spec": fields{"suspend": true, "template": fields{"spec": pod}}}
	}
	return fields{"spec": pod}
}

// baseOf is what a line adds something to.
func baseOf(object string) (string, bool) {
	for suffix := range additions {
		if base, ok := strings.CutSuffix(object, suffix); ok {
			return base, true
		}
	}
	return "", false
}

// target finds what a name of the matrix stands for; who asks matters for what
// only its own door lets through.
func (s *stage) target(object string, who int) (target, error) {
	if base, ok := strings.CutPrefix(object, "NodeTokenRequest "); ok {
		return s.request(base, who)
	}
	if base, ok := strings.CutPrefix(object, "token of A"); ok {
		return token(v1.NodesNamespace, v1.ServiceAccountName(nodeA), base), nil
	}
	if base, ok := baseOf(object); ok {
		tg, err := s.target(base, who)
		switch addition := strings.TrimPrefix(object, base); addition {
		case ofTheForm:
			tg.body = s.form(tg.kind)
		case asTheBridge:
			tg.body, tg.name = s.form(tg.kind), bridgesJob+"-new"
		default:
			tg.body = additions[addition]
		}
		return tg, err
	}
	tg, ok := targets[object]
	if !ok {
		return tg, fmt.Errorf("the matrix names %q, which stands for nothing", object)
	}
	if object == "status of NodeTokenRequest A" {
		return tg, s.waiting(nodeA)
	}
	return tg, nil
}

var (
	objects  = gvr(v1.Group, v1.Version, "multinicnodeconfigs")
	runs     = gvr(v1.Group, v1.Version, "multinicnoderuns")
	requests = gvr(v1.Group, v1.Version, "nodetokenrequests")
	cms      = gvr("", "v1", "configmaps")
	leases   = gvr("coordination.k8s.io", "v1", "leases")
	accounts = gvr("", "v1", "serviceaccounts")
	secrets  = gvr("", "v1", "secrets")
	nodes    = gvr("", "v1", "nodes")
	policy   = gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
	binding  = gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
	roles    = gvr(rbac, "v1", "roles")
	grants   = gvr(rbac, "v1", "rolebindings")
	events   = gvr("", "v1", "events")
)

var (
	label    = meta(fields{"labels": fields{"x": "y"}})
	renewed  = fields{"spec": fields{"holderIdentity": nodeA}}
	said     = fields{"data": fields{v1.ReportKey: "x"}}
	newEvent = fields{"involvedObject": fields{"kind": "Namespace", "name": "x"}, "reason": "X", "type": "Normal"}
)

const system, inside, rbac = v1.SystemNamespace, v1.NodesNamespace, "rbac.authorization.k8s.io"

// pipelines is the namespace of examples/trigger-job.yaml; bridgesJob is a name that the bridge could give to a Job.
const pipelines, bridgesJob = "multinic-pipelines", "multinic-agent-matrix"

// newObject is an object as a publisher makes it.
func newObject(name string) fields {
	return fields{"spec": fields{"nodeName": name, "interfaces": []any{fields{"id": int64(1), "macAddress": "02:00:00:00:01:01"}}}}
}

var (
	biz       = gvr(v1.Group, v1.Version, "multinicbizconfigs")
	csrs      = gvr("certificates.k8s.io", "v1", "certificatesigningrequests")
	jobs      = gvr("batch", "v1", "jobs")
	pods      = gvr("", "v1", "pods")
	crds      = gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions")
	clusters  = gvr(rbac, "v1", "clusterroles")
	clusterTo = gvr(rbac, "v1", "clusterrolebindings")
	signers   = gvr("certificates.k8s.io", "v1", "signers")
)

// newName is that of what is made by nobody: it begins the name of a target
// that stands for a collection.
const newName = "matrix-new"

var (
	state  = fields{"status": fields{"state": "Configured"}}
	noted  = meta(fields{"annotations": fields{"x": "y"}})
	aJob   = fields{"spec": fields{"suspend": true, "template": fields{"spec": fields{"restartPolicy": "Never", "containers": containers}}}}
	aPod   = fields{"spec": fields{"nodeName": nodeA, "containers": containers}}
	labels = fields{"a": "b"}
	newCSR = fields{"spec": fields{"request": csr, "signerName": "example.com/x", "usages": []any{"client auth"}}}
)

var aDeployment = fields{"spec": fields{"selector": fields{"matchLabels": labels}, "template": fields{
	"metadata": fields{"labels": labels}, "spec": fields{"containers": containers},
}}}

// provided is the spec of a new object that has a provider.
func provided(name string) fields {
	return fields{"nodeName": name, "providerId": "provider-a", "interfaces": []any{fields{"id": int64(1), "macAddress": "02:00:00:00:01:01"}}}
}

// taken makes an object that is handed over to the door its own.
var taken = meta(fields{"labels": fields{v1.PublisherLabel: v1.PublisherIntake}, "annotations": fields{v1.HandOverAnnotation: nil}})

var targets = map[string]target{
	"object A":              {objects, "MultiNicNodeConfig", system, nodeA, "", fields{"spec": fields{"specHash": "x"}}},
	"object B":              {objects, "MultiNicNodeConfig", system, nodeB, "", fields{"spec": fields{"specHash": "x"}}},
	"objects":               {objects, "MultiNicNodeConfig", system, newName, "", newObject(newName)},
	"an object of the door": {objects, "MultiNicNodeConfig", system, doors, "", fields{"spec": fields{"specHash": "x"}}},
	"an object that is handed over to the door": {objects, "MultiNicNodeConfig", system, handed, "", taken},
	"objects of all namespaces":                 {objects, "", "", "", "", nil},
	"objects of default":                        {objects, "MultiNicNodeConfig", "default", newName, "", newObject(newName)},
	"status of object A":                        {objects, "MultiNicNodeConfig", system, nodeA, "status", state},
	"status of object B":                        {objects, "MultiNicNodeConfig", system, nodeB, "status", state},
	"an old object (MultiNicBizConfig)":         {biz, "MultiNicBizConfig", system, "matrix-old", "", label},
	"status of an old object":                   {biz, "MultiNicBizConfig", system, "matrix-old", "status", fields{"status": fields{}}},
	"old objects":                               {biz, "MultiNicBizConfig", system, newName, "", fields{"spec": fields{"nodeConfigs": []any{}}}},

	"report A":                            {cms, "ConfigMap", inside, v1.ReportName(nodeA), "", said},
	"report B":                            {cms, "ConfigMap", inside, v1.ReportName(nodeB), "", said},
	"reports":                             {cms, "ConfigMap", inside, newName, "", said},
	"another ConfigMap of multinic-nodes": {cms, "ConfigMap", inside, "kube-root-ca.crt", "", label},
	"a ConfigMap of multinic-system":      {cms, "ConfigMap", system, "multinic-admission", "", said},
	"ConfigMaps of multinic-system":       {cms, "ConfigMap", system, newName, "", said},
	"the image of the Jobs":               {cms, "ConfigMap", system, "multinic-jobs", "", said},
	"ConfigMaps of default":               {cms, "ConfigMap", "default", newName, "", said},
	"Lease A":                             {leases, "Lease", inside, v1.LeaseName(nodeA), "", renewed},
	"Lease B":                             {leases, "Lease", inside, v1.LeaseName(nodeB), "", renewed},
	"Leases":                              {leases, "Lease", inside, newName, "", renewed},
	"the bridge's Lease for statuses":     {leases, "Lease", system, v1.BridgeAccount, "", renewed},
	"the bridge's Lease for credentials":  {leases, "Lease", system, v1.CredentialsAccount, "", renewed},
	"the lock of the migration":           {leases, "Lease", system, "multinic-migrate", "", renewed},
	"Leases of multinic-system":           {leases, "Lease", system, newName, "", renewed},
	"Leases of kube-node-lease":           {leases, "Lease", "kube-node-lease", newName, "", renewed},

	"token of B, bound to Node B":            token(inside, v1.ServiceAccountName(nodeB), ", bound to Node B"),
	"join token of A":                        token(inside, v1.JoinAccountName(nodeA), ", bound to its Secret"),
	"token of the bridge for statuses":       token(system, v1.BridgeAccount, ", bound to nothing"),
	"token of the bridge for credentials":    token(system, v1.CredentialsAccount, ", bound to nothing"),
	"token of a ServiceAccount in default":   token("default", "default", ", bound to nothing"),
	"token of the pipeline's ServiceAccount": token(pipelines, "multinic-trigger", ", bound to nothing"),

	"ServiceAccount A":               {accounts, "ServiceAccount", inside, v1.ServiceAccountName(nodeA), "", label},
	"ServiceAccount B":               {accounts, "ServiceAccount", inside, v1.ServiceAccountName(nodeB), "", label},
	"ServiceAccounts":                {accounts, "ServiceAccount", inside, newName, "", nil},
	"the bridge's ServiceAccount":    {accounts, "ServiceAccount", system, v1.BridgeAccount, "", label},
	"ServiceAccounts of kube-system": {accounts, "ServiceAccount", "kube-system", newName, "", nil},
	"Secret A":                       {secrets, "Secret", inside, v1.ServiceAccountName(nodeA), "", label},
	"Secret B":                       {secrets, "Secret", inside, v1.ServiceAccountName(nodeB), "", label},
	"Secrets":                        {secrets, "Secret", inside, newName, "", nil},
	"Secrets of multinic-system":     {secrets, "Secret", system, newName, "", nil},
	"Secrets of kube-system":         {secrets, "Secret", "kube-system", newName, "", nil},

	"NodeTokenRequests": {requests, "NodeTokenRequest", inside, newName, "", fields{"spec": fields{"door": string(v1.DoorKubelet), "publicKey": publicKey(newName)}}},
	"a run of A":        {runs, "MultiNicNodeRun", system, "matrix-run", "", label},
	"status of a run":   {runs, "MultiNicNodeRun", system, "matrix-run", "status", fields{"status": fields{"state": "Succeeded"}}},
	"runs":              {runs, "MultiNicNodeRun", system, newName, "", fields{"spec": fields{"node": nodeA, "action": "trigger"}}},

	"status of NodeTokenRequest A": {requests, "NodeTokenRequest", inside, nodeA, "status", fields{"status": fields{"reason": "X"}}},

	"Role A":                          {roles, "Role", system, v1.ServiceAccountName(nodeA), "", label},
	"RoleBinding A":                   {grants, "RoleBinding", system, v1.ServiceAccountName(nodeA), "", label},
	"the Role of all nodes":           {roles, "Role", inside, v1.SharedNodes, "", label},
	"the RoleBinding of all nodes":    {grants, "RoleBinding", inside, v1.SharedNodes, "", label},
	"the Role of all kubelets":        {roles, "Role", inside, v1.SharedKubelets, "", label},
	"the RoleBinding of all kubelets": {grants, "RoleBinding", inside, v1.SharedKubelets, "", label},
	"Roles of multinic-nodes":         {roles, "Role", inside, newName, "", nil},
	"RoleBindings of multinic-nodes":  {grants, "RoleBinding", inside, newName, "", nil},
	"Roles of default":                {roles, "Role", "default", newName, "", nil},
	"the Role for Jobs":               {roles, "Role", inside, "multinic-credentials-jobs", "", label},
	"the publisher's Role":            {roles, "Role", system, "multinic-viola", "", label},
	"the publisher's RoleBinding":     {grants, "RoleBinding", system, "multinic-viola", "", label},
	"the bridge's ClusterRole":        {clusters, "ClusterRole", "", "multinic-bridge", "", label},
	"ClusterRoles":                    {clusters, "ClusterRole", "", newName, "", fields{"rules": []any{}}},
	"ClusterRoleBindings":             {clusterTo, "ClusterRoleBinding", "", newName, "", nil},
	"users, groups, ServiceAccount A": {gvr("", "v1", "users"), "", "", "x", "", nil},

	"Node A":           {nodes, "Node", "", nodeA, "", noted},
	"status of Node A": {nodes, "Node", "", nodeA, "status", fields{"status": fields{"phase": "Running"}}},
	"Node B":           {nodes, "Node", "", nodeB, "", noted},
	"proxy of Node A":  {nodes, "Node", "", nodeA, "proxy", nil},
	"Nodes":            {nodes, "Node", "", newName, "", nil},

	"a CertificateSigningRequest":                         {csrs, "CertificateSigningRequest", "", "matrix-csr", "", label},
	"CertificateSigningRequests":                          {csrs, "CertificateSigningRequest", "", newName, "", newCSR},
	"approval of a CertificateSigningRequest":             {csrs, "CertificateSigningRequest", "", "matrix-csr", "approval", approved},
	"certificate of a CertificateSigningRequest (status)": {csrs, "CertificateSigningRequest", "", "matrix-csr", "status", approved},
	"signer kubernetes.io/kube-apiserver-client":          {signers, "", "", "kubernetes.io/kube-apiserver-client", "", nil},
	"any signer": {signers, "", "", "", "", nil},

	"a Job of the bridge":                       {jobs, "Job", inside, bridgesJob, "", label},
	"Jobs of multinic-pipelines":                {jobs, "Job", pipelines, newName, "", aJob},
	"a Job of multinic-nodes":                   {jobs, "Job", inside, "matrix-job", "", label},
	"Jobs of multinic-nodes":                    {jobs, "Job", inside, newName, "", aJob},
	"a Pod of multinic-nodes":                   {pods, "Pod", inside, "matrix-pod", "", label},
	"a shell in a Pod of multinic-nodes (exec)": {pods, "Pod", inside, "matrix-pod", "exec", nil},
	"Pods of multinic-nodes":                    {pods, "Pod", inside, newName, "", aPod},
	"Pods of kube-system":                       {pods, "Pod", "kube-system", newName, "", aPod},
	"Deployments of multinic-system":            {gvr("apps", "v1", "deployments"), "Deployment", system, newName, "", aDeployment},
	"CustomResourceDefinition of our objects":   {crds, "CustomResourceDefinition", "", "multinicnodeconfigs.multinic.io", "", label},
	"CustomResourceDefinitions":                 {crds, "CustomResourceDefinition", "", newName, "", nil},
	"admission policy":                          {policy, "ValidatingAdmissionPolicy", "", "multinic-status", "", label},
	"admission policies":                        {policy, "ValidatingAdmissionPolicy", "", newName, "", nil},
	"binding of an admission policy":            {binding, "ValidatingAdmissionPolicyBinding", "", "multinic-status", "", label},
	"bindings of admission policies":            {binding, "ValidatingAdmissionPolicyBinding", "", newName, "", nil},
	"validating webhooks":                       {gvr("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"), "ValidatingWebhookConfiguration", "", newName, "", nil},

	"Events of multinic-nodes":      {events, "Event", inside, newName, "", inNamespace(newEvent, inside)},
	"Events of multinic-system":     {events, "Event", system, newName, "", inNamespace(newEvent, system)},
	"Events of default":             {events, "Event", "default", newName, "", inNamespace(newEvent, "default")},
	"namespace multinic-nodes":      {gvr("", "v1", "namespaces"), "Namespace", "", inside, "", label},
	"namespaces":                    {gvr("", "v1", "namespaces"), "Namespace", "", newName, "", nil},
	"who is somebody (TokenReview)": {gvr("authentication.k8s.io", "v1", "tokenreviews"), "TokenReview", "", "", "", fields{"spec": fields{"token": "x"}}},
	"what may somebody do (SubjectAccessReview)": {gvr("authorization.k8s.io", "v1", "subjectaccessreviews"), "SubjectAccessReview", "", "", "",
		fields{"spec": fields{"user": "x", "nonResourceAttributes": fields{"path": "/x", "verb": "get"}}}},
	"publish by the HTTP door, for a provider": {gvr(v1.Group, v1.Version, "providers"), "", system, "matrix-provider", "", nil},
	"who am I": {gvr("authentication.k8s.io", "v1", "selfsubjectreviews"), "SelfSubjectReview", "", "", "", nil},
}

// paths are what is asked for beside all resources.
var paths = map[string]string{"version of the API server": "/version", "metrics of the API server": "/metrics"}

var approved = fields{"status": fields{"conditions": []any{fields{"type": "Approved", "status": "True", "reason": "X"}}}}

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
func (s *stage) request(how string, who int) (target, error) {
	name := nodeA
	if strings.HasPrefix(how, "B") {
		name = nodeB
	}
	how = how[1:]
	prepare := s.absent
	if how == ", made" {
		prepare = s.waiting
	}
	if err := prepare(name); err != nil {
		return target{}, err
	}
	door, other := v1.DoorJoinToken, v1.DoorKubelet
	if identities[who] == "kubelet of A" {
		door, other = other, door
	}
	if how == " through the other door" {
		door = other
	}
	body := fields{"spec": fields{"door": string(door), "publicKey": publicKey(name)}}
	if how == ", made" {
		body = label
	}
	for k, v := range additions[how] {
		body[k] = v
	}
	return target{requests, "NodeTokenRequest", inside, name, "", body}, nil
}

// publicKey is one of the right length.
func publicKey(name string) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%-32s", name))
}

func plainCodec() runtime.NegotiatedSerializer {
	return serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
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
