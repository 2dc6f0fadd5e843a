package controlplane

import (
	"net"
	"path/filepath"
)

func (c *Cluster) etcdArgs(peerPort string) []string {
	peer := "http://" + net.JoinHostPort(c.ip, peerPort)
	return []string{
		"--data-dir=" + filepath.Join(c.dir, "etcd"),
		"--listen-client-urls=" + c.etcdAt, "--advertise-client-urls=" + c.etcdAt,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", "--log-level=warn",
	}
}

func (c *Cluster) apiServerArgs(port string) []string {
	in := func(name string) string { return filepath.Join(c.dir, name) }
	return []string{
		"--etcd-servers=" + c.etcdAt,
		"--bind-address=" + c.ip, "--secure-port=" + port, "--advertise-address=" + c.ip, "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + in("apiserver.crt"), "--tls-private-key-file=" + in("apiserver.key"),
		"--client-ca-file=" + in("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + in("sa.pub"), "--service-account-signing-key-file=" + in("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--audit-policy-file=" + in("audit.yaml"), "--audit-log-path=" + in("audit.log"),
		"--audit-log-maxsize=1000000", // MB; by default it begins a new file after 100
		// By default it waits for the endpoints of a service to drain that nobody uses here.
		"--shutdown-delay-duration=0s",
	}
}

func (c *Cluster) controllerManagerArgs(port string, ownCredentials bool) []string {
	in := func(name string) string { return filepath.Join(c.dir, name) }
	kubeconfig, own := in("admin.kubeconfig"), "false"
	if ownCredentials {
		kubeconfig, own = in("kube-controller-manager.kubeconfig"), "true"
	}
	// A quota that is made before the controller knows a CRD, which it looks for every 30 s, is counted at the next of these periods: 5 min by default.
	return []string{
		"--resource-quota-sync-period=5s",
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--use-service-account-credentials=" + own,
		"--service-account-private-key-file=" + in("sa.key"), "--root-ca-file=" + in("ca.crt"),
		"--cluster-signing-cert-file=" + in("ca.crt"), "--cluster-signing-key-file=" + in("ca.key"),
		"--leader-elect=false", "--bind-address=" + c.ip, "--secure-port=" + port, "--cert-dir=" + in("controller-manager-certs"),
	}
}

func (c *Cluster) schedulerArgs(port string) []string {
	kubeconfig := filepath.Join(c.dir, "kube-scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--bind-address=" + c.ip, "--secure-port=" + port, "--cert-dir=" + filepath.Join(c.dir, "scheduler-certs"),
	}
}
