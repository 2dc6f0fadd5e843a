package house

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// korean has the Korean pages, and the English page that each one is made from.
//
// Whoever changes an English page need not know Korean. Headings and code fail the test where they differ, and
// `make generate` mends both without a word of Korean. All else is only said, to who runs the test with -v, until
// somebody translates it and writes the new digest into the Korean page: from then on the page is held to all of it.
var korean = map[string]string{
	"README.ko.md":               "README.md",
	"docs/ko/cluster.md":         "docs/cluster.md",
	"docs/ko/fleet.md":           "docs/fleet.md",
	"docs/ko/install.md":         "docs/install.md",
	"docs/ko/migration.md":       "docs/migration.md",
	"docs/ko/openstack.md":       "docs/openstack.md",
	"docs/ko/pods.md":            "docs/pods.md",
	"docs/ko/reasons.md":         "docs/reasons.md",
	"docs/ko/recovery.md":        "docs/recovery.md",
	"docs/ko/start.md":           "docs/start.md",
	"docs/ko/troubleshooting.md": "docs/troubleshooting.md",
}

// untranslated stands in a section that has only come to be in English so far. It says so, and leads there.
const untranslated = "*이 절은 아직 한국어로 옮기지 않았습니다. [영어 원문](%s)을 보십시오.*"

