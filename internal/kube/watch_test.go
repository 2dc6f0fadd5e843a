package kube

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func wantTold(t *testing.T, w *watching, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.told()); diff != "" {
		t.Errorf("told: -want +got:\n%s", diff)
	}
}

func wantAsked(t *testing.T, api *fakeAPI, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, api.requests()); diff != "" {
		t.Errorf("asked: -want +got:\n%s", diff)
	}
}

func TestWatchTellsTheObjectItsChangesAndItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		s := &stream{events: make(chan string)}
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			s.serve(w, r)
		})
		w := watch(t, api.client())
		wantTold(t, w, "generation 3")
		o := w.last()
		if o.Object.Spec.NodeName != "node-a" || o.Object.ManagedFields != nil || o.Contact.IsZero() {
			t.Errorf("got %+v", o)
		}
		s.events <- event("MODIFIED", object(11, ""))
		s.events <- bookmark(12)
		s.events <- event("DELETED", object(13, ""))
		s.events <- event("ADDED", object(14, ""))
		wantTold(t, w, "generation 3", "generation 11", "absent", "generation 14")
		after(time.Second)
		wantAsked(t, api, "list", "watch 10")
	})
}

func TestWatchTellsTheStartOfTheWatchToTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var got *http.Request
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			got = r
			hold(w, r)
		})
		watch(t, api.client())
		synctest.Wait()
		want := "allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnode-a&resourceVersion=10&timeoutSeconds=202&watch=true"
		if got.URL.RawQuery != want {
			t.Errorf("got the query %s, want %s", got.URL.RawQuery, want)
		}
		if got.ProtoMajor != 2 || got.Header.Get("User-Agent") != "multinicd/1.2.3" || got.Header.Get("Authorization") != "Bearer secret-1" {
			t.Errorf("got %s with %v", got.Proto, got.Header)
		}
	})
}

func TestWatchBelievesAbsenceOnEvidenceOnly(t *testing.T) {
	tests := map[string]struct {
		get  http.HandlerFunc
		told string
	}{
		"an empty list and a NotFound that names the object": {
			func(w http.ResponseWriter, _ *http.Request) { notFound(w) }, "absent"},
		"an empty list although the object is there": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, object(5, "")) }, "generation 5"},
		"an empty list and a 404 that knows no such path": {
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404 page not found", http.StatusNotFound) }, "NotServed"},
		"an empty list and a NotFound that names nothing": {
			func(w http.ResponseWriter, _ *http.Request) {
				status(w, http.StatusNotFound, "NotFound", `,"details":{}`)
			}, "NotServed"},
		"an empty list and a server that fails": {
			func(w http.ResponseWriter, _ *http.Request) { status(w, 500, "InternalError", "") }, "Server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case isWatch(r):
						hold(w, r)
					case isList(r):
						_, _ = io.WriteString(w, listOf(7))
					default:
						tt.get(w, r)
					}
				})
				w := watch(t, api.client())
				wantTold(t, w, tt.told)
			})
		})
	}
}

