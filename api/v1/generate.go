package v1

//go:generate go tool -modfile=../../tools/generate/go.mod controller-gen object paths=.
//go:generate go tool -modfile=../../tools/generate/go.mod controller-gen crd paths=. output:crd:dir=../../charts/multinic/files/crds
//go:generate go -C ../../tools/generate run ./alpha ../../charts/multinic/files/crds multinicnodeconfigs.multinic.io
