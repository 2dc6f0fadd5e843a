package v1

// Condition types of a MultiNicNodeConfig. No message of a condition carries a time. No condition
// changes while nothing else changes.
const (
	// ConditionReady is True when every NIC is Configured for the object's present generation. It
	// is Unknown when the node is silent, else False.
	ConditionReady = "Ready"
	// ConditionProgressing is True while a change runs or is awaited.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True when something needs a person, although the NICs may still work: a
	// refusal, a failure, a fight with another writer.
	ConditionDegraded = "Degraded"
	// ConditionPublished is there if the object's publisher has set PublisherNoteAnnotation. It is
	// True if the object is as the publisher wants it, else False, and the reason is the publisher's
	// own word. It says nothing about the node.
	ConditionPublished = "Published"
)

// Reasons of the conditions of an object.
const (
	// ReasonAllInterfacesConfigured (Ready): every NIC is as wanted.
	ReasonAllInterfacesConfigured = "AllInterfacesConfigured"
	// ReasonApplying (Ready, Progressing, NIC): the node works on this generation, or has not
	// spoken about it yet.
	ReasonApplying = "Applying"
	// ReasonInterfacesWaiting (Ready): no NIC failed, at least one waits.
	ReasonInterfacesWaiting = "InterfacesWaiting"
	// ReasonInterfacesFailed (Ready, Degraded): at least one NIC was refused or
	// failed.
	ReasonInterfacesFailed = "InterfacesFailed"
	// ReasonNoReport (Ready): no node has ever reported on this object. Is multinicd installed
	// there, and has the node joined?
	ReasonNoReport = "NoReport"
	// ReasonNodeSilent (Ready): the node's Lease has not been renewed for longer than SilentAfter.
	// The state is the last one known.
	ReasonNodeSilent = "NodeSilent"
	// ReasonSettled (Progressing): nothing runs and nothing is awaited.
	ReasonSettled = "Settled"
	// ReasonAsExpected (Degraded): nothing needs a person.
	ReasonAsExpected = "AsExpected"
	// ReasonJobFailed (Ready, Degraded): the Job of this generation failed, and the node has not
	// reported.
	ReasonJobFailed = "JobFailed"
	// ReasonJobStuck (Degraded): the Pod of this generation's Job cannot start, or has failed and
	// is tried again.
	ReasonJobStuck = "JobStuck"
	// ReasonAsPublished (Published): the object is as its publisher wants it. The message may name
	// what is left out on purpose.
	ReasonAsPublished = "AsPublished"
	// ReasonReportRefused (Degraded): the node's report cannot be used. The message says why.
	ReasonReportRefused = "ReportRefused"
)

// bridgeOnly are the reasons that only the bridge gives. Metrics, alerts, the rollout brake and
// `kubectl wait` believe them, so a report with one of them is refused: a node could call itself
// silent, or hide behind a Job that has failed.
var bridgeOnly = map[string]bool{
	ReasonAllInterfacesConfigured: true, ReasonInterfacesWaiting: true, ReasonInterfacesFailed: true, ReasonNoReport: true, ReasonNodeSilent: true,
	ReasonSettled: true, ReasonAsExpected: true, ReasonJobFailed: true, ReasonJobStuck: true, ReasonReportRefused: true,
}

// Reasons of a NIC that is as wanted, waits or is being changed.
const (
	// ReasonConfigured: the kernel has name, addresses, routes and MTU as wanted, and they are
	// written to disk.
	ReasonConfigured = "Configured"
	// ReasonWaitingForNIC: no link of the host has this MAC address yet.
	ReasonWaitingForNIC = "WaitingForNIC"
	// ReasonWaitingForRelease: the rollout brake has not released this
	// generation for the node yet.
	ReasonWaitingForRelease = "WaitingForRelease"
	// ReasonRenameAtReboot: configured, but under its present name. The kernel does not rename a
	// link that is up.
	ReasonRenameAtReboot = "RenameAtReboot"
)

