package v1

const (
	// Group and Version name the API as it is stored. AlphaVersion is the older version, which is
	// still served.
	Group        = "multinic.io"
	Version      = "v1"
	AlphaVersion = "v1alpha1"

	// NodeConfigKind, BizConfigKind, TokenRequestKind and NodeRunKind are the kinds
	// of the group.
	NodeConfigKind   = "MultiNicNodeConfig"
	BizConfigKind    = "MultiNicBizConfig"
	TokenRequestKind = "NodeTokenRequest"
	NodeRunKind      = "MultiNicNodeRun"

	// SystemNamespace holds the objects that publishers write, and the bridge.
	SystemNamespace = "multinic-system"

	// NodesNamespace holds what belongs to the nodes: ServiceAccounts, reports, Leases, Jobs. The
	// nodes have a namespace of their own because the API server reads all RoleBindings of a
	// namespace for each request in it.
	NodesNamespace = "multinic-nodes"

	// SharedNodes is the Role and RoleBinding in NodesNamespace that give all ServiceAccounts of it
	// what nodes write. SharedKubelets give all kubelets what joining takes. By RBAC alone they are
	// good for the things of every node: the admission policies hold each to its own.
	SharedNodes    = "multinic-nodes"
	SharedKubelets = "multinic-kubelets"

	// NodeNameLabel carries the node name, if the name has at most 63 characters. A label value
	// cannot be longer.
	NodeNameLabel = "multinic.io/node-name"

	// InstanceIDLabel carries the OpenStack instance of the node.
	InstanceIDLabel = "multinic.io/instance-id"

	// ComponentLabel marks what the bridge made, with one of the values below. The bridge's caches
	// hold nothing that lacks the label.
	ComponentLabel  = "multinic.io/component"
	ComponentReport = "report"
	ComponentLease  = "lease"
	ComponentNode   = "node" // a node's identity and its rights
	ComponentJoin   = "join" // what a machine has until it has joined
	ComponentJob    = "job"  // a Job, and its Pods

	// ExecutionAnnotation on a MultiNicNodeConfig says daemon, job or auto for that node. It counts
	// only where the bridge may make Jobs at all.
	ExecutionAnnotation = "multinic.io/execution"

	// PublisherLabel on a MultiNicNodeConfig names the publisher to which the object belongs. Nobody
	// of internal/publish changes an object with another name, or with none.
	PublisherLabel = "multinic.io/publisher"

	// HandOverAnnotation on a MultiNicNodeConfig names the publisher that shall have the object from
	// now on. Whoever owns the object sets the annotation, and the new owner removes it.
	HandOverAnnotation = "multinic.io/hand-over-to"

	// MigratedAnnotation on a MultiNicNodeConfig names the publisher to which the object belonged
	// until `multinic-bridge migrate run`. `migrate rollback` gives the object back to it.
	MigratedAnnotation = "multinic.io/migrated-from"

	// ReservedIDsAnnotation on a MultiNicNodeConfig has the ids that NICs had which are gone from
	// the object, as JSON. internal/publish writes it.
	ReservedIDsAnnotation = "multinic.io/reserved-ids"

	// PublisherIntake is the publisher behind the HTTP door, as the label names it. It is also its
	// field manager in server-side apply, and its ServiceAccount in SystemNamespace.
	PublisherIntake = "multinic-intake"

	// PublisherOpenStack is the publisher that reads Neutron's ports, as the label names it. It is
	// also its field manager in server-side apply, and its ServiceAccount in SystemNamespace.
	PublisherOpenStack = "multinic-openstack"

	// PublisherLegacy is the publisher of the older object, MultiNicBizConfig, as the label names it.
	// It is also its field manager in server-side apply, and its ServiceAccount in SystemNamespace.
	PublisherLegacy = "multinic-legacy"

	// PrimaryPortAnnotation on a MultiNicNodeConfig has the ids of the ports by which the node has
	// its own address, separated by commas. PublisherOpenStack writes it, and never manages them.
	PrimaryPortAnnotation = "multinic.io/primary-port"

	// ConfirmRemovalsAnnotation on a MultiNicNodeConfig releases the removals that
	// PublisherOpenStack holds. Its value is the word that the publisher gives with them.
	ConfirmRemovalsAnnotation = "multinic.io/confirm-removals"

	// PublisherNoteAnnotation on a MultiNicNodeConfig is how its publisher gets on with the object: a
	// reason in one word, or that word, ": " and a message. The bridge makes the condition Published
	// of it. Any publisher may set it; PublisherOpenStack does.
	PublisherNoteAnnotation = "multinic.io/publisher-note"

	// EnabledTag on a port of OpenStack gives the port to multinicd. IDTag and a number is the id
	// that the port's NIC shall have.
	EnabledTag = "multinic.io/enabled"
	IDTag      = "multinic.io/id="

	// IntakeAudience is the audience of the tokens that the HTTP door takes. The API server takes no
	// token of this audience.
	IntakeAudience = "multinic-intake"

	// ReadyLabel on a Node says "true", "false" or "unknown", as the condition Ready of the node's
	// object does. The bridge keeps the label only where it was told to.
	ReadyLabel = "multinic.io/ready"

	// GuardedReadyLabel on a Node says the same as ReadyLabel. A kubelet can give its own Node the
	// other label, but not this one: the API server's NodeRestriction reserves the prefix.
	GuardedReadyLabel = "node-restriction.kubernetes.io/multinic-ready"

	// ObjectUIDAnnotation, GenerationAnnotation and RunAnnotation on a Job say what the Job works
	// on.
	ObjectUIDAnnotation  = "multinic.io/object-uid"
	GenerationAnnotation = "multinic.io/generation"
	RunAnnotation        = "multinic.io/run"

	// NodeNameAnnotation carries the whole node name on what the bridge made.
	NodeNameAnnotation = "multinic.io/node-name"

	// ReplaceAnnotation on the ServiceAccount JoinAccountName says "true" if its token may replace
	// a machine that has already joined.
	ReplaceAnnotation = "multinic.io/replace"

	// ExpiresAnnotation on the same ServiceAccount says when its token ends, as RFC 3339.
	ExpiresAnnotation = "multinic.io/expires"

	// BlockedName is the ConfigMap in NodesNamespace with the nodes that an administrator has
	// blocked: each is a key, and its value is since when (RFC 3339). Only administrators write it.
	BlockedName = "multinic-blocked"

	// ReportKey is the one key of a report ConfigMap.
	ReportKey = "report.json"

	// BridgeAccount is the ServiceAccount in SystemNamespace by which the bridge writes statuses.
	// Events about the bridge as a whole are about it, too.
	BridgeAccount = "multinic-bridge"

	// CredentialsAccount is the ServiceAccount in SystemNamespace by which the bridge makes the
	// identities and tokens of nodes, and their Jobs.
	CredentialsAccount = "multinic-credentials"

	// BridgeFieldOwner is the bridge's field manager in server-side apply, by either account.
	BridgeFieldOwner = "multinic-bridge"

	// MaxNodeName bounds a node name in bytes, so that a prefix and the name together are still a
	// valid object name.
	MaxNodeName = 200

	// MaxInterfaces bounds the NICs of one object and of one report.
	MaxInterfaces = 64
)

// ReadyLabels are the labels of a Node that the bridge keeps where it was told to.
var ReadyLabels = [...]string{ReadyLabel, GuardedReadyLabel}

// ReportName is the ConfigMap in NodesNamespace into which the node writes its report.
func ReportName(node string) string { return "multinic-report-" + node }

// LeaseName is the Lease in NodesNamespace that the node renews.
func LeaseName(node string) string { return "multinic-" + node }

// ServiceAccountName is the identity of the node in NodesNamespace. The Role and RoleBinding of the
// node have the same name: in SystemNamespace, and in NodesNamespace while there is no SharedNodes.
// A node without a Node object has its tokens bound to an empty Secret of that name instead.
func ServiceAccountName(node string) string { return "multinic-node-" + node }

// JoinAccountName is an identity in NodesNamespace that can only make and read the node's
// NodeTokenRequest. Its Role and RoleBinding have the same name. Its tokens are bound to an empty
// Secret of that name.
func JoinAccountName(node string) string { return "multinic-join-" + node }
