// Package browser is Debian's Chromium without a screen: tests open pages in it, look at what a person would see, click and type.
//
// In go addresses, selectors of CSS, keys and expressions of JavaScript; out come texts, pictures, and what the browser complains of.
//
// It must not reach into a page where a person could not: Eval is for looking only.
//
// Start reading at New.
package browser

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"multinicd/test/bed/prerequisite"
)

// Keys that are no letters.
const (
	Enter, Escape, Tab            = "\r", "\u001b", "\t"
	Down, Up, PageDown, Home, End = "\u0301", "\u0304", "\u0307", "\u0306", "\u0305"
)

// Elsewhere is a name that leads to loopback in this browser, as somebody's DNS may have it.
const Elsewhere = "elsewhere.example"

// patience only ends a test that hangs.
const patience = time.Minute

// Browser is one tab. It is not for several goroutines at once.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// New starts a browser, which ends with the test.
func New(t testing.TB) *Browser {
	t.Helper()
	prerequisite.RequireBrowser(t)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, // root has no sandbox; the pages are our own
		chromedp.WindowSize(1280, 800), chromedp.Flag("disable-lcd-text", true), chromedp.Flag("lang", "en"),
		chromedp.Flag("host-resolver-rules", "MAP "+Elsewhere+" 127.0.0.1"))
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	b := open(t, ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(b.ctx); err != nil {
			t.Logf("ending the browser: %v", err)
		}
		cancel()
	})
	return b
}

func open(t testing.TB, parent context.Context) *Browser {
	t.Helper()
	b := &Browser{t: t}
	b.ctx, _ = chromedp.NewContext(parent, chromedp.WithListener(b.hear)) // New, or Close, ends it by chromedp.Cancel
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return b
}

// Tab is another tab of the same browser, in front of this one.
func (b *Browser) Tab() *Browser { b.t.Helper(); return open(b.t, b.ctx) }

// Close closes a tab that Tab opened.
func (b *Browser) Close() {
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Logf("closing a tab: %v", err)
	}
}

func (b *Browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		what := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			what += " " + x.Description
		}
		b.complaints = append(b.complaints, fmt.Sprintf("a script failed: %s %s:%d", what, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber+1))
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, fmt.Sprintf("%s %s: %s", e.Entry.Source, e.Entry.Level, e.Entry.Text))
	case *page.EventJavascriptDialogOpening:
		b.complaints = append(b.complaints, "a dialog says "+e.Message)
	}
}

// Complaints are what the browser has said about its pages: scripts that failed or that its policy stopped, requests that failed, dialogs.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints)
}

// do carries steps out, or ends the test.
func (b *Browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v; the browser says %q", what, err, b.Complaints())
	}
}

// Open goes to an address.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.do("opening the page", chromedp.Navigate(url))
}

// Reload loads the page again.
func (b *Browser) Reload() { b.t.Helper(); b.do("loading the page again", chromedp.Reload()) }

// Back goes back in the history.
func (b *Browser) Back() {
	b.t.Helper()
	b.do("going back", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[any]("void history.back()")(ctx, t)
		return chromedp.Void{}, err
	})
}

// Click clicks the first element of a selector, once it can be seen.
func (b *Browser) Click(css string) {
	b.t.Helper()
	b.do("clicking "+css, chromedp.Click(chromedp.CSS(css)))
}

// Type types into an element.
func (b *Browser) Type(css, text string) {
	b.t.Helper()
	b.do("typing into "+css, chromedp.SendKeys(chromedp.CSS(css), text))
}

// Press presses keys, wherever the focus is. A key that the page takes for itself types nothing, as on a keyboard.
func (b *Browser) Press(keys string) {
	b.t.Helper()
	b.do("pressing a key", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, r := range keys {
			events := kb.Encode(r)
			down, up := *events[0], *events[len(events)-1]
			for _, e := range events {
				if e.Type == kb.KeyChar { // by itself it would be typed in any case
					down.Type, down.Text, down.UnmodifiedText = kb.KeyDown, e.Text, e.UnmodifiedText
				}
			}
			for _, e := range []input.DispatchKeyEventParams{down, up} {
				if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, e); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// Eval is the value of an expression.
func Eval[T any](b *Browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("looking at %s: %v; the browser says %q", expression, err, b.Complaints())
	}
	return v
}

// Sees waits until an expression, as text, is what is wanted. A part of the page that is not there yet is no mistake.
func (b *Browser) Sees(expression, want string) {
	b.t.Helper()
	got := ""
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		if got = Eval[string](b, "(async () => { try { return String("+expression+"); } catch (e) { return e.message; } })()"); got == want {
			return
		}
	}
	b.t.Errorf("%s is\n%s\nwant\n%s\nthe browser says %q", expression, got, want, b.Complaints())
}

// Scheme has pages be "light" or "dark".
func (b *Browser) Scheme(scheme string) {
	b.t.Helper()
	b.do("asking for "+scheme, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// Size is how large the page is.
func (b *Browser) Size(width, height int64) {
	b.t.Helper()
	b.do("changing the size", chromedp.EmulateViewport(width, height))
}

// Picture writes what can be seen as a PNG with few colours.
func (b *Browser) Picture(path string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("taking a picture: %v", err)
	}
	small, err := fewColours(data)
	if err == nil {
		err = os.WriteFile(path, small, 0o644)
	}
	if err != nil {
		b.t.Fatalf("writing %s: %v", path, err)
	}
}

func distance(a, b color.RGBA) int {
	d := func(x, y uint8) int { return max(int(x)-int(y), int(y)-int(x)) }
	return d(a.R, b.R) + d(a.G, b.G) + d(a.B, b.B)
}

// fewColours is a PNG with 256 of its colours, the most frequent ones that differ. The others, of the edges of letters, become the nearest.
func fewColours(data []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	bounds, count := full.Bounds(), map[color.RGBA]int{}
	each := func(do func(x, y int, c color.RGBA)) {
		for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
			for x := bounds.Min.X; x < bounds.Max.X; x++ {
				r, g, b, _ := full.At(x, y).RGBA()
				do(x, y, color.RGBA{R: uint8(r >> 8), G: uint8(g >> 8), B: uint8(b >> 8), A: 255})
			}
		}
	}
	each(func(_, _ int, c color.RGBA) { count[c]++ })
	all := make([]color.RGBA, 0, len(count))
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return int(a.R)<<16 + int(a.G)<<8 + int(a.B) - int(b.R)<<16 - int(b.G)<<8 - int(b.B)
	})
	var chosen []color.RGBA
	for _, apart := range []int{24, 1} { // first the colours that differ, so that none becomes another
		for _, c := range all {
			if len(chosen) < 256 && !slices.ContainsFunc(chosen, func(p color.RGBA) bool { return distance(p, c) < apart }) {
				chosen = append(chosen, c)
			}
		}
	}
	var palette color.Palette
	for _, c := range chosen {
		palette = append(palette, c)
	}
	small, index := image.NewPaletted(bounds, palette), map[color.RGBA]uint8{}
	each(func(x, y int, c color.RGBA) {
		i, ok := index[c]
		if !ok {
			i = uint8(palette.Index(c))
			index[c] = i
		}
		small.SetColorIndex(x, y, i)
	})
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err = encoder.Encode(&out, small)
	return out.Bytes(), err
}