// Reasons of a NIC that was refused. Nothing of the NIC was touched.
const (
	// ReasonProtectedLink: the link carries a default route that is not ours, the way to the API
	// server, or the kubelet's address.
	ReasonProtectedLink = "ProtectedLink"
	// ReasonNotPhysical: the link is virtual, enslaved or made by a CNI plugin.
	ReasonNotPhysical = "NotPhysical"
	// ReasonForeignConfig: a person configured the link, or another link lies
	// on it; `adopt: true` permits multinicd to take it over.
	ReasonForeignConfig = "ForeignConfig"
	// ReasonAddressInUse: a neighbour, or another link of the host, has the
	// address.
	ReasonAddressInUse = "AddressInUse"
	// ReasonCutsAPIPath: the wanted subnet or route would cover the API server, or the primary's
	// gateway, by a longer prefix.
	ReasonCutsAPIPath = "CutsAPIPath"
	// ReasonTableTaken: somebody else uses the NIC's own routing table, or the priority of its
	// rules.
	ReasonTableTaken = "TableTaken"
	// ReasonMTUTooLarge: the link does not take the wanted MTU.
	ReasonMTUTooLarge = "MTUTooLarge"
	// ReasonNameTaken: another link of the host has the wanted name.
	ReasonNameTaken = "NameTaken"
	// ReasonAmbiguousMAC: several links have the MAC address.
	ReasonAmbiguousMAC = "AmbiguousMAC"
	// ReasonInvalidSpec: the object, or one NIC in it, does not pass Validate.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNotSupported: the host, or its backend, cannot do what is wanted.
	ReasonNotSupported = "NotSupported"
	// ReasonSubnetConflict: the subnet overlaps one that is not ours.
	ReasonSubnetConflict = "SubnetConflict"
)

// Reasons of a NIC, or of a whole change, that failed.
const (
	// ReasonApplyFailed: a step failed. The outcome says whether anything had been changed.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonValidationFailed: the host's own tool refused the file to be written. What had been
	// changed before was undone.
	ReasonValidationFailed = "ValidationFailed"
	// ReasonVerificationFailed: after the change the kernel did not show what is wanted. The change
	// was undone.
	ReasonVerificationFailed = "VerificationFailed"
	// ReasonProbeFailed: a probe that passed before the change failed after it. The change was
	// undone.
	ReasonProbeFailed = "ProbeFailed"
	// ReasonRolledBack: the change failed and the host is as it was before.
	ReasonRolledBack = "RolledBack"
	// ReasonRollbackFailed: the change failed, and undoing the change failed too. A person must
	// look.
	ReasonRollbackFailed = "RollbackFailed"
	// ReasonChangeCrashed: the change ended the daemon more than once. It is not tried again until
	// the object changes.
	ReasonChangeCrashed = "ChangeCrashed"
	// ReasonDriftFighting: another writer keeps changing the NIC. multinicd makes no repairs for a
	// while.
	ReasonDriftFighting = "DriftFighting"
)

// Reasons of a whole node.
const (
	// ReasonIdentityMismatch: the object's instanceId is not the instance of this host. Nothing was
	// touched.
	ReasonIdentityMismatch = "IdentityMismatch"
	// ReasonIdentityUnverified: nothing on this host can be compared with the object's instanceId.
	// The object is neither refused nor Degraded: this is a note (Remark.IsNote).
	ReasonIdentityUnverified = "IdentityUnverified"
	// ReasonHeldBack: somebody rolled the node back by hand. The configuration before the object's
	// present one is in force until the object changes.
	ReasonHeldBack = "HeldBack"
	// ReasonCleanupRefused: the cluster asked for a cleanup, and the node's own configuration says
	// that the cluster's word is not enough. The NICs stay as they are. The node is Degraded until the
	// object changes, or a trigger comes.
	ReasonCleanupRefused = "CleanupRefused"
	// ReasonNoBackend: no network manager that multinicd can speak to owns the host's networking.
	ReasonNoBackend = "NoBackend"
	// ReasonClockSkew: the host's clock and the API server's clock are more than two minutes apart.
	// The node is Degraded, not refused.
	ReasonClockSkew = "ClockSkew"
	// ReasonJoinNeeded: the API server no longer takes the node's token, and the node cannot get
	// another by itself. Only the node itself says so, because it can tell nobody else.
	ReasonJoinNeeded = "JoinNeeded"
)

// ReasonRetained (report, and each NIC of it): the object was deleted. The NICs stay as they are,
// because the node has on_delete = "retain".
const ReasonRetained = "Retained"

// ReasonRemoved (NIC): the node gave the NIC back although the object still wants it. Somebody ran
// `multinicd cleanup` there.
const ReasonRemoved = "Removed"

// WaitingForReleaseMessage is the message of ReasonWaitingForRelease, on the node and in the
// bridge.
const WaitingForReleaseMessage = "the rollout has not released this generation for the node yet"
