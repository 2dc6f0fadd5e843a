package host

type claimCache struct{}
