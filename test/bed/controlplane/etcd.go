package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Stored is what etcd has of a kind.
type Stored struct{ Keys, Bytes int } // values, without keys and earlier revisions

// Stored asks etcd itself, by its JSON gateway. Kinds are called as in its keys: "multinicnodeconfigs", "configmaps", "minions".
func (c *Cluster) Stored(ctx context.Context) (map[string]Stored, error) {
	type request struct {
		Key      []byte `json:"key"`
		RangeEnd []byte `json:"range_end"`
		Limit    int    `json:"limit"`
	}
	all := map[string]Stored{}
	for q := (request{[]byte("/registry/"), []byte("/registry0"), 100}); ; {
		body, err := json.Marshal(q)
		if err != nil {
			return nil, fmt.Errorf("asking etcd: %w", err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcdAt+"/v3/kv/range", bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("asking etcd: %w", err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, fmt.Errorf("asking etcd: %w", err)
		}
		var page struct {
			KVs []struct {
				Key   []byte `json:"key"`
				Value []byte `json:"value"`
			} `json:"kvs"`
			More bool `json:"more"`
		}
		err = json.NewDecoder(answer.Body).Decode(&page)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("asking etcd: %s, %w", answer.Status, err)
		}
		for _, kv := range page.KVs {
			kind := kindOf(string(kv.Key))
			s := all[kind]
			all[kind] = Stored{s.Keys + 1, s.Bytes + len(kv.Value)}
			q.Key = append(kv.Key, 0)
		}
		if !page.More {
			return all, nil
		}
	}
}

// kindOf is the first part of a key that is not the name of a group.
func kindOf(key string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(key, "/registry/"), "/") {
		if !strings.Contains(part, ".") {
			return part
		}
	}
	return key
}
