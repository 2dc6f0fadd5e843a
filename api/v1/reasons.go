package v1

// Condition types of a MultiNicNodeConfig. None of them carries a time in its
// message, and none flaps while nothing changes.
const (
	// ConditionReady is True when every NIC is Configured for the object's
	// present generation, Unknown when the node is silent, else False.
	ConditionReady = "Ready"
	// ConditionProgressing is True while a change runs or is awaited.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True when something needs a person although it may
	// still work: a refusal, a failure, a fight with another writer.
	ConditionDegraded = "Degraded"
)

// Reasons of the conditions of an object.
const (
	// ReasonAllInterfacesConfigured (Ready): every NIC is as wanted.
	ReasonAllInterfacesConfigured = "AllInterfacesConfigured"
	// ReasonApplying (Ready, Progressing, NIC): the node is at work on this
	// generation, or has not spoken about it yet.
	ReasonApplying = "Applying"
	// ReasonInterfacesWaiting (Ready): no NIC failed, at least one waits.
	ReasonInterfacesWaiting = "InterfacesWaiting"
	// ReasonInterfacesFailed (Ready, Degraded): at least one NIC was refused or
	// failed.
	ReasonInterfacesFailed = "InterfacesFailed"
	// ReasonNoReport (Ready): no node has ever reported on this object; is
	// multinicd installed there, and joined?
	ReasonNoReport = "NoReport"
	// ReasonNodeSilent (Ready): the node's Lease has not been renewed for
	// longer than SilentAfter; its state is the last one known.
	ReasonNodeSilent = "NodeSilent"
	// ReasonSettled (Progressing): nothing runs and nothing is awaited.
	ReasonSettled = "Settled"
	// ReasonAsExpected (Degraded): nothing needs a person.
	ReasonAsExpected = "AsExpected"
	// ReasonJobFailed (Ready, Degraded): the Job of this generation failed, and the
	// node has not reported.
	ReasonJobFailed = "JobFailed"
	// ReasonJobStuck (Degraded): the Pod of the Job of this generation cannot
	// start, or has failed and is tried again.
	ReasonJobStuck = "JobStuck"
	// ReasonReportRefused (Degraded): what stands in the node's report cannot be
	// used; the message says why.
	ReasonReportRefused = "ReportRefused"
)

// Reasons of a NIC that is as wanted, waits or is under way.
const (
	// ReasonConfigured: name, addresses, routes and MTU read back as wanted,
	// and persisted.
	ReasonConfigured = "Configured"
	// ReasonWaitingForNIC: no link of the host has this MAC address yet.
	ReasonWaitingForNIC = "WaitingForNIC"
	// ReasonWaitingForRelease: the rollout brake has not released this
	// generation for the node yet.
	ReasonWaitingForRelease = "WaitingForRelease"
	// ReasonRenameAtReboot: configured, but under its present name: the kernel
	// does not rename a link that is up.
	ReasonRenameAtReboot = "RenameAtReboot"
)

// Reasons of a NIC that was refused: nothing of it was touched.
const (
	// ReasonProtectedLink: the link carries a default route that is not ours,
	// or the way to the API server, or the kubelet's address.
	ReasonProtectedLink = "ProtectedLink"
	// ReasonNotPhysical: the link is virtual, enslaved or made by a CNI plugin.
	ReasonNotPhysical = "NotPhysical"
	// ReasonForeignConfig: somebody else configured the link; `adopt: true`
	// permits multinicd to take it over.
	ReasonForeignConfig = "ForeignConfig"
	// ReasonAddressInUse: a neighbour, or another link of the host, has the
	// address.
	ReasonAddressInUse = "AddressInUse"
	// ReasonCutsAPIPath: the wanted subnet or route would cover the API server,
	// or the primary's gateway, by a longer prefix.
	ReasonCutsAPIPath = "CutsAPIPath"
	// ReasonTableTaken: the NIC's own routing table, or the priority of its rules,
	// is in use by somebody else.
	ReasonTableTaken = "TableTaken"
	// ReasonMTUTooLarge: the link does not take the wanted MTU.
	ReasonMTUTooLarge = "MTUTooLarge"
	// ReasonNameTaken: another link of the host has the wanted name.
	ReasonNameTaken = "NameTaken"
	// ReasonAmbiguousMAC: several links have the MAC address.
	ReasonAmbiguousMAC = "AmbiguousMAC"
	// ReasonInvalidSpec: the object does not pass Validate. Of a NIC, or of the
	// whole object.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNotSupported: the host, or its backend, cannot do what is wanted.
	ReasonNotSupported = "NotSupported"
	// ReasonSubnetConflict: the subnet overlaps one that is not ours.
	ReasonSubnetConflict = "SubnetConflict"
)

// Reasons of a NIC, or of a whole change, that failed.
const (
	// ReasonApplyFailed: a step failed. The outcome says whether anything had been
	// changed.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonValidationFailed: the host's own tool refused the file to be
	// written; what had been changed before was undone.
	ReasonValidationFailed = "ValidationFailed"
	// ReasonVerificationFailed: after the change the kernel did not read back
	// as wanted; the change was undone.
	ReasonVerificationFailed = "VerificationFailed"
	// ReasonProbeFailed: after the change a probe failed that passed before;
	// the change was undone.
	ReasonProbeFailed = "ProbeFailed"
	// ReasonRolledBack: the change failed and the host is as it was before.
	ReasonRolledBack = "RolledBack"
	// ReasonRollbackFailed: the change failed and so did its undoing; a person
	// must look.
	ReasonRollbackFailed = "RollbackFailed"
	// ReasonChangeCrashed: the change ended the daemon more than once and is not
	// tried again until the object changes.
	ReasonChangeCrashed = "ChangeCrashed"
	// ReasonDriftFighting: another writer keeps changing the NIC; multinicd
	// stands back for a while.
	ReasonDriftFighting = "DriftFighting"
)

// Reasons of a whole node.
const (
	// ReasonIdentityMismatch: the object's instanceId is not this host's;
	// nothing was touched.
	ReasonIdentityMismatch = "IdentityMismatch"
	// ReasonIdentityUnverified: nothing on this host can be compared with the
	// object's instanceId. Not refused, nor Degraded: a note (Remark.IsNote).
	ReasonIdentityUnverified = "IdentityUnverified"
	// ReasonHeldBack: somebody rolled the node back by hand, and the configuration
	// before the object's present one is in force until that changes.
	ReasonHeldBack = "HeldBack"
	// ReasonNoBackend: nobody on the host owns networking in a way that
	// multinicd can speak to.
	ReasonNoBackend = "NoBackend"
	// ReasonClockSkew: the host's clock and the API server's are more than two
	// minutes apart. Degraded, not refused.
	ReasonClockSkew = "ClockSkew"
	// ReasonJoinNeeded: the API server takes the node's token no more, and the
	// node cannot get another by itself. Said on the node alone, since it can
	// tell nobody else.
	ReasonJoinNeeded = "JoinNeeded"
)

// ReasonRetained (report, and each NIC of it): the object was deleted, and the
// NICs stay as they are, since the node has on_delete = "retain".
const ReasonRetained = "Retained"

// ReasonRemoved (NIC): the node gave the NIC back, although the object still
// wants it: somebody ran `multinicd cleanup` there.
const ReasonRemoved = "Removed"

// WaitingForReleaseMessage goes with ReasonWaitingForRelease, on both sides.
const WaitingForReleaseMessage = "the rollout has not released this generation for the node yet"
