package openstack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// endRule is the path of the access rule by which an application credential may read itself. Without
// it nobody says when the credential ends.
const endRule = "/v3/users/*/application_credentials/*"

// ending is until when a credential is good.
type ending struct {
	by  bool      // it is an application credential: others do not know when they end
	at  time.Time // zero: never, or not known
	err error     // why it is not known
}

// endOf asks Keystone when the application credential ends by which the token was given.
func endOf(ctx context.Context, provider *gophercloud.ProviderClient) ending {
	result, ok := provider.GetAuthResult().(tokens.CreateResult)
	var token struct {
		User       struct{ ID string }
		Credential struct{ ID string } `json:"application_credential"`
	}
	if !ok || result.ExtractIntoStructPtr(&token, "token") != nil || token.User.ID == "" || token.Credential.ID == "" {
		return ending{}
	}
	again := provider.ReauthFunc
	provider.ReauthFunc = nil // 401 means that the access rules do not have the path
	defer func() { provider.ReauthFunc = again }()
	keystone := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: provider.IdentityBase + "v3/"}
	c, err := applicationcredentials.Get(ctx, keystone, token.User.ID, token.Credential.ID).Extract()
	if err == nil && c == nil { // gophercloud takes {} for an answer
		err = errors.New("the answer has no credential")
	}
	if err != nil {
		return ending{true, time.Time{}, fmt.Errorf("asking when the application credential ends: %w", brief(err))}
	}
	return ending{true, c.ExpiresAt, nil}
}

// firstEnd is when the first credential of these clouds ends; zero if none is known to end.
func firstEnd(clouds []*cloud) time.Time {
	var first time.Time
	for _, c := range clouds {
		if at := c.ends.at; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
