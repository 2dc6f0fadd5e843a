package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the stored version of the API.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version}

// AlphaGroupVersion is the deprecated version that objects in the field carry.
// The API server serves every object in both.
var AlphaGroupVersion = schema.GroupVersion{Group: Group, Version: AlphaVersion}

// NodeConfigs is the resource of MultiNicNodeConfig, for clients that speak in
// resources.
var NodeConfigs = GroupVersion.WithResource("multinicnodeconfigs")

// BizConfigs is the resource of MultiNicBizConfig.
var BizConfigs = GroupVersion.WithResource("multinicbizconfigs")

// AddToScheme registers the kinds under both versions.
func AddToScheme(s *runtime.Scheme) error {
	for _, gv := range []schema.GroupVersion{GroupVersion, AlphaGroupVersion} {
		s.AddKnownTypes(gv,
			&MultiNicNodeConfig{}, &MultiNicNodeConfigList{},
			&MultiNicBizConfig{}, &MultiNicBizConfigList{})
		metav1.AddToGroupVersion(s, gv)
	}
	return nil
}
