package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/gather"
)

// Options are the bridge's options for Jobs.
type Options struct {
	// Execution; "" means ExecutionDaemon.
	Execution Execution
	// Image of the Jobs. The admission policies allow this image only.
	Image string
	// Deadline of a Job, which bounds how long it waits for NICs. 0 means the constant Deadline.
	Deadline time.Duration
}

// jobContainer is the name of a Job's only container.
const jobContainer = "multinicd"

// Deadline is the deadline of a Job if none is given.
const Deadline = 10 * time.Minute

const (
	jobTTL     = time.Hour
	jobBackoff = 6
)

// hostFolders are the parts of the host that a Job sees below /host. The host's own network
// configuration is read and written in /etc; not every host has all of those folders. /run has the
// system bus, and the runtime files of networkd and udev. The rest is only read: who configures the
// network there, the kubelet's --node-ip, what the machine is.
var hostFolders = []struct {
	name, path string
	write      bool
}{
	{"etc", "/etc", true},
	{"run", "/run", true},
	{"state", "/var/lib/multinicd", true},
	{"usr", "/usr", false},
	{"lib", "/lib", false},
	{"proc", "/proc", false},
	{"sys", "/sys", false},
}

// newJob is the Job for a key, on a node. deploy/jobs.yaml allows Pods and Jobs of the namespace
// only in this form: change both.
func newJob(node string, key gather.JobKey, o Options, now time.Time) *batchv1.Job {
	name := Name(node, now)
	labels := labelsOf(node)
	notes := map[string]string{
		v1.NodeNameAnnotation: node, v1.ObjectUIDAnnotation: string(key.UID),
		v1.GenerationAnnotation: strconv.FormatInt(key.Generation, 10), v1.RunAnnotation: key.Run,
	}
	deadline := o.Deadline
	if deadline == 0 {
		deadline = Deadline
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name, Labels: labels, Annotations: notes},
		Spec: batchv1.JobSpec{
			BackoffLimit:            new(int32(jobBackoff)),
			ActiveDeadlineSeconds:   new(int64(deadline.Seconds())),
			TTLSecondsAfterFinished: new(int32(jobTTL.Seconds())),
			PodReplacementPolicy:    new(batchv1.Failed), // never two Pods at once
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				// NICs wait: the Job is tried again until the deadline. After a rollback, a refusal
				// or a wrong command line, the next try would end the same way.
				onExit(batchv1.PodFailurePolicyActionIgnore, v1.ExitWaiting),
				onExit(batchv1.PodFailurePolicyActionFailJob, v1.ExitUsage, v1.ExitRolledBack, v1.ExitRollbackFailed, v1.ExitRefused),
				{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
					{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
				}},
			}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{v1.NodeNameAnnotation: node}},
				Spec:       jobPod(node, name, o.Image),
			},
		},
	}
}

// labelsOf are the labels of a node's Jobs and their Pods. A label value has at most 63 characters.
// A longer name is replaced by its hash.
func labelsOf(node string) map[string]string {
	value := node
	if len(value) > 63 {
		sum := sha256.Sum256([]byte(node))
		value = "sha256-" + hex.EncodeToString(sum[:16])
	}
	return map[string]string{v1.ComponentLabel: v1.ComponentJob, v1.NodeNameLabel: value}
}

func onExit(action batchv1.PodFailurePolicyAction, codes ...int32) batchv1.PodFailurePolicyRule {
	return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
		ContainerName: new(jobContainer), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes,
	}}
}

func jobPod(node, job, image string) corev1.PodSpec {
	p := corev1.PodSpec{
		// past the scheduler: neither a taint nor a lack of room keeps it off
		NodeName:                     node,
		ServiceAccountName:           v1.ServiceAccountName(node),
		AutomountServiceAccountToken: new(false),
		Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		HostNetwork:                  true,
		DNSPolicy:                    corev1.DNSClusterFirstWithHostNet,
		RestartPolicy:                corev1.RestartPolicyNever,
		EnableServiceLinks:           new(false),
		PriorityClassName:            "system-node-critical",
		// a change under way is finished or rolled back
		TerminationGracePeriodSeconds: new(int64(60)),
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: jobContainer, Image: image, Args: []string{"apply", "--wait", "30s"},
			Env: []corev1.EnvVar{
				{Name: "MULTINICD_ROOT", Value: "/host"},
				{Name: "MULTINICD_NODE", Value: node},
				{Name: "MULTINICD_JOB", Value: job},
			},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			SecurityContext: &corev1.SecurityContext{
				RunAsUser: new(int64(0)), RunAsGroup: new(int64(0)), RunAsNonRoot: new(false), Privileged: new(false),
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}},
				// The runtime's AppArmor profile lets nobody speak on the host's system bus.
				// SELinux keeps containers away from the host's files.
				AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
				SELinuxOptions:  &corev1.SELinuxOptions{Type: "spc_t"},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
		}},
		Volumes: []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(v1.TokenLife.Seconds()))}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
		}}}}},
	}
	for _, f := range hostFolders {
		kind := corev1.HostPathDirectory
		if f.name == "state" {
			kind = corev1.HostPathDirectoryOrCreate
		}
		p.Volumes = append(p.Volumes, corev1.Volume{Name: f.name, VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: f.path, Type: &kind}}})
		p.Containers[0].VolumeMounts = append(p.Containers[0].VolumeMounts, corev1.VolumeMount{
			Name: f.name, MountPath: "/host/" + strings.TrimPrefix(f.path, "/"), ReadOnly: !f.write})
	}
	return p
}