func TestWatchTellsErrorsByClassAndTheirEnd(t *testing.T) {
	tests := map[string]struct {
		fault   http.HandlerFunc
		class   Class
		retryIn time.Duration // half the ceiling of the first try, plus Retry-After
		message string
	}{
		"a list that never answers": {
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			Unreachable, 10*time.Second + 500*time.Millisecond, "no whole answer within 10 s"},
		"a list that comes byte by byte": {
			func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, " ")
					flush(w)
					select {
					case <-time.After(time.Second):
					case <-r.Context().Done():
					}
				}
			}, Unreachable, 10*time.Second + 500*time.Millisecond, "no whole answer within 10 s"},
		"a server that asks for patience": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "30")
				status(w, 429, "TooManyRequests", "")
			}, Throttled, 30*time.Second + 500*time.Millisecond, "it is TooManyRequests"},
		"a server that asks for patience until a date, by a clock of its own": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
				w.Header().Set("Retry-After", "Wed, 21 Oct 2015 07:28:40 GMT")
				status(w, 429, "TooManyRequests", "")
			}, Throttled, 40*time.Second + 500*time.Millisecond, "it is TooManyRequests"},
		"a server that asks for patience until a date that has passed": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
				status(w, 429, "TooManyRequests", "")
			}, Throttled, 500 * time.Millisecond, "it is TooManyRequests"},
		"a server that asks for patience in no language": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "-5 minutes")
				status(w, 503, "ServiceUnavailable", "")
			}, Server, 500 * time.Millisecond, "it is ServiceUnavailable"},
		"a server that asks for patience in its Status": {
			func(w http.ResponseWriter, _ *http.Request) {
				status(w, 503, "ServiceUnavailable", `,"details":{"retryAfterSeconds":7}`)
			}, Server, 7*time.Second + 500*time.Millisecond, "it is ServiceUnavailable"},
		"a token without rights": {
			func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "") },
			Forbidden, 500 * time.Millisecond, "it is Forbidden"},
		"a server without the CRD": {
			func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
			NotServed, 500 * time.Millisecond, "404 Not Found"},
		"a page of HTML": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>sign in</html>") },
			Unexpected, 500 * time.Millisecond, "not the answer of an API server"},
		"a list that is cut off": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, listOf(10, object(3, ""))[:80]) },
			Unexpected, 500 * time.Millisecond, "unexpected end of JSON input"},
		"a list of another node": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, listOf(10, strings.ReplaceAll(object(3, ""), "node-a", "node-b")))
			}, Unexpected, 500 * time.Millisecond, `an object named "node-b"`},
		"an answer without end": {
			func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}, Unexpected, 500 * time.Millisecond, "larger than"},
		"a redirect, which nobody follows with our token": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
			}, Unexpected, 500 * time.Millisecond, "302 Found"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				fail := true
				api.answers(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case isWatch(r):
						hold(w, r)
					case fail:
						fail = false
						tt.fault(w, r)
					default:
						_, _ = io.WriteString(w, listOf(10, object(3, "")))
					}
				})
				w := watch(t, api.client())
				after(time.Minute)
				wantTold(t, w, string(tt.class), "generation 3")
				wantAsked(t, api, "list", "list", "watch 10")
				if got := api.times()[1]; got != tt.retryIn {
					t.Errorf("asked again after %s, want %s", got, tt.retryIn)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if got := w.seen[0].Err.Error(); !strings.HasPrefix(got, "listing multinicnodeconfig node-a: ") || !strings.Contains(got, tt.message) {
					t.Errorf("got the message %q, want %q in it", got, tt.message)
				}
			})
		})
	}
}

func TestWatchGoesOnWhereAWatchEnded(t *testing.T) {
	tests := map[string]struct {
		end   http.HandlerFunc // the first watch
		asked []string
		told  []string
	}{
		"the server ends it": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, event("MODIFIED", object(11, ""))+bookmark(12))
			},
			[]string{"list", "watch 10", "watch 12"}, []string{"generation 3", "generation 11"}},
		"it is cut in an event": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, event("MODIFIED", object(11, ""))+event("MODIFIED", object(12, ""))[:50])
				flush(w)
				panic(http.ErrAbortHandler)
			},
			[]string{"list", "watch 10", "watch 11"}, []string{"generation 3", "generation 11"}},
		"it ends in an event as if in good order": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, event("MODIFIED", object(11, ""))+event("MODIFIED", object(12, ""))[:50])
			},
			[]string{"list", "watch 10", "watch 11"}, []string{"generation 3", "generation 11"}},
		"the version is too old, by status": {
			func(w http.ResponseWriter, _ *http.Request) { status(w, 410, "Expired", "") },
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "generation 3"}},
		"the version is too old, by event": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, event("ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410}`))
			},
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "generation 3"}},
		"the version is of a future that a restore undid": {
			func(w http.ResponseWriter, _ *http.Request) {
				status(w, 504, "Timeout", `,"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}]}`)
			},
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "generation 3"}},
		"garbage comes": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "Unexpected", "generation 3"}},
		"an event of an unknown kind comes": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, event("SURPRISE", object(11, "")))
			},
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "Unexpected", "generation 3"}},
		"an event without end comes": {
			func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, `{"type":"`)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
						return
					}
				}
			},
			[]string{"list", "watch 10", "list", "watch 10"}, []string{"generation 3", "Unexpected", "generation 3"}},
		"the watch is refused": {
			func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "") },
			[]string{"list", "watch 10", "watch 10"}, []string{"generation 3", "Forbidden", "generation 3"}},
		"no head comes": {
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			[]string{"list", "watch 10", "watch 10"}, []string{"generation 3", "Unreachable", "generation 3"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				first := true
				api.answers(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case isList(r):
						_, _ = io.WriteString(w, listOf(10, object(3, "")))
					case first:
						first = false
						tt.end(w, r)
					default:
						hold(w, r)
					}
				})
				w := watch(t, api.client())
				after(30 * time.Second)
				wantTold(t, w, tt.told...)
				wantAsked(t, api, tt.asked...)
			})
		})
	}
}

func TestWatchEndsOneThatTheServerNeverEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			// One event, a byte a minute.
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				flush(w)
				select {
				case <-time.After(time.Minute):
				case <-r.Context().Done():
				}
			}
		})
		w := watch(t, api.client())
		after(15 * time.Minute)
		wantTold(t, w, "generation 3")
		wantAsked(t, api, "list", "watch 10", "watch 10", "watch 10", "watch 10")
	})
}

func TestNoWatchOutlivesARevokedTokenByMoreThanFiveMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		var opened, closed time.Time
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			if opened.IsZero() {
				opened = time.Now()
				hold(w, r)
				closed = time.Now()
				return
			}
			status(w, 401, "Unauthorized", "")
		})
		c := api.client()
		c.jitter = func() float64 { return 0.999 }
		watch(t, c)
		after(10 * time.Minute)
		if lasted := closed.Sub(opened); lasted < time.Minute || lasted > 5*time.Minute {
			t.Errorf("the watch lasted %s", lasted)
		}
	})
}

func TestWatchNoticesThatTheNetworkIsGoneAndBack(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		s := &stream{events: make(chan string, 1)}
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			s.serve(w, r)
		})
		c := api.client()
		w := watch(t, c)
		after(2 * time.Minute)
		api.set(func() { api.frozen = true })
		after(10 * time.Second)
		wantTold(t, w, "generation 3")
		after(25 * time.Second)
		wantTold(t, w, "generation 3", "Unreachable")

		after(time.Hour)
		api.set(func() { api.frozen = false })
		back := time.Since(api.began)
		after(30 * time.Second)
		if got := w.last(); brief(got) != "generation 3" {
			t.Errorf("30 s after the network came back: got %s", brief(got))
		}
		t.Logf("back after %s", api.times()[len(api.times())-1]-back)
		s.events <- event("MODIFIED", object(11, ""))
		if got := w.last(); brief(got) != "generation 11" {
			t.Errorf("after a change: got %s", brief(got))
		}
	})
}

func TestWatchDoesNotHammerAServerThatIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.set(func() { api.down = errors.New("connection refused") })
		c := api.client()
		w := watch(t, c)
		after(time.Hour)
		// One each 15 s, the middle of 30, and a few more at the beginning.
		api.mu.Lock()
		dials := api.dials
		api.mu.Unlock()
		if dials < 230 || dials > 250 {
			t.Errorf("dialled %d times in an hour, want 240", dials)
		}
		if got := w.last(); ClassOf(got.Err) != Unreachable || !got.Contact.IsZero() || !strings.Contains(got.Err.Error(), "connection refused") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWatchAsksRefusingServersSeldom(t *testing.T) {
	for code, most := range map[int]int{403: 125, 429: 40, 500: 245} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(func(w http.ResponseWriter, _ *http.Request) { status(w, code, "No", "") })
				watch(t, api.client())
				after(time.Hour)
				if got := len(api.times()); got > most || got < 10 {
					t.Errorf("asked %d times in an hour, want at most %d", got, most)
				}
			})
		})
	}
}

