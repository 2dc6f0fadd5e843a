package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the stored version of the API.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version}

// AlphaGroupVersion is the deprecated version that objects in the field carry. The API server
// serves every MultiNicNodeConfig in both versions.
var AlphaGroupVersion = schema.GroupVersion{Group: Group, Version: AlphaVersion}

// NodeConfigs is the resource of MultiNicNodeConfig, for clients that address objects by resource.
var NodeConfigs = GroupVersion.WithResource("multinicnodeconfigs")

// BizConfigs is the resource of MultiNicBizConfig.
var BizConfigs = GroupVersion.WithResource("multinicbizconfigs")

// TokenRequests is the resource of NodeTokenRequest.
var TokenRequests = GroupVersion.WithResource("nodetokenrequests")

// NodeRuns is the resource of MultiNicNodeRun.
var NodeRuns = GroupVersion.WithResource("multinicnoderuns")

// AddToScheme registers the kinds under the stored version only. A scheme that knows one type under
// two versions cannot tell which version to ask for. The error is always nil; the signature is the
// one that scheme builders take.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&MultiNicNodeConfig{}, &MultiNicNodeConfigList{},
		&MultiNicBizConfig{}, &MultiNicBizConfigList{},
		&NodeTokenRequest{}, &NodeTokenRequestList{},
		&MultiNicNodeRun{}, &MultiNicNodeRunList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