func TestKoreanPagesHoldHeadingsAndCode(t *testing.T) {
	for _, path := range slices.Sorted(maps.Keys(korean)) {
		original := korean[path]
		english, text := read(t, original), read(t, path)
		if *update {
			mended := mend(english, text, toEnglish(t, path, original))
			if mended != text {
				if err := os.WriteFile(filepath.Join(root, path), []byte(mended), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text = mended
		}
		for _, difference := range differences(english, text) {
			t.Errorf("%s is not as %s: %s", path, original, difference)
		}
	}
	if t.Failed() {
		t.Log("No Korean is needed. `make generate`, or `go test ./test/suite/house -run Korean -update`, copies code and puts " +
			"a note for each new section; take out by hand a section that English has no more")
	}
}

// The digest is the one by which git knows the page, so that git shows what has changed since.
func TestKoreanPagesSayHowOldTheyAre(t *testing.T) {
	for _, path := range slices.Sorted(maps.Keys(korean)) {
		original := korean[path]
		english, text := read(t, original), read(t, path)
		made, now := madeFrom(text, original), digest(english)
		switch {
		case made == "":
			t.Errorf("%s does not begin with <!-- %s DIGEST -->", path, original)
		case made == now:
			for _, lost := range untold(english, text) {
				t.Errorf("%s says that it has all of %s (%s): %s", path, original, now, lost)
			}
		default:
			t.Logf("%s is older than %s. What is new: git diff %s %s. The digest of today: %s", path, original, made, original, now)
			for _, lost := range untold(english, text) {
				t.Logf("  %s", lost)
			}
		}
	}
}

func TestKoreanPagesLeadToKoreanPages(t *testing.T) {
	link := regexp.MustCompile(`\[([^]]*)\]\(([^):\s#]*)(#[^)\s]*)?\)`)
	twin := map[string]string{}
	for path, original := range korean {
		twin[original] = path
	}
	for _, path := range slices.Sorted(maps.Keys(korean)) {
		original := korean[path]
		if !strings.Contains(read(t, path), "[English]("+toEnglish(t, path, original)+")") {
			t.Errorf("%s does not lead to %s", path, original)
		}
		for _, m := range link.FindAllStringSubmatch(prose(read(t, path)), -1) {
			to := filepath.Join(filepath.Dir(path), m[2])
			if m[2] == "" {
				to = path
			}
			if twin[to] != "" && m[1] != "English" && m[1] != "영어 원문" {
				t.Errorf("%s leads to %s, want %s", path, to, twin[to])
			}
			if m[3] != "" && !slices.ContainsFunc(parse(read(t, to)), func(s section) bool { return "#"+s.anchor == m[3] }) {
				t.Errorf("%s leads to %s%s, which is not there", path, to, m[3])
			}
		}
	}
	if !strings.Contains(read(t, "README.md"), "(README.ko.md)") || !strings.Contains(read(t, "docs/README.md"), "(ko/README.md)") {
		t.Error("README.md and docs/README.md do not both lead to the Korean pages")
	}
}

// A section is a heading and what stands below it, up to the next one. The first of a page is without a heading.
type section struct {
	level  int
	title  string
	anchor string // of a Korean page as <a id> above the heading; of an English one what GitHub makes of the title
	parts  []part
}

// A part is a block of code with its fences, or the lines between two such blocks.
type part struct {
	code bool
	text string
}

var (
	heading  = regexp.MustCompile(`^(#+) (.*)$`)
	anchored = regexp.MustCompile(`^<a id="([^"]*)"></a>$`)
)

func parse(page string) []section {
	all, code, anchor, same := []section{{}}, false, "", map[string]int{}
	for line := range strings.Lines(page) {
		now := &all[len(all)-1]
		fence := strings.HasPrefix(line, "```")
		if h := heading.FindStringSubmatch(strings.TrimSpace(line)); h != nil && !code {
			next := section{level: len(h[1]), title: h[2], anchor: anchor}
			if anchor == "" && next.level > 1 {
				next.anchor = slug(h[2])
				if same[next.anchor]++; same[next.anchor] > 1 {
					next.anchor += fmt.Sprint("-", same[next.anchor]-1)
				}
			}
			all, anchor = append(all, next), ""
			continue
		}
		if a := anchored.FindStringSubmatch(strings.TrimSpace(line)); a != nil && !code {
			anchor = a[1]
			continue
		}
		if n := len(now.parts); n == 0 || fence && !code || !fence && now.parts[n-1].code != code {
			now.parts = append(now.parts, part{code: fence || code})
		}
		now.parts[len(now.parts)-1].text += line
		code = code != fence
	}
	return all
}

// slug is the anchor that GitHub gives a heading.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// compose is the Korean page of these sections.
func compose(sections []section) string {
	var page strings.Builder
	for _, s := range sections {
		if s.level > 1 {
			if !strings.HasSuffix(page.String(), "\n\n") {
				page.WriteString("\n")
			}
			fmt.Fprintf(&page, "<a id=%q></a>\n", s.anchor)
		}
		if s.level > 0 {
			fmt.Fprintf(&page, "%s %s\n", strings.Repeat("#", s.level), s.title)
		}
		for _, p := range s.parts {
			page.WriteString(p.text)
		}
	}
	return page.String()
}

func (s section) heading() string { return strings.Repeat("#", s.level) + " " + s.anchor }

// is says whether both are the same section, maybe on another level. Title and what stands above it have no anchor.
func (s section) is(other section) bool {
	return s.anchor == other.anchor && (s.anchor != "" || s.level == other.level)
}

func (s section) code() (blocks []string) {
	for _, p := range s.parts {
		if p.code {
			blocks = append(blocks, p.text)
		}
	}
	return blocks
}

// differences are those that nobody may leave: a section, or code, that the other page does not have.
func differences(english, text string) (all []string) {
	want, got := parse(english), parse(text)
	var wantHeadings, gotHeadings []string
	for _, s := range want {
		wantHeadings = append(wantHeadings, s.heading())
	}
	for _, s := range got {
		gotHeadings = append(gotHeadings, s.heading())
	}
	if diff := cmp.Diff(wantHeadings, gotHeadings); diff != "" {
		return []string{"the headings differ (-English +Korean):\n" + diff}
	}
	for i := range want {
		if diff := cmp.Diff(want[i].code(), got[i].code()); diff != "" {
			all = append(all, fmt.Sprintf("the code under %q differs (-English +Korean):\n%s", want[i].title, diff))
		}
	}
	return all
}

// untold is what an English page says in words of code, and in rows of tables, and the Korean one does not; and the
// other way round.
func untold(english, text string) (all []string) {
	want, got := parse(english), parse(text)
	if len(want) != len(got) {
		return nil // differences says so
	}
	for i := range want {
		w, g := words(want[i]), words(got[i])
		for _, word := range w {
			if !slices.Contains(g, word) {
				all = append(all, fmt.Sprintf("under %q only the English page has `%s`", want[i].title, word))
			}
		}
		for _, word := range g {
			if !slices.Contains(w, word) {
				all = append(all, fmt.Sprintf("under %q only the Korean page has `%s`", want[i].title, word))
			}
		}
		if w, g := rows(want[i]), rows(got[i]); w != g {
			all = append(all, fmt.Sprintf("under %q the tables have %d lines in English, %d in Korean", want[i].title, w, g))
		}
		before, _, _ := strings.Cut(untranslated, "%")
		if strings.Contains(got[i].prose(), before) {
			all = append(all, fmt.Sprintf("%q is not translated", want[i].title))
		}
	}
	return all
}

func (s section) prose() string {
	var text strings.Builder
	for _, p := range s.parts {
		if !p.code {
			text.WriteString(p.text)
		}
	}
	return text.String()
}

// words are what is set as code within the sentences of a section.
func words(s section) []string {
	all := codes(s.title)
	for _, word := range codes(s.prose()) {
		all = append(all, strings.Join(strings.Fields(word), " "))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func rows(s section) int { return strings.Count("\n"+s.prose(), "\n|") }

func prose(page string) string {
	var all strings.Builder
	for _, s := range parse(page) {
		all.WriteString(s.title + "\n" + s.prose())
	}
	return all.String()
}

// mend copies what needs no Korean from the English page: code, anchors, and for a section that is not there its title,
// a note and its code. No Korean sentence is taken away: a section that English has no more is for a person to remove.
func mend(english, text, link string) string {
	want, got := parse(english), parse(text)
	renamed(want, got)
	var page []section
	for _, w := range want {
		i := slices.IndexFunc(got, w.is)
		if i < 0 {
			note := part{text: "\n" + fmt.Sprintf(untranslated, link+"#"+w.anchor) + "\n\n"}
			page = append(page, withCode(section{level: w.level, title: w.title, anchor: w.anchor, parts: []part{note}}, w.code()))
			continue
		}
		got[i].level = w.level
		page = append(page, withCode(got[i], w.code()))
		for i++; i < len(got) && !slices.ContainsFunc(want, got[i].is); i++ {
			page = append(page, got[i])
		}
	}
	return strings.TrimRight(compose(page), "\n") + "\n"
}

// renamed gives Korean sections the anchors that they have in English now: to those whose code says which they are, and
// to those that are as many as the English ones between the same two neighbours.
func renamed(want, got []section) {
	for i := range got {
		if len(got[i].code()) == 0 || slices.ContainsFunc(want, got[i].is) {
			continue
		}
		if j := slices.IndexFunc(want, func(w section) bool {
			return w.level == got[i].level && slices.Equal(w.code(), got[i].code()) && !slices.ContainsFunc(got, w.is)
		}); j >= 0 {
			got[i].anchor = want[j].anchor
		}
	}
	added, gone := strangers(want, got), strangers(got, want)
	for after, a := range added {
		if g := gone[after]; slices.EqualFunc(a, g, func(a, g int) bool { return want[a].level == got[g].level }) {
			for k := range a {
				got[g[k]].anchor = want[a[k]].anchor
			}
		}
	}
}

// strangers are the places of the sections that the other page does not have, by the last one before them that it has.
func strangers(page, other []section) map[string][]int {
	all, after := map[string][]int{}, ""
	for i, s := range page {
		if slices.ContainsFunc(other, s.is) {
			after = s.anchor
		} else {
			all[after] = append(all[after], i)
		}
	}
	return all
}

// withCode gives a section these blocks of code. Those at its beginning and at its end that are right stay where they
// are; the others take the places of those between them, and what has no place comes behind these.
func withCode(s section, want []string) section {
	have := s.code()
	first, last := 0, 0
	for first < min(len(have), len(want)) && have[first] == want[first] {
		first++
	}
	for last < min(len(have), len(want))-first && have[len(have)-1-last] == want[len(want)-1-last] {
		last++
	}
	changed, want := len(have)-last, want[first:len(want)-last] // have[first:changed] becomes want
	var parts []part
	add := func() {
		for _, block := range want {
			between := part{text: "\n"}
			if strings.HasSuffix(compose([]section{{parts: parts}}), "\n\n") {
				parts = append(parts, part{code: true, text: block}, between)
			} else {
				parts = append(parts, between, part{code: true, text: block})
			}
		}
		want = nil
	}
	seen := 0
	for _, p := range s.parts {
		switch {
		case !p.code:
			parts = append(parts, p)
			continue
		case changed == 0 && seen == 0:
			add()
			fallthrough
		case seen < first || seen >= changed:
			parts = append(parts, p)
		case len(want) > 0:
			parts, want = append(parts, part{code: true, text: want[0]}), want[1:]
		}
		if seen++; seen == changed {
			add()
		}
	}
	add()
	s.parts = parts
	return s
}

// madeFrom is the digest of the original that a Korean page names at its beginning.
func madeFrom(text, original string) string {
	m := regexp.MustCompile(`^<!-- ` + regexp.QuoteMeta(original) + ` ([0-9a-f]{12}) -->\n`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

func digest(page string) string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(page), page)))[:12]
}

func toEnglish(t *testing.T, path, original string) string {
	t.Helper()
	link, err := filepath.Rel(filepath.Dir(path), original)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestMend(t *testing.T) {
	const before = "# Install\n\nText.\n\n## On Debian\n\nDo `this`:\n\n```sh\napt-get install\n```\n\nThen look.\n\n```sh\nstatus\n```\n\n## What's there\n\nText.\n"
	const text = "<!-- a.md 123456789abc -->\n# 설치\n\n글.\n\n<a id=\"on-debian\"></a>\n## 데비안\n\n`this`를 하십시오.\n\n```sh\napt-get install\n```\n\n보십시오.\n\n```sh\nstatus\n```\n\n<a id=\"whats-there\"></a>\n## 파일\n\n글.\n"
	for _, row := range []struct {
		name, from, to string // what becomes of the English page
		differs        bool
		untold         []string
		koreanFrom     string // what becomes of the Korean one
		koreanTo       string
		still          bool // it differs afterwards, too
	}{
		{name: "nothing"},
		{name: "a sentence", from: "Then look.", to: "Then look twice."},
		{name: "a word of code in a sentence", from: "`this`", to: "`that`",
			untold: []string{"under \"On Debian\" only the English page has `that`", "under \"On Debian\" only the Korean page has `this`"}},
		{name: "a row", from: "Then look.", to: "| a |", untold: []string{`under "On Debian" the tables have 1 lines in English, 0 in Korean`}},
		{name: "a command", from: "apt-get install", to: "apt install", differs: true, koreanFrom: "apt-get install", koreanTo: "apt install"},
		{name: "the kind of a block", from: "```sh\nstatus", to: "```\nstatus", differs: true, koreanFrom: "```sh\nstatus", koreanTo: "```\nstatus"},
		{name: "a new command at the end", from: "status\n```\n", to: "status\n```\n\n```\nmore\n```\n", differs: true,
			koreanFrom: "status\n```\n", koreanTo: "status\n```\n\n```\nmore\n```\n"},
		{name: "a new command between two", from: "Then look.", to: "```\nmore\n```\n\nThen look.", differs: true,
			koreanFrom: "install\n```\n", koreanTo: "install\n```\n\n```\nmore\n```\n"},
		{name: "a command that goes", from: "```sh\nstatus\n```\n\n", to: "", differs: true, koreanFrom: "```sh\nstatus\n```\n", koreanTo: ""},
		{name: "another heading", from: "## What's there", to: "## What there is", differs: true, koreanFrom: "whats-there", koreanTo: "what-there-is"},
		{name: "another level", from: "## What's there", to: "### What's there", differs: true, koreanFrom: "## 파일", koreanTo: "### 파일"},
		{name: "a new command at the beginning", from: "Do `this`:\n", to: "Do `this`:\n\n```\nfirst\n```\n", differs: true,
			koreanFrom: "```sh\napt", koreanTo: "```\nfirst\n```\n\n```sh\napt"},
		{name: "new commands where there was none", from: "there\n\nText.\n", to: "there\n\n```\none\n```\n\n```\ntwo\n```\n", differs: true,
			koreanFrom: "파일\n\n글.\n", koreanTo: "파일\n\n글.\n\n```\none\n```\n\n```\ntwo\n```\n"},
		{name: "a new section", from: "## What's there", to: "## New\n\nText.\n\n```\nrun\n```\n\n## What's there", differs: true,
			untold:     []string{`"New" is not translated`},
			koreanFrom: "<a id=\"whats-there\">", koreanTo: "<a id=\"new\"></a>\n## New\n\n" + strings.Replace(untranslated, "%s", "../a.md#new", 1) + "\n\n```\nrun\n```\n\n<a id=\"whats-there\">"},
		{name: "a new section behind another heading", from: "## On Debian\n", to: "## New\n\nText.\n\n## On Debian and Ubuntu\n", differs: true,
			untold: []string{`"New" is not translated`}, koreanFrom: "<a id=\"on-debian\">", koreanTo: "<a id=\"new\"></a>\n## New\n\n" +
				strings.Replace(untranslated, "%s", "../a.md#new", 1) + "\n\n<a id=\"on-debian-and-ubuntu\">"},
		{name: "a new section at the end", from: "there\n\nText.\n", to: "there\n\nText.\n\n## New\n\nText.\n", differs: true, untold: []string{`"New" is not translated`},
			koreanFrom: "파일\n\n글.\n", koreanTo: "파일\n\n글.\n\n<a id=\"new\"></a>\n## New\n\n" + strings.Replace(untranslated, "%s", "../a.md#new", 1) + "\n"},
		{name: "a section that goes", from: "\n## What's there\n\nText.\n", to: "", differs: true, still: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			english, want := strings.Replace(before, row.from, row.to, 1), strings.Replace(text, row.koreanFrom, row.koreanTo, 1)
			if got := differences(english, text); len(got) > 0 != row.differs {
				t.Errorf("the differences are %q", got)
			}
			mended := mend(english, text, "../a.md")
			if diff := cmp.Diff(want, mended); diff != "" {
				t.Errorf("mend (-want +got):\n%s", diff)
			}
			if got := differences(english, mended); len(got) > 0 != row.still {
				t.Errorf("afterwards the differences are %q", got)
			}
			if diff := cmp.Diff(row.untold, untold(english, mended)); diff != "" && !row.still {
				t.Errorf("untold (-want +got):\n%s", diff)
			}
		})
	}
}