func TestWatchTriesAgainAtOnceWithANewToken(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != "Bearer secret-22":
				status(w, 401, "Unauthorized", "")
			case isWatch(r):
				hold(w, r)
			default:
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
			}
		})
		w := watch(t, api.client())
		after(10 * time.Minute)
		if got := w.last(); ClassOf(got.Err) != Unauthorized || !got.Contact.IsZero() {
			t.Errorf("got %+v", got)
		}
		api.write("token", "secret-22\n")
		after(3 * time.Second)
		if got := w.last(); brief(got) != "generation 3" {
			t.Errorf("3 s after the token was renewed: got %s", brief(got))
		}
	})
}

func TestReconnectEndsBackoffAndCutsWhatStands(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, "")))
				return
			}
			hold(w, r)
		})
		c := api.client()
		w := watch(t, c)
		after(time.Minute)
		c.Reconnect()
		synctest.Wait()
		wantAsked(t, api, "list", "watch 10", "watch 10")
		api.mu.Lock()
		if api.dials != 2 {
			t.Errorf("dialled %d times, want a second connection", api.dials)
		}
		api.mu.Unlock()

		api.set(func() { api.down = errors.New("no route to host") })
		c.cut()
		after(10 * time.Minute)
		if got := w.last(); ClassOf(got.Err) != Unreachable {
			t.Errorf("got %s", brief(got))
		}
		api.set(func() { api.down = nil })
		c.Reconnect()
		if got := w.last(); brief(got) != "generation 3" {
			t.Errorf("right after Reconnect: got %s", brief(got))
		}
	})
}

func TestWatchTellsAnObjectThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI) {
		s := &stream{events: make(chan string)}
		api.answers(func(w http.ResponseWriter, r *http.Request) {
			if isList(r) {
				_, _ = io.WriteString(w, listOf(10, object(3, `"interfaces":[{"macAddress":"02:00:00:00:01:01","mtu":"large"}]`)))
				return
			}
			s.serve(w, r)
		})
		w := watch(t, api.client())
		wantTold(t, w, "Malformed")
		var e *Error
		if !errors.As(w.last().Err, &e) || e.UID != "uid-a" || e.Generation != 3 || !strings.Contains(e.Error(), "spec.interfaces[0].mtu: it is a string, want a whole number") {
			t.Errorf("got %#v", w.last().Err)
		}
		s.events <- event("MODIFIED", object(11, `"interfaces":"none"`))
		s.events <- event("MODIFIED", object(12, `"interfaces":[]`))
		wantTold(t, w, "Malformed", "Malformed", "generation 12")
		after(time.Minute)
		wantAsked(t, api, "list", "watch 10")
	})
}

func TestObservationTellsTheServersClock(t *testing.T) {
	for ahead, want := range map[time.Duration]time.Duration{time.Minute: 0, 2 * time.Hour: 2 * time.Hour, -2 * time.Hour: -2 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI) {
				api.answers(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
					_, _ = io.WriteString(w, object(3, ""))
				})
				if got := api.client().Get(t.Context()); brief(got) != "generation 3" || got.Skew != want {
					t.Errorf("got %s, skew %s, want %s", brief(got), got.Skew, want)
				}
			})
		})
	}
}

// TestTheHerdSpreads computes what 10,000 nodes do after the API server was away for ten minutes.
func TestTheHerdSpreads(t *testing.T) {
	const nodes = 10_000
	down := 10 * time.Minute
	seed := uint64(1)
	chance := func() float64 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return float64(seed>>11) / (1 << 53)
	}
	perSecond := map[int]int{}
	var latest time.Duration
	for range nodes {
		b := backoff{jitter: chance}
		var at time.Duration
		for at < down {
			at += b.next(&Error{Class: Unreachable, Err: errors.New("down")})
		}
		perSecond[int((at-down)/time.Second)]++
		latest = max(latest, at-down)
	}
	peak := 0
	for _, n := range perSecond {
		peak = max(peak, n)
	}
	if peak > 800 || latest > 30*time.Second {
		t.Errorf("the most in a second is %d, the last comes after %s", peak, latest)
	}
	t.Logf("the most in a second: %d, the last after %s", peak, latest)
}
