// Package layout lays out text for a person: it wraps lines at the width of a terminal, aligns
// columns, and marks what is bad, doubtful or good.
//
// In go plain texts (terminal.Plain) and a Page. Out come lines with marks. A mark takes no column.
// terminal.Print makes colours of the marks, or leaves them out.
//
// The package is pure. It knows neither streams nor terminals, and not what the texts mean.
//
// Start reading at Wrap and Table.
package layout

import (
	"strconv"
	"strings"
	"unicode"
)

// Page says how a text is laid out.
type Page struct {
	Width   int  // in columns; 0: lines are not wrapped, as in a pipe
	Verbose bool // with the evidence: why something is said
}

// The marks are control characters, which terminal.Plain leaves in no text of others.
const (
	MarkBad   = '\x01'
	MarkDoubt = '\x02'
	MarkGood  = '\x03'
	MarkFaint = '\x04'
	MarkEnd   = '\x05'
)

// Bad marks what is wrong.
func Bad(s string) string { return mark(MarkBad, s) }

// Doubt marks what may go wrong, or is not settled.
func Doubt(s string) string { return mark(MarkDoubt, s) }

// Good marks what is as it should be.
func Good(s string) string { return mark(MarkGood, s) }

// Faint marks what is read last.
func Faint(s string) string { return mark(MarkFaint, s) }

func mark(m rune, s string) string {
	if s == "" {
		return ""
	}
	return string(m) + s + string(MarkEnd)
}

// IsMark says whether a rune is a mark.
func IsMark(r rune) bool { return r >= MarkBad && r <= MarkEnd }

// Unmarked is s without its marks.
func Unmarked(s string) string {
	return strings.Map(func(r rune) rune {
		if IsMark(r) {
			return -1
		}
		return r
	}, s)
}

// Columns is how many columns of a terminal one line takes.
func Columns(s string) (n int) {
	for _, r := range s {
		switch {
		case IsMark(r), unicode.Is(unicode.Mn, r):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xff01 && r <= 0xff60:
			n += 2
		default:
			n++
		}
	}
	return n
}

// Wrap breaks a line at spaces. The first line begins with first, the others with rest. A word that
// is wider than a line stands in a line alone. The last line ends with a line break.
func (p Page) Wrap(first, rest, s string) string {
	if p.Width <= 0 {
		return strings.TrimRight(first+s, " ") + "\n"
	}
	var b strings.Builder
	b.WriteString(first)
	at, empty, open := Columns(first), true, rune(0)
	for word := range strings.SplitSeq(s, " ") {
		wide := Columns(word)
		switch {
		case empty:
		case at+1+wide <= p.Width:
			b.WriteByte(' ')
			at++
		default:
			if open != 0 { // each line has marks of its own
				b.WriteRune(MarkEnd)
			}
			b.WriteString("\n" + rest)
			if open != 0 {
				b.WriteRune(open)
			}
			at = Columns(rest)
		}
		b.WriteString(word)
		at, empty = at+wide, false
		for _, r := range word {
			if IsMark(r) {
				open = r
			}
			if r == MarkEnd {
				open = 0
			}
		}
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

// Item is a line that begins in a column, with its other lines below its beginning.
func (p Page) Item(indent int, s string) string {
	in := strings.Repeat(" ", indent)
	return p.Wrap(in, in+"  ", s)
}

// Table aligns rows, a line each, with two spaces between columns. Nothing follows the last cell of
// a row. The number of cells may differ.
func Table(rows [][]string) []string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Columns(cell))
		}
	}
	out := make([]string, len(rows))
	for i, r := range rows {
		var b strings.Builder
		for j, cell := range r {
			b.WriteString(cell)
			if j < len(r)-1 {
				b.WriteString(strings.Repeat(" ", widths[j]-Columns(cell)+2))
			}
		}
		out[i] = strings.TrimRight(b.String(), " ")
	}
	return out
}

// Fit joins as many words as there is room for, in columns, and says how many are left out. Of no
// words there is "". Without a width all are joined.
func (p Page) Fit(room int, words []string) string {
	all := strings.Join(words, " ")
	if p.Width <= 0 || Columns(all) <= room {
		return all
	}
	for n := len(words) - 1; n > 0; n-- {
		if s := strings.Join(words[:n], " ") + " " + more(len(words)-n); Columns(s) <= room {
			return s
		}
	}
	return more(len(words))
}

func more(n int) string { return "+" + strconv.Itoa(n) }

// Cut is s in at most so many columns. What is cut off is marked by "...".
func Cut(s string, columns int) string {
	if Columns(s) <= columns {
		return s
	}
	var b strings.Builder
	at := 0
	for _, r := range s {
		wide := Columns(string(r))
		if at+wide > max(0, columns-3) {
			break
		}
		b.WriteRune(r)
		at += wide
	}
	if strings.ContainsFunc(s, IsMark) { // what was begun ends
		return b.String() + string(MarkEnd) + "..."
	}
	return b.String() + "..."
}
